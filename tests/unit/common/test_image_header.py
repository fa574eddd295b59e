from __future__ import annotations

import contextlib
import io
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from services.common.image_header import ImageHeader, read_header
from tests.support.images import plain_image


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF"])
@pytest.mark.parametrize("size", [(1, 1), (3, 700), (640, 480)])
def test_the_size_is_read_from_the_header(form: str, size: tuple[int, int]) -> None:
    assert read_header(plain_image("red", size, form)) == ImageHeader(form, *size)


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {"progressive": True, "icc_profile": b"x" * 200_000, "exif": b"Exif\x00\x00" + b"y" * 60_000}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x00\x00"}),
        ("PNG", {"optimize": True}),
    ],
)
def test_other_ways_to_write_a_format_are_read_too(form: str, options: dict[str, object]) -> None:
    file = io.BytesIO()
    Image.new("RGB", (321, 123)).save(file, form, **options)
    assert read_header(file.getvalue()) == ImageHeader(form, 321, 123)


def test_an_animation_has_the_size_of_its_screen() -> None:
    file = io.BytesIO()
    frames = [Image.new("P", (20, 10), colour) for colour in range(3)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert read_header(file.getvalue()) == ImageHeader("GIF", 20, 10)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<svg/>",
        b"BM" + bytes(60),
        b"\x00\x00\x00\x18ftypavif" + bytes(60),
        b"RIFF\x00\x00\x00\x00WAVEfmt " + bytes(60),
        b"RIFF\x00\x00\x00\x00WEBPVP9 " + bytes(60),
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\x0dIDAT" + bytes(20),
        b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\x0dIHDR" + struct.pack(">II", 0, 7) + bytes(20),
        b"GIF89a",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0\x00\x10JFIF",
        b"\xff\xd8\xff\xe0\x00\x02nonsense",
    ],
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_header(data)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF"])
@given(cut=st.integers(0, 200), noise=st.binary(max_size=40))
def test_damage_never_raises_anything_else(form: str, cut: int, noise: bytes) -> None:
    data = plain_image("red", (5, 5), form)[:cut] + noise
    with contextlib.suppress(ValueError):
        header = read_header(data)
        assert header.format == form
        assert header.pixels >= 1


def test_millions_of_segments_cost_no_time() -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match="metadata"):
        read_header(b"\xff\xd8" + b"\xff\xe1\x00\x02" * 2_000_000)
    with pytest.raises(ValueError, match="metadata"):
        read_header(b"\xff\xd8" + b"\xff" * 10_000_000)
    assert time.process_time() - began < 0.5


def test_a_jpeg_with_thousands_of_scans_is_refused() -> None:
    file = io.BytesIO()
    Image.new("RGB", (32, 32)).save(file, "JPEG", progressive=True)
    assert read_header(file.getvalue()).format == "JPEG"
    with pytest.raises(ValueError, match="scans"):
        read_header(file.getvalue() + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" * 1000)

"""Images are seen as a viewer shows them: upright, and white where they are transparent."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from services.runner.engines.exllamav2.jobs.images import read_image
from services.runner.engines.llamacpp.media import decodable
from services.runner.kinds.text.images.picture import is_plain, read_picture

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)
Colour = tuple[int, int, int]


def seen_by_exllamav2(data: bytes) -> Image.Image:
    picture = read_image(data).picture
    assert isinstance(picture, Image.Image)
    return picture


def seen_by_llamacpp(data: bytes) -> Image.Image:
    """Returns the file for llama.cpp as its decoder reads it, without transparency and without orientation."""
    with Image.open(io.BytesIO(decodable(data)), formats=["PNG", "JPEG"]) as image:
        assert not image.has_transparency_data
        return image.convert("RGB")


each_engine = pytest.mark.parametrize("seen", [seen_by_exllamav2, seen_by_llamacpp])
See = Callable[[bytes], Image.Image]


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def png(colours: int, depth: int, row: bytes, *chunks: tuple[bytes, bytes], width: int = 2) -> bytes:
    """Returns a PNG of one row."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, 1, depth, colours, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


PALETTE = (b"PLTE", bytes(RED + BLUE))


def two(colour: Colour, other: Colour, mode: str = "RGB") -> Image.Image:
    image = Image.new(mode, (2, 1), colour)
    image.putpixel((1, 0), other)
    return image


def palette_gif(transparent: int) -> bytes:
    image = Image.new("P", (2, 1), 0)
    image.putpalette(RED + BLUE)
    image.putpixel((1, 0), 1)
    return saved(image, "GIF", transparency=transparent, optimize=False)


RGBA = Image.new("RGBA", (2, 1), (*RED, 0))
RGBA.putpixel((1, 0), (*BLUE, 255))
LA = Image.new("LA", (2, 1), (0, 0))
LA.putpixel((1, 0), (0, 255))

# The left pixel is transparent, the right one has the colour.
TRANSPARENT: dict[str, tuple[bytes, Colour]] = {
    "PNG RGBA": (saved(RGBA, "PNG"), BLUE),
    "PNG RGBA 16": (png(6, 16, struct.pack(">8H", 65535, 0, 0, 0, 0, 0, 65535, 65535)), BLUE),
    "PNG LA": (saved(LA, "PNG"), (0, 0, 0)),
    "PNG LA 16": (png(4, 16, struct.pack(">4H", 0, 0, 32768, 65535)), (128, 128, 128)),
    "PNG palette, one entry": (png(3, 8, b"\0\1", PALETTE, (b"tRNS", b"\0")), BLUE),
    "PNG palette, all entries": (png(3, 8, b"\0\1", PALETTE, (b"tRNS", b"\0\xff")), BLUE),
    "PNG palette of 1 bit": (png(3, 1, b"\x40", PALETTE, (b"tRNS", b"\0")), BLUE),
    "PNG palette of 4 bits": (png(3, 4, b"\x01", PALETTE, (b"tRNS", b"\0\xff")), BLUE),
    "PNG RGB, a colour": (png(2, 8, bytes(RED + BLUE), (b"tRNS", struct.pack(">3H", *RED))), BLUE),
    "PNG RGB 16, a colour": (
        png(2, 16, struct.pack(">6H", 65535, 0, 0, 0, 0, 65535), (b"tRNS", struct.pack(">3H", 65535, 0, 0))),
        BLUE,
    ),
    "PNG grey of 1 bit": (png(0, 1, b"\x40", (b"tRNS", b"\0\0")), WHITE),
    "PNG grey of 1 bit, white": (png(0, 1, b"\x80", (b"tRNS", b"\0\1")), (0, 0, 0)),
    "PNG grey of 2 bits": (png(0, 2, b"\x60", (b"tRNS", b"\0\1")), (170, 170, 170)),
    "PNG grey of 4 bits": (png(0, 4, b"\x34", (b"tRNS", b"\0\3")), (68, 68, 68)),
    "PNG grey": (png(0, 8, b"\x07\x30", (b"tRNS", b"\0\7")), (48, 48, 48)),
    "PNG grey 16": (
        png(0, 16, struct.pack(">2H", 0x1234, 0x3000), (b"tRNS", struct.pack(">H", 0x1234))),
        (48, 48, 48),
    ),
    "GIF, first entry": (palette_gif(0), BLUE),
    "WEBP, lossless": (saved(RGBA, "WEBP", lossless=True, exact=True), BLUE),
    "WEBP, animated": (
        saved(RGBA, "WEBP", lossless=True, exact=True, save_all=True, append_images=[two(RED, RED, "RGBA")]),
        BLUE,
    ),
}


@each_engine
@pytest.mark.parametrize("name", TRANSPARENT)
def test_what_is_transparent_is_white(name: str, seen: See) -> None:
    data, colour = TRANSPARENT[name]
    picture = seen(data)
    assert (picture.mode, picture.size) == ("RGB", (2, 1))
    assert (picture.getpixel((0, 0)), picture.getpixel((1, 0))) == (WHITE, colour)


@each_engine
def test_a_red_picture_without_any_opacity_is_white(seen: See) -> None:
    for form in ("PNG", "WEBP"):
        picture = seen(saved(Image.new("RGBA", (96, 96), (255, 0, 0, 0)), form))
        assert picture.getcolors() == [(96 * 96, WHITE)]


@each_engine
def test_what_is_half_transparent_is_mixed_with_white(seen: See) -> None:
    picture = seen(saved(Image.new("RGBA", (4, 4), (255, 0, 0, 128)), "PNG"))
    assert picture.getpixel((0, 0)) == (255, 127, 127)
    lossy = seen(saved(Image.new("RGBA", (16, 16), (255, 0, 0, 128)), "WEBP", quality=100)).getpixel((8, 8))
    assert lossy == pytest.approx((255, 127, 127), abs=6)


@each_engine
def test_around_the_first_frame_of_a_gif_is_white(seen: See) -> None:
    # The screen has 4 by 4 pixels, the frame one at (2, 1).
    screen = b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0x80, 0, 0) + bytes(RED + BLUE)
    frame = b"," + struct.pack("<HHHHB", 2, 1, 1, 1, 0) + b"\x02\x02\x4c\x01\x00;"
    picture = seen(screen + frame)
    assert picture.getpixel((2, 1)) == BLUE
    assert sorted(picture.getcolors() or []) == [(1, BLUE), (15, WHITE)]


@each_engine
def test_around_the_first_frame_of_an_animated_webp_is_white(seen: See) -> None:
    still = saved(Image.new("RGB", (2, 2), BLUE), "WEBP", lossless=True)
    image = still[12:]

    def chunk(kind: bytes, content: bytes) -> bytes:
        return kind + struct.pack("<I", len(content)) + content

    def number(value: int) -> bytes:
        return value.to_bytes(3, "little")

    frame = number(1) + number(0) + number(1) + number(1) + number(100) + b"\0" + image
    chunks = (
        chunk(b"VP8X", b"\x02\0\0\0" + number(5) + number(3))
        + chunk(b"ANIM", bytes(6))
        + chunk(b"ANMF", frame)
        + chunk(b"ANMF", frame)
    )
    picture = seen(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks)
    assert picture.size == (6, 4)
    assert sorted(picture.getcolors() or []) == [(4, BLUE), (20, WHITE)]


# A picture with another colour in each corner: red, green above blue, white.
GREEN = (0, 255, 0)
CORNERS = (RED, GREEN, BLUE, WHITE)
# What stands in the corners of the upright picture for each orientation: EXIF 2.32, tag 0x0112.
UPRIGHT = {
    1: (RED, GREEN, BLUE, WHITE),
    2: (GREEN, RED, WHITE, BLUE),
    3: (WHITE, BLUE, GREEN, RED),
    4: (BLUE, WHITE, RED, GREEN),
    5: (RED, BLUE, GREEN, WHITE),
    6: (BLUE, RED, WHITE, GREEN),
    7: (WHITE, GREEN, BLUE, RED),
    8: (GREEN, WHITE, RED, BLUE),
}


def corners(image: Image.Image) -> list[Colour]:
    width, height = image.size
    places = [(4, 4), (width - 5, 4), (4, height - 5), (width - 5, height - 5)]
    # Lossy formats come near a colour.
    pixels = [image.getpixel(place) for place in places]
    return [
        min(CORNERS, key=lambda colour: sum(abs(a - b) for a, b in zip(colour, pixel, strict=True)))
        for pixel in pixels
        if isinstance(pixel, tuple)
    ]


def four_corners(orientation: int, form: str) -> bytes:
    image = Image.new("RGB", (96, 48))
    for number, colour in enumerate(CORNERS):
        left, top = 48 * (number % 2), 24 * (number // 2)
        image.paste(colour, (left, top, left + 48, top + 24))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(image, form, exif=exif)


@each_engine
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_pictures_are_upright(orientation: int, form: str, seen: See) -> None:
    picture = seen(four_corners(orientation, form))
    assert picture.size == ((96, 48) if orientation < 5 else (48, 96))
    assert corners(picture) == list(UPRIGHT[orientation])


@each_engine
@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_is_none_turns_nothing(orientation: int, seen: See) -> None:
    assert seen(four_corners(orientation, "JPEG")).size == (96, 48)


@each_engine
@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", b"x" * 90])
def test_metadata_that_is_damaged_is_passed_over(exif: bytes, seen: See) -> None:
    data = saved(Image.new("RGB", (96, 48), BLUE), "JPEG", exif=exif)
    assert seen(data).size == (96, 48)


@each_engine
@pytest.mark.parametrize(
    ("data", "colour"),
    [
        (png(0, 16, struct.pack(">2H", 0x8000, 0x8000)), (128, 128, 128)),
        (png(2, 16, struct.pack(">6H", *[0, 0, 65535] * 2)), BLUE),
        (saved(Image.new("CMYK", (2, 1), (0, 255, 255, 0)), "JPEG", quality=100), RED),
        (saved(Image.new("L", (2, 1), 128), "JPEG", quality=100), (128, 128, 128)),
        (saved(Image.new("1", (2, 1), 1), "PNG"), WHITE),
        (saved(Image.new("RGB", (2, 1), BLUE).quantize(4), "PNG"), BLUE),
        (saved(Image.new("RGB", (2, 1), BLUE), "GIF"), BLUE),
    ],
    ids=["grey 16", "RGB 16", "CMYK", "grey JPEG", "1 bit", "palette", "GIF"],
)
def test_opaque_pictures_keep_their_colours(data: bytes, colour: Colour, seen: See) -> None:
    assert seen(data).getpixel((0, 0)) == pytest.approx(colour, abs=2)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_what_needs_no_change_goes_to_llamacpp_as_it_is(form: str) -> None:
    data = saved(two(RED, BLUE), form)
    assert is_plain(data)
    assert decodable(data) is data


@pytest.mark.parametrize("length", [10, 30, 50, 60, 100])
@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF"])
def test_damage_is_reported(form: str, length: int) -> None:
    noisy = Image.effect_noise((40, 40), 90).convert("RGBA")
    noisy.putalpha(100)
    with pytest.raises(ValueError, match=r"image"):
        read_picture(saved(noisy, form)[:length])

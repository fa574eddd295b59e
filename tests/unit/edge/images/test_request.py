from __future__ import annotations

import msgspec
import pytest

from services.common.errors import Code, MeshError
from services.edge.http.parsing import parse_body
from services.edge.images.request import Size, check_steps, image_decoder, read_size


def read(size: str | None) -> Size:
    return read_size(size, default="512x512", most_pixels=1024 * 1024)


@pytest.mark.parametrize(
    ("size", "expected"),
    [(None, Size(512, 512)), ("auto", Size(512, 512)), ("256x1024", Size(256, 1024)), ("1024x1024", Size(1024, 1024))],
)
def test_sizes(size: str | None, expected: Size) -> None:
    assert read(size) == expected


@pytest.mark.parametrize(
    ("size", "complaint"),
    [
        ("", "width x height"),
        ("big", "width x height"),
        ("0512x512", "width x height"),
        ("512x512\n", "width x height"),
        ("\u0661\u0662\u0663x128", "width x height"),
        ("99999999x8", "width x height"),
        ("100x100", "multiples of 8"),
        ("1024x1032", "1048576 pixels"),
    ],
)
def test_a_size_that_cannot_be_made_is_refused(size: str, complaint: str) -> None:
    with pytest.raises(MeshError, match=complaint) as caught:
        read(size)
    assert (caught.value.code, caught.value.param) == (Code.INVALID_REQUEST, "size")


def test_steps_are_bounded() -> None:
    check_steps(None, 100)
    check_steps(100, 100)
    with pytest.raises(MeshError, match="at most 100") as caught:
        check_steps(101, 100)
    assert caught.value.param == "steps"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"model":"m"}', "prompt"),
        (b'{"model":"m","prompt":""}', "prompt"),
        (b'{"model":"m","prompt":"p","n":0}', "n"),
        (b'{"model":"m","prompt":"p","n":11}', "n"),
        (b'{"model":"m","prompt":"p","response_format":"file"}', "response_format"),
        (b'{"model":"m","prompt":"p","output_format":"gif"}', "output_format"),
        (b'{"model":"m","prompt":"p","stream":true}', "stream"),
    ],
)
def test_a_wrong_field_is_named(body: bytes, param: str) -> None:
    with pytest.raises(MeshError) as caught:
        parse_body(body, image_decoder)
    assert (caught.value.code, caught.value.param) == (Code.INVALID_REQUEST, param)


NOTHING_ASKED = {
    "quality": "hd", "style": "natural", "background": "opaque", "moderation": "low", "output_compression": 100,
    "partial_images": 0, "user": "someone", "stream": False,
}  # fmt: skip


def test_fields_that_ask_for_nothing_pass() -> None:
    for fields in (NOTHING_ASKED, dict.fromkeys(NOTHING_ASKED)):
        parse_body(msgspec.json.encode({"model": "m", "prompt": "a cat", **fields}), image_decoder)


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("background", "transparent", "'auto' or 'opaque'"),
        ("quality", "zz", "'auto', 'hd', 'high', 'low', 'medium' or 'standard'"),
        ("style", "loud", "'natural' or 'vivid'"),
        ("output_compression", 50, "100"),
        ("output_compression", "x", "100"),
        ("partial_images", 2, "0"),
        ("partial_images", [], "0"),
        ("moderation", "none", "'auto' or 'low'"),
    ],
)
def test_fields_that_are_not_served_are_named(field: str, value: object, complaint: str) -> None:
    with pytest.raises(MeshError, match=f"'{field}' must be {complaint}") as caught:
        parse_body(msgspec.json.encode({"model": "m", "prompt": "a cat", field: value}), image_decoder)
    assert caught.value.param == field

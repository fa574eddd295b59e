"""Images for llama.cpp: what stands for them in a prompt, and in what form it takes them."""

from __future__ import annotations

import io
import secrets
import struct
import zlib
from collections.abc import Iterator

from services.common.errors import MeshError
from services.common.image_header import PNG, WEBP, ImageHeader, read_header
from services.runner.refusals import invalid

# llama.cpp puts an image where this stands in a prompt. Nobody learns it, so nobody's text can hold it.
MEDIA_MARKER = f"media-{secrets.token_hex(16)}"

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PIECE = 1 << 20


def decodable(image: bytes) -> bytes:
    """Returns the image in a format that llama.cpp's decoder reads: PNG, JPEG or GIF. Takes a while; blocks.

    Raises MeshError INVALID_REQUEST for an image that cannot be brought into one.
    """
    try:
        header = read_header(image)
        if header.format == WEBP:
            return _from_webp(image)
        if header.format == PNG:
            _check_png(image, header)
    except (ValueError, OSError, struct.error, zlib.error, LookupError):
        raise undecodable() from None
    return image


def undecodable() -> MeshError:
    """Returns the refusal of an image whose header is right and whose content is not."""
    message = "'messages' hold an image that is damaged and cannot be decoded; save it again as PNG or JPEG."
    return invalid(message, "messages")


def _from_webp(image: bytes) -> bytes:
    try:
        from PIL import Image
    except ImportError:
        message = "'messages' hold a WEBP image, which the runner of this model cannot read; send PNG, JPEG or GIF."
        raise invalid(message, "messages") from None
    file = io.BytesIO()
    with Image.open(io.BytesIO(image), formats=["WEBP"]) as opened:
        opened.convert("RGB").save(file, "PNG", compress_level=1)
    return file.getvalue()


def _check_png(image: bytes, header: ImageHeader) -> None:
    """Refuses a PNG whose compressed data is longer than its pixels: llama.cpp's decoder would unpack all of it."""
    depth, colours = image[24], image[25]
    row = 1 + -(-header.width * _CHANNELS[colours] * depth // 8)
    # Interlaced images have up to twice as many rows, all of them shorter.
    most = 2 * header.height * row + _PIECE
    inflater = zlib.decompressobj()
    unpacked = 0
    for data in _png_data(image):
        rest = data
        while rest and not inflater.eof:
            unpacked += len(inflater.decompress(rest, _PIECE))
            if unpacked > most:
                raise ValueError("there is more data than there are pixels")
            rest = inflater.unconsumed_tail


def _png_data(image: bytes) -> Iterator[bytes]:
    """Yields the data of the IDAT chunks: https://www.w3.org/TR/png-3/#5Chunk-layout."""
    at = 8
    while at + 8 <= len(image):
        length, kind = struct.unpack_from(">I4s", image, at)
        if kind == b"IDAT":
            yield image[at + 8 : at + 8 + length]
        at += 12 + length

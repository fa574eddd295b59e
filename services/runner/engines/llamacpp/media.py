"""Images for llama.cpp: what stands for them in a prompt, and in what form it takes them."""

from __future__ import annotations

import io
import secrets
import struct
import zlib
from collections.abc import Iterator

from services.common.errors import MeshError
from services.common.image_header import PNG, ImageHeader, read_header
from services.runner.refusals import invalid

# llama.cpp puts an image where this stands in a prompt. Nobody learns it, so nobody's text can hold it.
MEDIA_MARKER = f"media-{secrets.token_hex(16)}"

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PIECE = 1 << 20


def decodable(image: bytes) -> bytes:
    """Returns the image as a PNG or JPEG that llama.cpp's decoder shows as a viewer does. Takes a while; blocks.

    Raises MeshError INVALID_REQUEST for an image that cannot be brought into one.
    """
    # Runners without images need not load the library.
    from services.runner.kinds.text.images.picture import is_plain, read_picture

    try:
        header = read_header(image)
        if header.format == PNG:
            _check_png(image, header)
        if is_plain(image):
            return image
        file = io.BytesIO()
        read_picture(image).save(file, "PNG", compress_level=1)
    except (ValueError, struct.error, zlib.error, LookupError):
        raise undecodable() from None
    return file.getvalue()


def undecodable() -> MeshError:
    """Returns the refusal of an image whose header is right and whose content is not."""
    message = "'messages' hold an image that is damaged and cannot be decoded; save it again as PNG or JPEG."
    return invalid(message, "messages")


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

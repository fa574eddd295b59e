"""Reads what an image says about itself, format and size, without decoding a pixel.

The effort is bounded for any input: nobody should pay for looking at what a stranger has sent.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

PNG, JPEG, WEBP, GIF = FORMATS = ("PNG", "JPEG", "WEBP", "GIF")

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
# JPEG's start-of-frame markers; 0xC4, 0xC8 and 0xCC in between mean something else.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# A photograph has a dozen segments before its frame, one for each 64 KiB of colour profile and metadata.
_MOST_SEGMENTS = 1000
# A progressive photograph has about ten scans. Each costs a decoder a pass over all of the image, and next to no bytes.
_MOST_SCANS = 200


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What an image says that it is; width and height are in pixels and at least 1."""

    format: str
    width: int
    height: int

    @property
    def pixels(self) -> int:
        """How many pixels a decoder would make."""
        return self.width * self.height


def read_header(data: bytes) -> ImageHeader:
    """Returns the header of a PNG, JPEG, WEBP or GIF file; raises ValueError, with a reason, for anything else."""
    try:
        header = _read(data)
    except (struct.error, IndexError):
        raise ValueError("the image is cut off") from None
    if header.width < 1 or header.height < 1:
        raise ValueError("the image has no pixels")
    return header


def _read(data: bytes) -> ImageHeader:
    if data.startswith(_PNG_MAGIC):
        # https://www.w3.org/TR/png-3/#11IHDR: the first chunk.
        kind, width, height = struct.unpack_from(">4sII", data, 12)
        if kind != b"IHDR":
            raise ValueError("the PNG file does not begin with its header")
        return ImageHeader(PNG, width, height)
    if data.startswith((b"GIF87a", b"GIF89a")):
        # https://www.w3.org/Graphics/GIF/spec-gif89a.txt, section 18.
        return ImageHeader(GIF, *struct.unpack_from("<HH", data, 6))
    if data.startswith(b"\xff\xd8\xff"):
        return _read_jpeg(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _read_webp(data)
    raise ValueError("it is not an image in a supported format: " + ", ".join(FORMATS))


def _read_jpeg(data: bytes) -> ImageHeader:
    """Skips segments up to the frame: https://www.w3.org/Graphics/JPEG/itu-t81.pdf, annex B."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        # Markers may be padded with any number of 0xFF; `lstrip` on a slice would copy the file.
        if data[at] != 0xFF:
            raise ValueError("the JPEG file is damaged")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            if data.count(b"\xff\xda", at) > _MOST_SCANS:
                raise ValueError(f"the JPEG file has more than {_MOST_SCANS} scans; save it as a baseline JPEG")
            return ImageHeader(JPEG, width, height)
        at += 2 + length
    raise ValueError("the JPEG file has too much metadata; save it without")


def _read_webp(data: bytes) -> ImageHeader:
    """Reads one of the three first chunks of https://developers.google.com/speed/webp/docs/riff_container."""
    kind = data[12:16]
    if kind == b"VP8X":
        return ImageHeader(WEBP, _number24(data, 24) + 1, _number24(data, 27) + 1)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return ImageHeader(WEBP, (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        # The two upper bits are a scale for display.
        return ImageHeader(WEBP, width & 0x3FFF, height & 0x3FFF)
    raise ValueError("the WEBP file is damaged")


def _number24(data: bytes, at: int) -> int:
    low, high = struct.unpack_from("<HB", data, at)
    return int(low | high << 16)

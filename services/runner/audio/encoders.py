"""The audio formats of /v1/audio/speech, each made piece by piece from 16-bit mono samples."""

from __future__ import annotations

import importlib.util
import struct
from typing import Protocol

# What needs nothing more, and what needs the extra `speech`.
_PLAIN = ("wav",)
_BY_FFMPEG = ("mp3", "opus", "aac", "flac", "pcm")


class Encoder(Protocol):
    """Makes one file. Samples are 16-bit little-endian integers of one channel."""

    def encode(self, samples: bytes) -> bytes:
        """Returns the bytes of the file that follow from the next samples, perhaps none yet."""

    def finish(self) -> bytes:
        """Returns the rest of the file."""

    def close(self) -> None:
        """Frees what the library holds, also for a file that is not finished. Harmless when repeated."""


def available_formats() -> tuple[str, ...]:
    """Returns the formats that this installation can make."""
    return (*_BY_FFMPEG, *_PLAIN) if importlib.util.find_spec("av") else _PLAIN


def new_encoder(name: str, rate: int) -> Encoder:
    """Returns the encoder of an available format for samples at `rate` Hz."""
    if name == "wav":
        return WavEncoder(rate)
    # The library is large and optional.
    from services.runner.audio.ffmpeg_encoder import FfmpegEncoder

    return FfmpegEncoder(name, rate)


class WavEncoder:
    """A RIFF WAVE file whose length is unknown when it begins.

    Its header says so by the greatest number, as RF64 (EBU Tech 3306) does: readers then read to the end of the file.
    """

    def __init__(self, rate: int) -> None:
        unknown = 0xFFFFFFFF
        form = struct.pack("<HHIIHH", 1, 1, rate, 2 * rate, 2, 16)
        self._header = b"".join(
            (b"RIFF", struct.pack("<I", unknown), b"WAVEfmt ", struct.pack("<I", len(form)), form,
             b"data", struct.pack("<I", unknown))
        )  # fmt: skip

    def encode(self, samples: bytes) -> bytes:
        """Returns the samples, after the header the first time."""
        header, self._header = self._header, b""
        return header + samples

    def finish(self) -> bytes:
        """Returns the header if there were no samples."""
        return self.encode(b"")

    def close(self) -> None:
        """Has nothing to free."""

"""The formats that FFmpeg makes, through PyAV; docs/decisions/0011 says what that means for licences."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import av


@dataclass(frozen=True, slots=True)
class _Format:
    codec: str
    container: str
    # Bits a second: transparent for a voice. 0 where the codec is lossless.
    bit_rate: int = 0
    # Samples a second, where the format says so; 0 leaves them as they are.
    rate: int = 0
    options: dict[str, str] = field(default_factory=dict)


_FORMATS = {
    # The header that says how long it is would have to be written last.
    "mp3": _Format("libmp3lame", "mp3", 64_000, options={"write_xing": "0", "id3v2_version": "0"}),
    "opus": _Format("libopus", "ogg", 32_000, options={"page_duration": "200000"}),
    "aac": _Format("aac", "adts", 64_000),
    "flac": _Format("flac", "flac"),
    # OpenAI defines it so: without a header, at 24 kHz.
    "pcm": _Format("pcm_s16le", "s16le", rate=24_000),
}


class _Sink:
    """What FFmpeg writes to: it cannot seek, so that nothing is ever changed after it was sent."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def take(self) -> bytes:
        written, self._written = bytes(self._written), bytearray()
        return written


class FfmpegEncoder:
    """Makes one file from 16-bit little-endian mono samples at `rate` Hz."""

    def __init__(self, name: str, rate: int) -> None:
        wanted = _FORMATS[name]
        self._rate = rate
        self._sink = _Sink()
        self._container = av.open(self._sink, "w", format=wanted.container, options=dict(wanted.options))
        stream = self._container.add_stream(wanted.codec, rate=wanted.rate or rate, layout="mono")
        self._stream = cast("av.AudioStream", stream)
        if wanted.bit_rate:
            self._stream.bit_rate = wanted.bit_rate

    def encode(self, samples: bytes) -> bytes:
        """Returns the bytes of the file that follow from the next samples, perhaps none yet."""
        if samples:
            frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples) // 2)
            frame.planes[0].update(samples)
            frame.sample_rate = self._rate
            self._container.mux(self._stream.encode(frame))
        return self._sink.take()

    def finish(self) -> bytes:
        """Returns the rest of the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._sink.take()

    def close(self) -> None:
        """Frees FFmpeg's memory, which PyAV does not do by itself: 44 KiB for an MP3 that is left in the middle."""
        self._container.close()

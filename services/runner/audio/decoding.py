"""Reads uploaded recordings by FFmpeg through PyAV; docs/decisions/0011 says what that means for licences."""

from __future__ import annotations

import io
from collections.abc import Callable

import av
import av.error

from services.common.errors import Code, MeshError

# What speech recognition wants.
RATE = 16_000
_BYTES_PER_SECOND = 2 * RATE
NAMES = "flac, mp3, mp4, mpeg, mpga, m4a, ogg, opus, wav, webm, aac"
# FFmpeg must open nothing else: a playlist, for one, would make it read other files and URLs.
_OPTIONS = {"format_whitelist": "flac,mp3,mov,mpeg,ogg,wav,matroska,webm,aac", "protocol_whitelist": "none"}


def decode(audio: bytes, most_seconds: float, stopped: Callable[[], bool]) -> bytes:
    """Returns the first audio track as 16-bit native-endian mono samples at 16 kHz.

    `stopped` is asked now and then; once it says so, what was read so far is returned. Raises MeshError
    INVALID_REQUEST for what is not a recording, has no sound or lasts longer than `most_seconds`.
    """
    samples = bytearray()
    try:
        with av.open(io.BytesIO(audio), "r", metadata_errors="ignore", options=dict(_OPTIONS)) as container:
            resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
            for frame in container.decode(audio=0):
                # Clocks of damaged recordings jump, which the resampler refuses.
                frame.pts = None
                _add(samples, resampler.resample(frame))
                if len(samples) > most_seconds * _BYTES_PER_SECOND:
                    raise _too_long(most_seconds)
                if stopped():
                    break
            _add(samples, resampler.resample(None))
    except (av.error.FFmpegError, ValueError, IndexError):
        # A recording that breaks off is written down as far as it goes.
        if not samples:
            raise _unreadable() from None
    if not samples:
        raise _unreadable()
    return bytes(samples)


def _add(samples: bytearray, frames: list[av.AudioFrame]) -> None:
    for frame in frames:
        # The plane is longer than the sound in it.
        samples += bytes(frame.planes[0])[: 2 * frame.samples]


def _unreadable() -> MeshError:
    message = f"The file is not a recording that can be read. Send one of these formats: {NAMES}."
    return MeshError(Code.INVALID_REQUEST, message, param="file")


def _too_long(most_seconds: float) -> MeshError:
    message = f"The recording is longer than {most_seconds:g} seconds. Send it in parts."
    return MeshError(Code.INVALID_REQUEST, message, param="file")

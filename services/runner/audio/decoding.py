"""Reads uploaded recordings by FFmpeg through PyAV; docs/decisions/0011 says what that means for licences."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import suppress

import av
import av.error
from av.container import InputContainer

from services.common.errors import Code, MeshError

# What speech recognition wants.
RATE = 16_000
_BYTES_PER_SECOND = 2 * RATE
NAMES = "flac, mp3, mp4, mpeg, mpga, m4a, ogg, opus, wav, webm, aac"
# FFmpeg must open nothing else: a playlist, for one, would make it read other files and URLs.
_OPTIONS = {"format_whitelist": "flac,mp3,mov,mpeg,ogg,wav,matroska,webm,aac", "protocol_whitelist": "none"}

# A reader that fails this often in a row has come to the end of what it can find.
_MOST_FAILURES = 16


def decode(audio: bytes, most_seconds: float, stopped: Callable[[], bool]) -> bytes:
    """Returns the first audio track as 16-bit native-endian mono samples at 16 kHz.

    `stopped` is asked now and then; once it says so, what was read so far is returned. Raises MeshError
    INVALID_REQUEST for what is not a recording, has no sound or lasts longer than `most_seconds`.
    """
    sound = _Sound()
    try:
        with av.open(io.BytesIO(audio), "r", metadata_errors="ignore", options=dict(_OPTIONS)) as container:
            for packet in _packets(container):
                sound.add(packet)
                if sound.seconds > most_seconds:
                    raise _too_long(most_seconds)
                if stopped():
                    break
    except (av.error.FFmpegError, ValueError, IndexError):
        # It is not a recording, or has no sound.
        raise _unreadable() from None
    samples = sound.end()
    if not samples:
        raise _unreadable()
    return samples


def _packets(container: InputContainer) -> Iterator[av.Packet[av.AudioStream]]:
    """Yields the packets of the first audio track; where the file is damaged, those that follow."""
    track = container.streams.audio[0]
    failures = 0
    while failures < _MOST_FAILURES:
        try:
            for packet in container.demux(track):
                failures = 0
                yield packet
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            failures += 1
        else:
            return


class _Sound:
    """Gathers samples and leaves out what cannot be decoded: a damaged frame lasts some hundredths of a second."""

    def __init__(self) -> None:
        self._samples = bytearray()
        self._resampler: av.AudioResampler | None = None
        self._form: tuple[object, ...] = ()

    @property
    def seconds(self) -> float:
        return len(self._samples) / _BYTES_PER_SECOND

    def add(self, packet: av.Packet[av.AudioStream]) -> None:
        try:
            frames = packet.decode()
        except (av.error.FFmpegError, ValueError):
            return
        for frame in frames:
            self._resample(frame)

    def end(self) -> bytes:
        """Returns all samples."""
        self._flush()
        return bytes(self._samples)

    def _resample(self, frame: av.AudioFrame) -> None:
        # A resampler takes one form. Chained and damaged files change theirs.
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._form:
            self._flush()
            self._form = form
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        # Clocks of damaged recordings jump, which the resampler refuses.
        frame.pts = None
        self._pass(self._resampler, frame)

    def _flush(self) -> None:
        self._pass(self._resampler, None)
        self._resampler = None

    def _pass(self, resampler: av.AudioResampler | None, frame: av.AudioFrame | None) -> None:
        if resampler is None:
            return
        with suppress(av.error.FFmpegError, ValueError):
            for resampled in resampler.resample(frame):
                # The plane is longer than the sound in it.
                self._samples += bytes(resampled.planes[0])[: 2 * resampled.samples]


def _unreadable() -> MeshError:
    message = f"The file is not a recording that can be read. Send one of these formats: {NAMES}."
    return MeshError(Code.INVALID_REQUEST, message, param="file")


def _too_long(most_seconds: float) -> MeshError:
    message = f"The recording is longer than {most_seconds:g} seconds. Send it in parts."
    return MeshError(Code.INVALID_REQUEST, message, param="file")

"""Whether what a server sends is sound of the wanted format, and how much of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from services.common.errors import MeshError
from services.runner.engines.upstream.kind_quirks import PCM_RATE

_PCM_BYTES_PER_SECOND = 2 * PCM_RATE
Audio: TypeAlias = bytes | bytearray
# Bytes from which a format can be told.
ENOUGH = 4


def begins_as(name: str, audio: Audio) -> bool:
    """Returns whether a file that begins with at least ENOUGH bytes can be of the format."""
    return _FORMATS[name](audio)


def _is_mp3(audio: Audio) -> bool:
    # A tag, or the mark of a frame of a layer that is not 0, which is ADTS's.
    return audio.startswith(b"ID3") or (audio[0] == 0xFF and audio[1] & 0xE0 == 0xE0 and audio[1] & 0x06 != 0)


def _is_adts(audio: Audio) -> bool:
    return audio[0] == 0xFF and audio[1] & 0xF6 == 0xF0


def _is_bare(audio: Audio) -> bool:
    """Returns whether samples without a header are no other format: they may be anything else."""
    return not audio.startswith((b"RIFF", b"ID3", b"OggS", b"fLaC", b"<htm", b'{"'))


_FORMATS: dict[str, Callable[[Audio], bool]] = {
    "mp3": _is_mp3,
    "aac": _is_adts,
    "opus": lambda audio: audio.startswith(b"OggS"),
    "flac": lambda audio: audio.startswith(b"fLaC"),
    "wav": lambda audio: audio.startswith(b"RIFF"),
    "pcm": _is_bare,
}


def seconds_of(name: str, audio: bytes, most_seconds: float, stopped: Callable[[], bool]) -> float | None:
    """Returns how long a whole file of the format sounds, or None if it does not sound at all.

    It decodes the file, which blocks. `stopped` is asked now and then, and ends it.
    """
    if name == "pcm":
        return None if len(audio) % 2 else len(audio) / _PCM_BYTES_PER_SECOND
    from services.runner.audio.decoding import RATE, decode

    try:
        return len(decode(audio, most_seconds, stopped)) / 2 / RATE
    except MeshError:
        # Its words are about a file that a client has sent.
        return None

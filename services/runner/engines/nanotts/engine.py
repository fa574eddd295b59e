"""Speaks with SVOX Pico (Apache-2.0, the package py-nanotts), piece by piece.

Pico makes a second of speech in a few milliseconds, and keeps Python's lock meanwhile: pieces are short for that reason
too, so that the event loop is never kept waiting for long.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing
from typing import Any

from services.common.errors import Code, MeshError
from services.common.extras import how_to_install
from services.runner.audio.encoders import Encoder, available_formats, new_encoder
from services.runner.audio.pieces import divide
from services.runner.engines.nanotts.markup import plain_text
from services.runner.engines.nanotts.scripts import latin_text
from services.runner.engines.nanotts.voices import VOICES, Voice
from services.runner.engines.threaded import ThreadedEngine, ThreadedJob, ThreadedJobs
from services.runner.kinds.base import FinishReason, TokenCounts
from services.runner.kinds.speech import SECONDS_PER_TOKEN, SpeechJob, SpeechStep

# Of what Pico makes: 16-bit samples of one channel.
RATE = 16_000
_BYTES_PER_SECOND = 2 * RATE
# A piece that Pico cannot read is tried in halves down to this many characters.
_SHORTEST = 8


class NanoTtsEngine(ThreadedEngine[SpeechJob, SpeechStep]):
    """Speaks for up to `slots` jobs at once, each on a thread of its own, so that the pieces of all take turns.

    A job may make `most_seconds` of speech: the longest text does with less, however slowly it is read, but for signs
    that are read out one by one.
    """

    def __init__(self, *, slots: int = 4, most_seconds: float = 1200.0) -> None:
        super().__init__("nanotts", "speech", ThreadedJobs("nanotts", slots=slots, threads=slots))
        self._most_seconds = most_seconds
        self._pico: Any = None

    @property
    def voices(self) -> Collection[str]:
        """The names of its voices."""
        return VOICES

    @property
    def formats(self) -> Collection[str]:
        """The audio formats that this installation can make."""
        return available_formats()

    def _load(self) -> None:
        try:
            from py_nanotts import NanoTTS
        except ImportError as error:
            message = f"the engine nanotts needs the package py-nanotts: {how_to_install('speech')}"
            raise RuntimeError(message) from error
        self._pico = NanoTTS()
        self._speak("Ready.", Voice("en-US"), 1.0)

    def _work(self, job: SpeechJob, running: ThreadedJob[SpeechStep]) -> None:
        text = latin_text(plain_text(job.input))
        if not any(character.isalnum() for character in text):
            raise _nothing()
        with closing(new_encoder(job.format, RATE)) as encoder:
            running.produce_each(self._steps(job, text, encoder))

    def _steps(self, job: SpeechJob, text: str, encoder: Encoder) -> Iterator[SpeechStep]:
        """Speaks one piece after the other; raises MeshError INVALID_REQUEST for what cannot be spoken."""
        voice = VOICES[job.voice]
        made = 0
        for piece in divide(text):
            samples = self._speak(piece, voice, job.speed)
            made += len(samples)
            if made > self._most_seconds * _BYTES_PER_SECOND:
                raise _too_long(self._most_seconds)
            yield SpeechStep(encoder.encode(samples))
        seconds = made / _BYTES_PER_SECOND
        usage = TokenCounts(prompt_tokens=len(job.input.split()), completion_tokens=round(seconds / SECONDS_PER_TOKEN))
        yield SpeechStep(encoder.finish(), FinishReason.STOP, usage)

    def _speak(self, piece: str, voice: Voice, speed: float) -> bytes:
        try:
            samples: bytes = self._pico.speak(piece, voice.language, speed, voice.pitch)
        except RuntimeError:
            if len(piece) < 2 * _SHORTEST:
                raise _unreadable() from None
            half = len(piece) // 2
            return self._speak(piece[:half], voice, speed) + self._speak(piece[half:], voice, speed)
        return samples


def _too_long(most_seconds: float) -> MeshError:
    message = f"This text takes more than {most_seconds:g} seconds to read. Send less, or a greater 'speed'."
    return MeshError(Code.INVALID_REQUEST, message, param="input")


def _nothing() -> MeshError:
    return MeshError(Code.INVALID_REQUEST, "There is no letter or digit in 'input' to read aloud.", param="input")


def _unreadable() -> MeshError:
    message = "The voice cannot read a part of 'input'. Remove unusual signs and very long numbers."
    return MeshError(Code.INVALID_REQUEST, message, param="input")

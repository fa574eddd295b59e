"""Finds where somebody speaks: in silence, Whisper hears words that nobody has said."""

from __future__ import annotations

from itertools import chain
from typing import Any

from services.runner.audio.decoding import RATE

# A shorter pause stays between the words around it, so that they are heard together.
_LONGEST_PAUSE_SECONDS = 5.0


def spoken_spans(sound: Any) -> list[float]:
    """Returns the start and the end of each part with speech, one after the other, in seconds; empty without speech.

    `sound` is an array of samples at 16 kHz between -1 and 1. Works through all of it at once: a second of sound takes
    about 4 ms. Silero VAD, which comes with faster-whisper, does the work.
    """
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    options = VadOptions(min_silence_duration_ms=round(1000 * _LONGEST_PAUSE_SECONDS))
    spans = get_speech_timestamps(sound, options, sampling_rate=RATE)
    return [sample / RATE for sample in chain.from_iterable((span["start"], span["end"]) for span in spans)]

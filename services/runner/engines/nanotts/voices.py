"""The voices that the engine answers to. Pico has one woman's voice for each language; pitch makes more of them."""

from __future__ import annotations

from typing import NamedTuple


class Voice(NamedTuple):
    """How Pico speaks."""

    # One of Pico's languages.
    language: str
    # 1 is the recorded voice.
    pitch: float = 1.0


# By name in lower case. docs/audio.md lists them.
VOICES = {
    # Pico's own.
    "en-us": Voice("en-US"),
    "en-gb": Voice("en-GB"),
    "de-de": Voice("de-DE"),
    "es-es": Voice("es-ES"),
    "fr-fr": Voice("fr-FR"),
    "it-it": Voice("it-IT"),
    # OpenAI's names, so that programs written for OpenAI run as they are: some voice, always the same for a name.
    "alloy": Voice("en-US"),
    "ash": Voice("en-US", 0.75),
    "ballad": Voice("en-GB", 0.8),
    "cedar": Voice("en-US", 0.7),
    "coral": Voice("en-US", 1.1),
    "echo": Voice("en-US", 0.8),
    "fable": Voice("en-GB"),
    "marin": Voice("en-US", 1.05),
    "nova": Voice("en-US", 1.15),
    "onyx": Voice("en-GB", 0.7),
    "sage": Voice("en-GB", 1.1),
    "shimmer": Voice("en-US", 1.2),
    "verse": Voice("en-US", 0.9),
    # The name in bytecompute's example.
    "helpful woman": Voice("en-US"),
}

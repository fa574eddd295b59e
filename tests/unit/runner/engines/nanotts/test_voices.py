"""Programs written for OpenAI find their voices."""

from __future__ import annotations

from services.runner.engines.nanotts.voices import VOICES

OPENAI = (
    "alloy",
    "ash",
    "ballad",
    "cedar",
    "coral",
    "echo",
    "fable",
    "marin",
    "nova",
    "onyx",
    "sage",
    "shimmer",
    "verse",
)
PICO = {"en-US", "en-GB", "de-DE", "es-ES", "fr-FR", "it-IT"}


def test_all_names_of_openai_and_the_reference_are_there() -> None:
    assert set(OPENAI) < set(VOICES)
    assert "helpful woman" in VOICES


def test_every_voice_is_one_that_pico_can_speak() -> None:
    assert {voice.language for voice in VOICES.values()} == PICO
    # Beyond these Pico sounds broken.
    assert all(0.5 <= voice.pitch <= 2 for voice in VOICES.values())
    assert all(name == name.lower().strip() for name in VOICES)


def test_the_voices_of_openai_differ() -> None:
    assert len({VOICES[name] for name in OPENAI}) == len(OPENAI)

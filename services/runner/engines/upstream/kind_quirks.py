"""How servers differ in what they do beside chats: each has one of these for each kind, in the table of `quirks`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

FLOATS: Mapping[str, Any] = {"encoding_format": "float"}
BASE64: Mapping[str, Any] = {"encoding_format": "base64"}
# OpenAI's formats of speech; `pcm` has no header that tells how many samples a second has.
FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")
_WITH_HEADER = FORMATS[:-1]
# What OpenAI defines for `pcm`.
PCM_RATE = 24_000


@dataclass(frozen=True, slots=True)
class EmbeddingQuirks:
    """How a server embeds."""

    # Below the address of the server.
    path: str = "/v1/embeddings"
    # What each request says beside the model and the inputs.
    always: Mapping[str, Any] = field(default_factory=lambda: FLOATS)
    # Whether inputs may be lists of tokens.
    tokens: bool = False
    # Where the models for it are listed, if they are not among the others.
    models: str = ""


@dataclass(frozen=True, slots=True)
class SpeechQuirks:
    """How a server speaks."""

    # Those of OpenAI's formats that it makes, and what it needs to make one as OpenAI defines it.
    formats: tuple[str, ...] = _WITH_HEADER
    always: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    # The lowest and the highest speed.
    speeds: tuple[float, float] = (0.25, 4.0)
    # Voices that it has and does not list.
    voices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TranscriptionQuirks:
    """How a server writes down recordings."""

    # The most that it tells: phrases with their times, or the text alone.
    form: Literal["verbose_json", "json"] = "verbose_json"
    # Whether it may tell the times of words.
    words: bool = True
    # Parameters of OpenAI's that it ignores without a word; they are refused.
    ignored: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ImageQuirks:
    """How a server generates images."""

    # How it spells parameters of open models; those that it lacks are refused. A dot stands between an object and its
    # field.
    parameters: Mapping[str, str] = field(default_factory=dict)
    # The tag within the prompt between which it looks for parameters, as an object; empty if they stand beside it.
    tag: str = ""

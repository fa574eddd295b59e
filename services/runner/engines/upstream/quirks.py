"""What servers lack or spell differently, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from services.common.catalog import Kind
from services.runner.engines.upstream.kind_quirks import (
    BASE64,
    FORMATS,
    PCM_RATE,
    EmbeddingQuirks,
    ImageQuirks,
    SpeechQuirks,
    TranscriptionQuirks,
)
from services.runner.engines.upstream.told import (
    Form,
    Instances,
    Painting,
    Properties,
    Running,
    SpeakingModels,
    Tags,
)


@dataclass(frozen=True, slots=True)
class Quirks:
    """How one kind of server differs from OpenAI's API."""

    # For people.
    name: str
    # The `owned_by` of the models that it lists, in lower case; empty if that says nothing about the server.
    owner: str = ""
    # How it spells parameters of open models; those that it lacks are refused.
    parameters: Mapping[str, str] = field(default_factory=dict)
    # Parameters of OpenAI's that it ignores without a word; they are refused.
    ignored: frozenset[str] = frozenset()
    # Whether chat templates get variables, such as the one that turns thinking on and off.
    template_variables: bool = False
    # The `reasoning_effort` with which models do not think, where template variables do not say it.
    effortless: str = ""
    # What it needs in each request to report progress and the like, and to leave parameters of open models off: its
    # own defaults may be others.
    always: Mapping[str, Any] = field(default_factory=dict)
    # Under which name a request says with which others it shares what is read of prompts.
    cache_scope: str = ""
    # What keeps a request from using what was read of the prompts of others, where they cannot be told apart.
    without_cache: Mapping[str, Any] = field(default_factory=dict)
    # Where it tells more about its models, and in which form.
    path: str = ""
    form: type[Form] | None = None
    # Whether a server whose models have an unknown owner is of this kind if it answers there in this form; if not, it
    # must answer there.
    by_path: bool = False
    # A second such place, and its form.
    also: tuple[str, type[Form]] | None = None
    # What all of its models do, where that is known; None where it depends on the model.
    kinds: tuple[Kind, ...] | None = None
    embedding: EmbeddingQuirks = field(default_factory=EmbeddingQuirks)
    speech: SpeechQuirks = field(default_factory=SpeechQuirks)
    transcription: TranscriptionQuirks = field(default_factory=TranscriptionQuirks)
    image: ImageQuirks = field(default_factory=ImageQuirks)


_TOP_K = {"top_k": "top_k"}
_OPEN = {**_TOP_K, "min_p": "min_p", "repetition_penalty": "repetition_penalty"}
_OFF = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
_TEXT_ALONE = TranscriptionQuirks("json", words=False)
_AT_PCM_RATE = {"pcm": {"sample_rate": PCM_RATE}}
_DIFFUSION = ImageQuirks({"seed": "seed", "steps": "num_inference_steps", "negative_prompt": "negative_prompt"})
KINDS = (
    Quirks(
        "llama.cpp",
        "llamacpp",
        {**_OPEN, "repetition_penalty": "repeat_penalty"},
        template_variables=True,
        always={"return_progress": True, "top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0},
        without_cache={"cache_prompt": False},
        path="/props",
        form=Properties,
        embedding=EmbeddingQuirks(always=BASE64, tokens=True),
        transcription=_TEXT_ALONE,
    ),
    # Its speech and images are those of vLLM-Omni.
    Quirks(
        "vLLM",
        "vllm",
        _OPEN,
        template_variables=True,
        always=_OFF,
        cache_scope="cache_salt",
        embedding=EmbeddingQuirks(always=BASE64, tokens=True),
        speech=SpeechQuirks(("wav", "pcm", "flac", "mp3", "opus"), _AT_PCM_RATE),
        transcription=TranscriptionQuirks(words=False),
        image=_DIFFUSION,
    ),
    Quirks(
        "SGLang",
        "sglang",
        _OPEN,
        template_variables=True,
        # There 0 is no number of tokens to choose from.
        always={**_OFF, "top_k": -1},
        cache_scope="cache_salt",
        embedding=EmbeddingQuirks(tokens=True),
        transcription=TranscriptionQuirks(words=False, ignored=frozenset({"prompt"})),
        image=_DIFFUSION,
    ),
    Quirks(
        "TabbyAPI",
        "tabbyapi",
        _OPEN,
        ignored=frozenset({"seed"}),
        template_variables=True,
        always=_OFF,
        path="/props",
        form=Properties,
        embedding=EmbeddingQuirks(models="/v1/model/embedding/list"),
    ),
    # Its owner is whoever has published the model. It has to be looked for before Ollama, some of whose paths it has.
    Quirks(
        "speaches",
        path="/v1/audio/models",
        form=SpeakingModels,
        by_path=True,
        kinds=("transcription", "speech"),
        # Some of its voices are as fast as OpenAI's. Those that are not end in the middle of an answer.
        speech=SpeechQuirks(FORMATS, _AT_PCM_RATE, (0.5, 2.0)),
    ),
    # Its owner is whoever has published the model, `library` for most.
    Quirks(
        "Ollama",
        effortless="none",
        path="/api/ps",
        form=Running,
        by_path=True,
        also=("/api/tags", Tags),
        # Its path of OpenAI's cuts long inputs without a word.
        embedding=EmbeddingQuirks("/api/embed", {"truncate": False}),
        transcription=replace(_TEXT_ALONE, ignored=frozenset({"temperature"})),
    ),
    # Its documentation names no owner.
    Quirks(
        "LM Studio",
        parameters={**_TOP_K, "repetition_penalty": "repeat_penalty"},
        path="/api/v1/models",
        form=Instances,
        by_path=True,
    ),
    Quirks(
        "Kokoro-FastAPI",
        "kokoro",
        kinds=("speech",),
        speech=SpeechQuirks(
            FORMATS, voices=("alloy", "ash", "coral", "echo", "fable", "onyx", "nova", "sage", "shimmer")
        ),
    ),
    # Its owner is `local`.
    Quirks(
        "stable-diffusion.cpp",
        path="/sdcpp/v1/capabilities",
        form=Painting,
        by_path=True,
        kinds=("image",),
        image=ImageQuirks({"seed": "seed", "steps": "sample_params.sample_steps"}, "sd_cpp_extra_args"),
    ),
)
UNKNOWN = Quirks("a server of an unknown kind")


def quirks_of(owner: str) -> Quirks:
    """Returns the quirks of the server whose models have this owner; `UNKNOWN` if it says nothing."""
    return next((each for each in KINDS if each.owner and each.owner == owner.lower()), UNKNOWN)

"""A model in the list: OpenAI's fields, those of this service, and those by which other services say the same.

Clients that show models look for the fields of the service that they were written for: `max_model_len` is vLLM's,
`type` Together's, and `architecture`, `supported_parameters` and `supported_voices` are OpenRouter's.
"""

from __future__ import annotations

import calendar
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from services.common.catalog import Capability, Kind, Model
from services.edge.credits import dollars
from services.edge.models.supported_parameters import supported_parameters

TypeWord = Literal["chat", "embedding", "audio", "transcribe", "image"]
# Together's words, by ours.
_TYPES: dict[Kind, TypeWord] = {
    "chat": "chat",
    "embedding": "embedding",
    "speech": "audio",
    "transcription": "transcribe",
    "image": "image",
}
# What goes in and what comes out, in OpenRouter's words.
_MODALITIES: dict[Kind, tuple[str, str]] = {
    "chat": ("text", "text"),
    "embedding": ("text", "embeddings"),
    "speech": ("text", "speech"),
    "transcription": ("audio", "transcription"),
    "image": ("text", "image"),
}


class Pricing(Struct, frozen=True):
    """What one unit costs."""

    unit: str
    credits: int
    usd: str


class Architecture(Struct, frozen=True):
    """What a model takes and what it makes; `modality` says both, such as `text+image->text`."""

    modality: str
    input_modalities: tuple[str, ...]
    output_modalities: tuple[str, ...]


class ModelBody(Struct, frozen=True, kw_only=True):
    """A model for sale; `available` tells whether a healthy runner serves it now."""

    id: str
    object: Literal["model"] = "model"
    # Seconds since 1970; 0 if the catalog does not say.
    created: int
    owned_by: str
    available: bool
    tier: str
    kind: Kind
    type: TypeWord
    # Tokens of prompt and answer together; 0 and null for kinds that are not bounded by tokens.
    context_length: int
    max_model_len: int | None
    capabilities: tuple[Capability, ...]
    architecture: Architecture
    supported_parameters: tuple[str, ...]
    # Of a model that speaks, as far as the catalog lists them.
    supported_voices: tuple[str, ...] | UnsetType = UNSET
    pricing: Pricing


class ModelList(Struct, frozen=True):
    """The models that a key may use."""

    data: list[ModelBody]
    object: Literal["list"] = "list"


def model_body(model: Model, *, available: bool) -> ModelBody:
    """Returns a model as the list shows it."""
    return ModelBody(
        id=model.id,
        created=created_seconds(model),
        owned_by=model.owned_by,
        available=available,
        tier=model.tier,
        kind=model.kind,
        type=_TYPES[model.kind],
        context_length=model.context,
        max_model_len=model.context or None,
        capabilities=model.capabilities,
        architecture=_architecture(model),
        supported_parameters=supported_parameters(model),
        supported_voices=model.voices or UNSET,
        pricing=Pricing(unit=model.unit, credits=model.price, usd=dollars(model.price)),
    )


def created_seconds(model: Model) -> int:
    """Returns the beginning of the first day on which a model is sold, UTC, in seconds since 1970; 0 if unknown."""
    return calendar.timegm(model.created.timetuple()) if model.created else 0


def _architecture(model: Model) -> Architecture:
    given, made = _MODALITIES[model.kind]
    inputs = (given, "image") if "vision" in model.capabilities else (given,)
    return Architecture(f"{'+'.join(inputs)}->{made}", inputs, (made,))

"""Renders the catalog as GET /v1/models shows it: OpenAI's shape with live availability and price."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from services.common.catalog import Capability, Kind, Model
from services.edge.paid.routing import AvailableModels

CREDITS_PER_DOLLAR = 100


class Pricing(Struct, frozen=True):
    """What one unit costs."""

    unit: str
    credits: int
    usd: str


class ModelBody(Struct, frozen=True):
    """A model for sale; `available` tells whether a healthy runner serves it now."""

    id: str
    owned_by: str
    available: bool
    tier: str
    kind: Kind
    context_length: int
    capabilities: tuple[Capability, ...]
    pricing: Pricing
    object: Literal["model"] = "model"
    # The catalog does not date its models; OpenAI's clients want a number here.
    created: int = 0


class ModelList(Struct, frozen=True):
    """The models that a key may use."""

    data: list[ModelBody]
    object: Literal["list"] = "list"


def model_body(model: Model, available_models: AvailableModels) -> ModelBody:
    """Returns one model."""
    return ModelBody(
        id=model.id,
        owned_by=model.owned_by,
        available=available_models[model.id],
        tier=model.tier,
        kind=model.kind,
        context_length=model.context,
        capabilities=model.capabilities,
        pricing=Pricing(unit=model.unit, credits=model.price, usd=f"{model.price / CREDITS_PER_DOLLAR:.2f}"),
    )


def models_body(models: Iterable[Model], available_models: AvailableModels) -> ModelList:
    """Returns a list of models, in their order."""
    return ModelList([model_body(model, available_models) for model in models])

"""Renders the catalog as GET /v1/models shows it: OpenAI's shape with live availability and price."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from services.common.catalog import Model
from services.edge.routing import Availability

CREDITS_PER_DOLLAR = 100


def model_body(model: Model, availability: Availability) -> dict[str, Any]:
    """Returns one model."""
    return {
        "id": model.id,
        "object": "model",
        # The catalog does not date its models; OpenAI's clients want a number here.
        "created": 0,
        "owned_by": model.owned_by,
        "available": availability[model.id],
        "tier": model.tier,
        "kind": model.kind,
        "context_length": model.context,
        "capabilities": list(model.capabilities),
        "pricing": {
            "unit": model.unit,
            "credits": model.price,
            "usd": f"{model.price / CREDITS_PER_DOLLAR:.2f}",
        },
    }


def models_body(models: Iterable[Model], availability: Availability) -> dict[str, Any]:
    """Returns a list of models, in their order."""
    return {"object": "list", "data": [model_body(model, availability) for model in models]}

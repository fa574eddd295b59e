"""The routes of the list of models."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from services.common.catalog import Model
from services.edge.dependencies import Dependencies
from services.edge.models.anthropic_models import (
    DEFAULT_PAGE,
    MAX_PAGE,
    VERSION_HEADER,
    AnthropicModel,
    AnthropicModelList,
)
from services.edge.models.endpoint import Models
from services.edge.models.filters import KINDS
from services.edge.models.model_body import ModelBody, ModelList, model_body
from services.edge.route import TEXT, Content, Operation, Parameter, Route, reference

_SOLD = Model(
    id="tiermesh-pro",
    kind="chat",
    tier="pro",
    price=10,
    context=8192,
    capabilities=("tools",),
    created=datetime.date(2026, 11, 21),
)
_EXAMPLE = model_body(_SOLD, available=True)
_VERSION = Parameter(
    VERSION_HEADER, TEXT, "If it is sent, the answer has the shape of Anthropic's API, whatever it says.", "header"
)
_PAGE: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": MAX_PAGE}
_ANTHROPIC = "With an `anthropic-version` header, the answer is an `{name}`."


def _either(own: type[Struct], anthropic: type[Struct], example: Struct) -> dict[str, Content]:
    """Returns an answer in OpenAI's shape or in Anthropic's; both types must be among the operation's further types."""
    shapes = [{"$ref": reference(shape)} for shape in (own, anthropic)]
    return {"application/json": Content(schema={"anyOf": shapes}, example=example)}


_LIST = Operation(
    summary="List the models that the key may use",
    tag="Models",
    description=f"{_ANTHROPIC.format(name=AnthropicModelList.__name__)} It holds chat models only.",
    answer=_either(ModelList, AnthropicModelList, ModelList([_EXAMPLE])),
    parameters=(
        _VERSION,
        Parameter(
            "available", {"type": "boolean"}, "Only models that a healthy runner serves now, or only the others."
        ),
        Parameter("kind", {"type": "string", "enum": list(KINDS)}, "Only models of this kind."),
        Parameter("limit", _PAGE, f"Of Anthropic's shape: how many models a page has; by default {DEFAULT_PAGE}."),
        Parameter("after_id", TEXT, "Of Anthropic's shape: the `last_id` of the page before."),
        Parameter("before_id", TEXT, "Of Anthropic's shape: the `first_id` of the page after."),
    ),
    further_types=(ModelList, AnthropicModelList),
)
_DESCRIBE = Operation(
    summary="Describe a model",
    tag="Models",
    description=_ANTHROPIC.format(name=AnthropicModel.__name__),
    answer=_either(ModelBody, AnthropicModel, _EXAMPLE),
    may_be_missing=True,
    parameters=(_VERSION,),
    further_types=(ModelBody, AnthropicModel),
)


def routes(edge: Dependencies) -> Sequence[Route]:
    """Returns the routes of GET /v1/models and of one model."""
    models = Models(edge.mesh)
    return [
        Route(method="GET", path="/models", name="models", scope="models", handler=models.list, operation=_LIST),
        Route(
            method="GET",
            # Ids may contain slashes.
            path="/models/{model:.+}",
            name="model",
            scope="models",
            handler=models.describe,
            operation=_DESCRIBE,
        ),
    ]

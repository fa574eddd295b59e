"""The list of models as Anthropic's API has it: only those that converse, in pages that begin at an id."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Literal

from aiohttp import web
from msgspec import Struct

from services.common.catalog import Model
from services.edge.http.parsing import invalid
from services.edge.models.model_body import created_seconds

# Anthropic's clients send it with every request.
VERSION_HEADER = "anthropic-version"
# Anthropic's default, and its bound.
DEFAULT_PAGE, MAX_PAGE = 20, 1000


class AnthropicModel(Struct, frozen=True, kw_only=True):
    """A model for sale; `available` tells whether a healthy runner serves it now, which Anthropic does not say."""

    id: str
    type: Literal["model"] = "model"
    display_name: str
    # RFC 3339; the beginning of 1970 if the catalog does not say.
    created_at: str
    lifecycle: Literal["active"] = "active"
    # Tokens of prompt and answer together; null for kinds that are not bounded by tokens.
    max_input_tokens: int | None
    max_tokens: int | None
    available: bool


class AnthropicModelList(Struct, frozen=True, kw_only=True):
    """A page of the models that a key may use."""

    data: list[AnthropicModel]
    has_more: bool
    first_id: str | None
    last_id: str | None


def asks_for_anthropic(request: web.Request) -> bool:
    """Whether a request comes from a client of Anthropic's API."""
    return VERSION_HEADER in request.headers


def anthropic_model(model: Model, *, available: bool) -> AnthropicModel:
    """Returns a model as Anthropic's list shows it."""
    created = datetime.datetime.fromtimestamp(created_seconds(model), datetime.UTC)
    return AnthropicModel(
        id=model.id,
        display_name=model.id,
        created_at=created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        max_input_tokens=model.context or None,
        max_tokens=model.context or None,
        available=available,
    )


def anthropic_page(models: Sequence[AnthropicModel], query: Mapping[str, str]) -> AnthropicModelList:
    """Returns the page that a query asks for; raises MeshError INVALID_REQUEST for one that cannot be."""
    limit = _limit(query.get("limit"))
    after, before = query.get("after_id", ""), query.get("before_id", "")
    if after and before:
        raise invalid("before_id", "'before_id' and 'after_id' exclude each other; send one of them.")
    if before:
        end = _place("before_id", before, models)
        begin = max(0, end - limit)
        more = begin > 0
    else:
        begin = _place("after_id", after, models) + 1 if after else 0
        end = min(len(models), begin + limit)
        more = end < len(models)
    page = list(models[begin:end])
    return AnthropicModelList(
        data=page, has_more=more, first_id=page[0].id if page else None, last_id=page[-1].id if page else None
    )


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_PAGE
    # Written so that no other digits than those of ASCII pass.
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_PAGE)) and 1 <= int(text) <= MAX_PAGE):
        raise invalid("limit", f"'limit' must be a whole number from 1 to {MAX_PAGE}.")
    return int(text)


def _place(name: str, model_id: str, models: Sequence[AnthropicModel]) -> int:
    for place, model in enumerate(models):
        if model.id == model_id:
            return place
    raise invalid(name, f"'{name}' must be the id of a model in this list, such as the 'last_id' of the page before.")

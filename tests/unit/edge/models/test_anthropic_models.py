"""Pages of Anthropic's list: together they are the whole list, whichever way somebody walks through it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

import pytest

from services.common.catalog import Model
from services.common.errors import MeshError
from services.edge.models.anthropic_models import AnthropicModelList, anthropic_model, anthropic_page

MODELS = [
    anthropic_model(Model(id=f"m{number}", kind="chat", tier="t", price=1, context=4096), available=True)
    for number in range(45)
]
IDS = [model.id for model in MODELS]


def page(**query: str) -> AnthropicModelList:
    return anthropic_page(MODELS, query)


def test_a_model_has_anthropics_fields() -> None:
    sold = Model(id="m", kind="chat", tier="t", price=1, context=4096, created=datetime.date(2026, 11, 21))
    model = anthropic_model(sold, available=False)
    assert (model.type, model.id, model.display_name) == ("model", "m", "m")
    assert datetime.datetime.fromisoformat(model.created_at) == datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)
    assert (model.max_input_tokens, model.max_tokens, model.available) == (4096, 4096, False)


def test_a_page_has_twenty_unless_asked_otherwise() -> None:
    first = page()
    assert ([model.id for model in first.data], first.has_more) == (IDS[:20], True)
    assert (first.first_id, first.last_id) == ("m0", "m19")


@pytest.mark.parametrize("limit", [1, 7, 20, 44, 45, 1000])
def test_pages_forward_are_the_whole_list(limit: int) -> None:
    seen: list[str] = []
    query = {"limit": str(limit)}
    while True:
        found = anthropic_page(MODELS, query)
        seen += [model.id for model in found.data]
        if not found.has_more:
            break
        assert found.last_id is not None
        query["after_id"] = found.last_id
    assert seen == IDS


@pytest.mark.parametrize("limit", [1, 7, 44])
def test_pages_backward_are_all_that_is_before(limit: int) -> None:
    seen: list[str] = []
    query = {"limit": str(limit), "before_id": IDS[-1]}
    while True:
        found = anthropic_page(MODELS, query)
        seen = [model.id for model in found.data] + seen
        if not found.has_more:
            break
        assert found.first_id is not None
        query["before_id"] = found.first_id
    assert seen == IDS[:-1]


def test_nothing_is_before_the_first_or_after_the_last() -> None:
    nothing = AnthropicModelList(data=[], has_more=False, first_id=None, last_id=None)
    assert page(before_id="m0") == page(after_id="m44") == anthropic_page([], {}) == nothing


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"limit": ""}, "limit"),
        ({"limit": "٣"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"after_id": "other"}, "after_id"),
        ({"before_id": "other"}, "before_id"),
        ({"before_id": "m1", "after_id": "m2"}, "before_id"),
    ],
)
def test_what_is_no_page_is_refused(query: Mapping[str, str], param: str) -> None:
    with pytest.raises(MeshError) as refused:
        anthropic_page(MODELS, query)
    assert refused.value.param == param

from __future__ import annotations

from collections.abc import Mapping

import pytest

from services.common.catalog import load_catalog
from services.common.errors import MeshError
from services.common.settings import DEFAULT_CATALOG
from services.edge.models.filters import read_filter

MODELS = load_catalog(DEFAULT_CATALOG).models
SERVED = {"tiermesh-pro", "tiermesh-embed"}


def admitted(query: Mapping[str, str]) -> set[str]:
    wanted = read_filter(query)
    return {model.id for model in MODELS if wanted.admits(model, available=model.id in SERVED)}


def test_without_a_filter_every_model_is_listed() -> None:
    assert admitted({"unknown": "x"}) == {model.id for model in MODELS}


def test_models_are_chosen_by_what_can_be_used_now() -> None:
    assert admitted({"available": "true"}) == SERVED
    assert admitted({"available": "false"}) == {model.id for model in MODELS} - SERVED


def test_models_are_chosen_by_kind() -> None:
    assert admitted({"kind": "chat", "available": "true"}) == {"tiermesh-pro"}
    assert admitted({"kind": "image"}) == {"tiermesh-image"}


@pytest.mark.parametrize(("param", "value"), [("available", "yes"), ("available", ""), ("kind", "language")])
def test_a_value_that_there_is_not_is_refused(param: str, value: str) -> None:
    with pytest.raises(MeshError) as refused:
        read_filter({param: value})
    assert refused.value.param == param

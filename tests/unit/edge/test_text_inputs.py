"""One text or many, as texts or as tokens."""

from __future__ import annotations

import pytest

from services.common.errors import MeshError
from services.edge.text_inputs import TextInput, TextInputs, split_inputs


@pytest.mark.parametrize(
    ("given", "inputs"),
    [("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1, 2], [3]], [[1, 2], [3]])],
)
def test_inputs_one_by_one(given: TextInputs, inputs: list[TextInput]) -> None:
    assert split_inputs(given, "input") == inputs


@pytest.mark.parametrize("given", ["", ["a", ""], [[1], []]])
def test_nothing_may_be_empty(given: TextInputs) -> None:
    with pytest.raises(MeshError, match="must not hold anything empty") as refusal:
        split_inputs(given, "input")
    assert refusal.value.param == "input"


@pytest.mark.parametrize("given", [["a", 1], [1, [2]], ["a", [2]]])
def test_texts_and_tokens_are_not_mixed(given: TextInputs) -> None:
    with pytest.raises(MeshError, match="texts only, token ids only, or lists of token ids only"):
        split_inputs(given, "input")

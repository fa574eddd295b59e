"""What is embedded at a time."""

from __future__ import annotations

import pytest

from services.common.errors import Code, MeshError
from services.runner.engines.minilm.batches import check_tokens, split_batches


def lengths(inputs: list[int], most: int) -> list[list[int]]:
    return [[len(one) for one in batch] for batch in split_batches([[1] * length for length in inputs], most)]


def test_batches_keep_the_order_and_the_bound() -> None:
    assert lengths([3, 3, 4, 10, 1], 10) == [[3, 3, 4], [10], [1]]
    assert lengths([10, 10], 10) == [[10], [10]]
    assert lengths([1], 10) == [[1]]
    assert lengths([], 10) == []


def test_the_bounds_of_an_input() -> None:
    check_tokens(0, [9] * 5, vocabulary_size=10, context=5)
    with pytest.raises(MeshError) as long:
        check_tokens(3, [9] * 6, vocabulary_size=10, context=5)
    assert long.value.code is Code.CONTEXT_LENGTH_EXCEEDED
    assert long.value.param == "input"
    assert "5 tokens for each input. However, input 3 has 6 tokens" in long.value.message
    with pytest.raises(MeshError) as foreign:
        check_tokens(0, [10], vocabulary_size=10, context=5)
    assert foreign.value.code is Code.INVALID_REQUEST

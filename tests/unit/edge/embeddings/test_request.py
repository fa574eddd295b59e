"""What OpenAI's SDKs send becomes a call; mistakes name the field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.edge.embeddings.request import embeddings_call, embeddings_decoder
from services.edge.http.parsing import parse_body
from tiermesh.runner.v1.runner_pb2 import GenerateCall

MODEL = Model(id="model", kind="embedding", tier="embedding", price=1, context=512)


def call(**fields: Any) -> GenerateCall:
    body = json.dumps({"model": "m", "input": "hi", **fields}).encode()
    return embeddings_call(parse_body(body, embeddings_decoder), MODEL, "r")


def test_all_inputs_are_one_call() -> None:
    both = call(input=["a", "b"], dimensions=128, encoding_format="base64", user="u", unknown=1)
    assert [given.text for given in both.embedding.inputs] == ["a", "b"]
    assert (both.request_id, both.model, both.embedding.dimensions) == ("r", "model", 128)
    assert not call(dimensions=None, encoding_format=None).embedding.dimensions


def test_tokens_are_passed_on() -> None:
    assert [list(given.token_ids) for given in call(input=[[1, 2], [3]]).embedding.inputs] == [[1, 2], [3]]
    assert [list(given.token_ids) for given in call(input=[1, 2]).embedding.inputs] == [[1, 2]]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": None}, "input"),
        ({"input": {"text": "a"}}, "input"),
        ({"input": [-1]}, "input[0]"),
        ({"input": [1.5]}, "input[0]"),
        ({"input": ["a"] * 2049}, "input"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": "all"}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"user": 7}, "user"),
        ({"model": 1}, "model"),
    ],
)
def test_mistakes_name_the_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(MeshError) as refusal:
        call(**fields)
    assert refusal.value.code is Code.INVALID_REQUEST
    assert refusal.value.param == param

"""Prompts come in four forms, and every choice of every prompt is a call."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.edge.completions.request import completion_calls, completion_decoder, read_prompts
from services.edge.http.parsing import parse_body
from tiermesh.runner.v1.runner_pb2 import GenerateCall

MODEL = Model(id="m", kind="chat", tier="pro", price=10, context=2048)


def calls(**fields: Any) -> list[GenerateCall]:
    body = parse_body(msgspec.json.encode({"model": "m", "prompt": "a", **fields}), completion_decoder)
    return completion_calls(body, read_prompts(body, max_choices=4), MODEL, "req_1")


@pytest.mark.parametrize(
    ("prompt", "texts", "tokens"),
    [
        ("a", ["a"], [[]]),
        (["a", "b"], ["a", "b"], [[], []]),
        ([1, 2], [""], [[1, 2]]),
        ([[1, 2], [3]], ["", ""], [[1, 2], [3]]),
    ],
)
def test_a_prompt_is_a_text_or_tokens_or_a_list_of_them(prompt: Any, texts: list[str], tokens: list[list[int]]) -> None:
    made = calls(prompt=prompt)
    assert all(call.WhichOneof("task") == "completion" and not call.messages for call in made)
    assert [call.completion.prompt for call in made] == texts
    assert [list(call.completion.token_ids) for call in made] == tokens


def test_the_choices_of_a_prompt_share_its_call() -> None:
    made = calls(prompt=["a", "b"], n=2, best_of=2, seed=7)
    assert [(call.completion.prompt, call.sampling.seed) for call in made] == [("a", 7), ("a", 7), ("b", 7), ("b", 7)]
    assert made[0] is made[1]
    assert made[1] is not made[2]


def test_parameters_mean_what_they_mean_for_chats() -> None:
    (call,) = calls(
        logprobs=2,
        stop="x",
        temperature=0.5,
        frequency_penalty=1,
        logit_bias={"3": -5},
        max_tokens=4,
        top_k=5,
        min_p=0.25,
        repetition_penalty=1.5,
    )
    assert (call.max_tokens, list(call.stop), call.logprobs, call.top_logprobs) == (4, ["x"], True, 2)
    assert (call.sampling.temperature, call.sampling.frequency_penalty) == (0.5, 1)
    assert dict(call.sampling.logit_bias) == {3: -5}
    assert (call.sampling.top_k, call.sampling.min_p, call.sampling.repetition_penalty) == (5, 0.25, 1.5)


def test_the_defaults_are_those_of_this_endpoint() -> None:
    (call,) = calls()
    assert (call.max_tokens, call.logprobs, call.sampling.temperature, call.whole) == (16, False, 1, True)
    assert calls(logprobs=0)[0].logprobs
    assert not calls(stream=True)[0].whole


def test_an_echo_with_logprobs_scores_the_prompt() -> None:
    def scored(**fields: Any) -> tuple[bool, bool, int]:
        (call,) = calls(**fields)
        return call.completion.score_prompt, call.completion.only_score, call.max_tokens

    assert scored(echo=True, logprobs=0, max_tokens=0) == (True, True, 0)
    assert scored(echo=True, logprobs=1, max_tokens=2, prompt=[1] * 4096) == (True, False, 2)
    assert scored(echo=True, logprobs=1) == (True, False, 16)
    assert scored(echo=True) == scored(logprobs=1) == (False, False, 16)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": ["a", ""]}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": [[1], "a"]}, "prompt"),
        ({"prompt": [-1]}, "prompt[0]"),
        ({"prompt": ["a"] * 5}, "prompt"),
        ({"prompt": ["a", "b"], "n": 3}, "prompt"),
        ({"n": 5}, "n"),
        ({"n": 2, "best_of": 3}, "best_of"),
        ({"suffix": "b"}, "suffix"),
        ({"echo": True, "logprobs": 1, "stream": True}, "stream"),
        ({"echo": True, "logprobs": 1, "prompt": ["a", "b"], "n": 3}, "prompt"),
        ({"echo": True, "logprobs": 1, "prompt": [1] * 4097}, "prompt"),
        ({"echo": True, "max_tokens": 0}, "max_tokens"),
        ({"logprobs": 1, "max_tokens": 0}, "max_tokens"),
        ({"echo": True, "prompt": [1]}, "echo"),
        ({"logprobs": 6}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": [""]}, "stop"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(MeshError) as caught:
        calls(**fields)
    assert (caught.value.code, caught.value.param) == (Code.INVALID_REQUEST, param)

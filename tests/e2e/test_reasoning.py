"""Thinking model ids: the thought arrives apart from the answer and is counted.

The local model was never taught to reason. Its template opens a thought of one bounded paragraph for it, so that all of
this is real text of a real model, if no wisdom.
"""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion

from tests.e2e.test_chat import CAPITAL

THINKS, SAME_WITHOUT = "tiermesh-max-think", "tiermesh-max"
TAGS = ("<think>", "</think>")
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 12}},
            "required": ["city"],
        },
    },
}


def ask(client: openai.OpenAI, **parameters: Any) -> ChatCompletion:
    parameters = {"model": THINKS, "messages": CAPITAL, "temperature": 0, "max_tokens": 120, **parameters}
    completion: ChatCompletion = client.chat.completions.create(**parameters)
    return completion


def thought_of(completion: ChatCompletion) -> str:
    extra = completion.choices[0].message.model_extra or {}
    return str(extra.get("reasoning_content", ""))


def reasoning_tokens(completion: ChatCompletion) -> int:
    assert completion.usage is not None
    assert completion.usage.completion_tokens_details is not None
    return completion.usage.completion_tokens_details.reasoning_tokens or 0


def test_the_thought_comes_apart_from_the_answer_and_is_counted(client: openai.OpenAI) -> None:
    completion = ask(client)
    thought, content = thought_of(completion), completion.choices[0].message.content or ""
    assert thought
    assert content
    assert not any(tag in thought + content for tag in TAGS)
    assert completion.usage is not None
    assert 0 < reasoning_tokens(completion) < completion.usage.completion_tokens


def test_a_streamed_thought_is_the_same_and_comes_first(client: openai.OpenAI) -> None:
    whole = ask(client)
    kinds, thought, content = [], "", ""
    stream: Any = client.chat.completions.create(
        model=THINKS, messages=CAPITAL, temperature=0, max_tokens=120, stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    for chunk in stream:
        for choice in chunk.choices:
            more = (choice.delta.model_extra or {}).get("reasoning_content", "")
            kinds += ["thought"] * bool(more) + ["content"] * bool(choice.delta.content)
            thought += more
            content += choice.delta.content or ""
    assert (thought, content) == (thought_of(whole), whole.choices[0].message.content)
    assert kinds == sorted(kinds, reverse=True)
    assert len(kinds) > 2
    assert chunk.usage.completion_tokens_details.reasoning_tokens == reasoning_tokens(whole)


def test_a_stop_string_in_the_thought_changes_nothing(client: openai.OpenAI) -> None:
    free = ask(client)
    thought, content = thought_of(free), free.choices[0].message.content or ""
    word = next(word for word in thought.split() if word not in content)
    stopped = ask(client, stop=[word, "</think>"])
    assert (thought_of(stopped), stopped.choices[0].message.content) == (thought, content)
    assert stopped.choices[0].finish_reason == free.choices[0].finish_reason
    assert stopped.usage is not None
    assert free.usage is not None
    assert stopped.usage.completion_tokens == free.usage.completion_tokens
    assert reasoning_tokens(stopped) == reasoning_tokens(free)
    cut = ask(client, stop=content[3:7])
    assert (thought_of(cut), cut.choices[0].message.content) == (thought, content[: content.index(content[3:7])])
    assert cut.choices[0].finish_reason == "stop"


def test_a_model_without_thinking_in_its_id_does_not_think(client: openai.OpenAI) -> None:
    completion = ask(client, model=SAME_WITHOUT, max_tokens=24)
    assert not thought_of(completion)
    assert reasoning_tokens(completion) == 0


def test_effort_none_turns_thinking_off(client: openai.OpenAI) -> None:
    completion = ask(client, reasoning_effort="none", max_tokens=24)
    assert not thought_of(completion)
    assert reasoning_tokens(completion) == 0
    assert "Paris" in (completion.choices[0].message.content or "")


@pytest.mark.parametrize("effort", ["minimal", "low", "medium", "high", "xhigh"])
def test_every_other_effort_is_accepted(client: openai.OpenAI, effort: str) -> None:
    assert thought_of(ask(client, reasoning_effort=effort, max_tokens=4))


def test_an_unknown_effort_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refusal:
        ask(client, reasoning_effort="enormous")
    assert refusal.value.param == "reasoning_effort"


def test_a_thought_that_is_cut_off_ends_with_length(client: openai.OpenAI) -> None:
    completion = ask(client, max_tokens=4)
    assert completion.choices[0].finish_reason == "length"
    assert completion.choices[0].message.content == ""
    assert thought_of(completion)
    assert completion.usage is not None
    assert reasoning_tokens(completion) == completion.usage.completion_tokens == 4


def test_a_thought_precedes_structured_output(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"capital": {"type": "string", "maxLength": 12}},
        "required": ["capital"],
        "additionalProperties": False,
    }
    completion = ask(client, response_format={"type": "json_schema", "schema": schema})
    assert thought_of(completion)
    assert set(json.loads(completion.choices[0].message.content or "")) == {"capital"}


def test_a_thought_precedes_a_forced_call(client: openai.OpenAI) -> None:
    completion = ask(client, tools=[TOOL], tool_choice="required", parallel_tool_calls=False)
    assert completion.choices[0].finish_reason == "tool_calls"
    [call] = completion.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert "city" in json.loads(call.function.arguments)
    assert thought_of(completion)
    assert not completion.choices[0].message.content

"""Answers in the forms of all servers are understood alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.runner.engines.upstream.events import UpstreamError, read_steps
from services.runner.kinds.base import FinishReason, TokenCounts
from services.runner.kinds.conversation.job import CallPart, ConversationStep
from tests.unit.runner.engines.upstream.recordings import DONE, HELLO, ROLE, STREAMS, USAGE, chunk, event


async def steps(*pieces: bytes) -> list[ConversationStep]:
    async def iterate() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return [step async for step in read_steps(iterate())]


@pytest.mark.parametrize("server", STREAMS)
@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_each_server_is_understood_however_its_bytes_come(server: str, size: int) -> None:
    data = b"".join(STREAMS[server])
    found = await steps(*(data[at : at + size] for at in range(0, len(data), size)))
    assert "".join(step.text for step in found) == "Hello"
    assert (found[-1].finish_reason, found[-1].usage) == (FinishReason.STOP, TokenCounts(9, 4))
    assert all(step.finish_reason is None for step in found[:-1])


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_thoughts_are_found_in_any_of_the_fields(field: str) -> None:
    found = await steps(chunk({field: "Hm."}), chunk({"content": "Yes."}), chunk({}, "length"), chunk(usage=USAGE))
    assert [(step.reasoning, step.text) for step in found[:2]] == [("Hm.", ""), ("", "Yes.")]
    assert found[-1].finish_reason is FinishReason.LENGTH


def call(index: int | None, call_id: str | None = None, name: str | None = None, arguments: str = "") -> dict[str, Any]:
    numbered = {} if index is None else {"index": index}
    return numbered | {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


CALLS = {
    # The id and the name only in the first part: vLLM, SGLang, LM Studio, llama.cpp.
    "numbered": [[call(0, "a", "look", '{"at"')], [call(0, None, None, ":1}")], [call(1, "b", "go", "{}")]],
    "numbered from one": [[call(1, "a", "look", '{"at"')], [call(1, None, None, ":1}")], [call(2, "b", "go", "{}")]],
    # An empty name in each further part: LM Studio before 0.3.16.
    "empty names": [[call(0, "a", "look", '{"at"')], [call(0, None, "", ":1}")], [call(1, "b", "go", "{}")]],
    "repeated names": [[call(0, "a", "look", '{"at"')], [call(0, "a", "look", ":1}")], [call(1, "b", "go", "{}")]],
    "a new id in each part": [[call(0, "a", "look", '{"at"')], [call(0, "b", None, ":1}")], [call(1, "c", "go", "{}")]],
    "all alike": [[call(0, "a", "look", '{"at"')], [call(0, None, None, ":1}")], [call(0, "b", "go", "{}")]],
    "no numbers": [[call(None, "a", "look", '{"at"')], [call(None, None, None, ":1}")], [call(None, "b", "go", "{}")]],
    "no numbers, no ids": [
        [call(None, None, "look", '{"at"')],
        [call(None, None, None, ":1}")],
        [call(None, None, "go", "{}")],
    ],
}


@pytest.mark.parametrize("server", CALLS)
async def test_calls_are_told_apart_however_they_are_numbered(server: str) -> None:
    parts = [chunk({"tool_calls": calls}) for calls in CALLS[server]]
    found = await steps(ROLE, *parts, chunk({}, "tool_calls"), chunk(usage=USAGE), DONE)
    calls = [part for step in found for part in step.calls]
    assert [(part.index, part.arguments) for part in calls] == [(0, '{"at"'), (0, ":1}"), (1, "{}")]
    assert (calls[0].name, calls[2].name) == ("look", "go")
    assert found[-1].finish_reason is FinishReason.STOP


async def test_whole_calls_in_one_part() -> None:
    """As Ollama and TabbyAPI write them; the latter ends the answer with its usage."""
    calls = [call(0, "a", "look", "{}"), call(1, "b", "go", "{}")]
    found = await steps(chunk({"tool_calls": calls}), chunk({}, "tool_calls", usage=USAGE), DONE)
    assert found[0].calls == [CallPart(0, "look", "{}"), CallPart(1, "go", "{}")]


@pytest.mark.parametrize(
    ("details", "cached", "reasoning"),
    [
        (
            {"prompt_tokens_details": {"cached_tokens": 5}, "completion_tokens_details": {"reasoning_tokens": 2}},
            5,
            2,
        ),
        ({"prompt_tokens_details": None, "completion_tokens_details": None, "reasoning_tokens": 2}, 0, 2),
        ({"prompt_tokens_details": {"cached_tokens": None}, "reasoning_tokens": None}, 0, 0),
    ],
)
async def test_the_details_of_usage(details: dict[str, Any], cached: int, reasoning: int) -> None:
    found = await steps(HELLO, chunk({}, "stop"), chunk(usage=USAGE | details))
    assert found[-1].usage == TokenCounts(9, 4, cached)
    assert found[-1].reasoning_tokens == reasoning


THOUGHTS = {
    "<think>Hm.</think>\n\nYes.": ("Hm.", "Yes."),
    "\n<think>\nHm.</think>Yes.": ("Hm.", "Yes."),
    "<think>\n\n</think>\n\nYes.": ("", "Yes."),
    "<think>Hm. </thin": ("Hm. </thin", ""),
    "<think>Hm": ("Hm", ""),
    "<thin": ("", "<thin"),
    "<b>Yes.</b>": ("", "<b>Yes.</b>"),
    "Yes: <think>Hm.</think>": ("", "Yes: <think>Hm.</think>"),
    "<think>Hm.</think>Yes: <think>.</think>": ("Hm.", "Yes: <think>.</think>"),
    " \n": ("", " \n"),
}


@pytest.mark.parametrize("text", THOUGHTS)
@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_thoughts_between_tags_are_told_from_the_answer(text: str, size: int) -> None:
    """As servers write them that have no parser for their model's thoughts, or have it turned off."""
    parts = [chunk({"content": text[at : at + size]}) for at in range(0, len(text), size)]
    found = await steps(ROLE, *parts, chunk({}, "stop", usage=USAGE), DONE)
    assert ("".join(step.reasoning for step in found), "".join(step.text for step in found)) == THOUGHTS[text]


async def test_tags_are_text_where_the_server_tells_thoughts_itself() -> None:
    found = await steps(
        chunk({"reasoning": "Hm."}), chunk({"content": "<think>Yes.</think>"}), chunk({}, "stop", usage=USAGE)
    )
    assert "".join(step.text for step in found) == "<think>Yes.</think>"


async def test_text_that_may_begin_a_tag_comes_before_a_call() -> None:
    found = await steps(
        chunk({"content": "<"}), chunk({"tool_calls": [call(0, "a", "look", "{}")]}), chunk({}, "stop", usage=USAGE)
    )
    assert [step.text for step in found[:2]] == ["", "<"]
    assert found[1].calls


FAILED = {"message": "secret", "type": "InternalServerError", "code": 500}


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        ([HELLO], "broke off"),
        ([HELLO, DONE], "ended"),
        ([], "broke off"),
        ([HELLO, chunk({}, "stop"), DONE], "without usage"),
        # Ollama writes a part without anything for an error in the middle of an answer, and ends.
        ([HELLO, chunk({"content": ""})], "broke off"),
        # vLLM, SGLang and TabbyAPI.
        ([HELLO, event({"error": FAILED}), DONE], "error"),
        ([HELLO, event({"error": "secret"})], "error"),
        ([HELLO, event({"object": "error", **FAILED}), DONE], "error"),
        ([HELLO, event({"detail": "secret"})], "error"),
        # LM Studio, and others whose data do not look like an error.
        ([b"event: error\n", event({"error": FAILED})], "error"),
        ([HELLO, b"event: error\n", event({"message": "secret"})], "error"),
        ([HELLO, b'error: {"message": "secret"}\n\n'], "error"),
        # vLLM and SGLang, if a request is aborted at the server.
        ([HELLO, chunk({}, "abort"), chunk(usage=USAGE), DONE], "given up"),
        ([HELLO, chunk({}, "content_filter"), chunk(usage=USAGE), DONE], "given up"),
        ([b"data: {\n\n"], "unreadable"),
        ([b'data: {"choices": 1}\n\n'], "unreadable"),
        # An answer that does not come as a stream.
        ([b'{"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}'], "broke off"),
        ([b"data: " + b"x" * (17 << 20)], "too long"),
    ],
)
async def test_what_is_no_whole_answer_is_a_failure(pieces: list[bytes], reason: str) -> None:
    with pytest.raises(UpstreamError, match=f"^{reason}$"):
        await steps(*pieces)

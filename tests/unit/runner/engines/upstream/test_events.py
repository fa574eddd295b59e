"""Streams as servers write them, by their documentation and source."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.runner.engines.upstream.events import UpstreamError, read_steps
from services.runner.kinds.base import FinishReason, TokenCounts
from services.runner.kinds.conversation.job import CallPart, ConversationStep

USAGE = {"prompt_tokens": 9, "completion_tokens": 4}
DONE = b"data: [DONE]\n\n"


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **others: Any) -> bytes:
    choices = [] if delta is None and finish is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return f"data: {json.dumps({'object': 'chat.completion.chunk', 'choices': choices, **others})}\n\n".encode()


async def steps(*pieces: bytes) -> list[ConversationStep]:
    async def iterate() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return [step async for step in read_steps(iterate())]


HELLO = chunk({"role": "assistant", "content": "Hello"})
STREAMS = {
    "llama.cpp": [
        chunk({"role": "assistant", "content": None}),
        chunk({"content": "Hello"}, prompt_progress={"total": 9, "processed": 9}),
        chunk({}, "stop"),
        chunk(usage=USAGE, timings={"predicted_n": 4}),
        DONE,
    ],
    "vllm": [HELLO, chunk({"content": ""}, "stop", stop_reason=None), chunk(usage=USAGE), DONE],
    "sglang": [
        HELLO,
        chunk({"content": None}, "stop", matched_stop=2),
        chunk(usage={**USAGE, "reasoning_tokens": 0}),
        DONE,
    ],
    "ollama": [HELLO, chunk({"content": ""}, "stop", usage=None), chunk(usage=USAGE), DONE],
    "tabbyapi": [HELLO, chunk({}, "stop"), chunk(usage=USAGE), DONE],
    "lm studio": [HELLO, chunk({}, "stop", system_fingerprint="x"), chunk(usage=USAGE), DONE],
    "usage with the end": [HELLO, chunk({}, "stop", usage=USAGE)],
    "comments": [b": keep-alive\n\n", b"event: message\n", HELLO, b"\n\n", chunk({}, "stop", usage=USAGE), DONE],
    "carriage returns": [HELLO.replace(b"\n", b"\r\n"), chunk({}, "stop", usage=USAGE), b"data:[DONE]"],
}


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


async def test_calls_and_details_of_usage() -> None:
    first = {"index": 1, "id": "x", "type": "function", "function": {"name": "look", "arguments": '{"a"'}}
    details = {"prompt_tokens_details": {"cached_tokens": 5}, "completion_tokens_details": {"reasoning_tokens": 2}}
    found = await steps(
        chunk({"tool_calls": [first]}),
        chunk({"tool_calls": [{"index": 1, "function": {"arguments": ":1}"}}]}),
        chunk({}, "tool_calls"),
        chunk(usage=USAGE | details),
    )
    assert [step.calls for step in found[:2]] == [[CallPart(1, "look", '{"a"')], [CallPart(1, "", ":1}")]]
    assert (found[-1].finish_reason, found[-1].usage) == (FinishReason.STOP, TokenCounts(9, 4, 5))
    assert found[-1].reasoning_tokens == 2


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        ([HELLO], "broke off"),
        ([HELLO, DONE], "ended"),
        ([], "broke off"),
        ([HELLO, chunk({}, "stop"), DONE], "without usage"),
        ([HELLO, b'data: {"error": {"message": "secret", "code": 500}}\n\n'], "error"),
        ([HELLO, b'error: {"message": "secret"}\n\n'], "error"),
        ([b"data: {\n\n"], "unreadable"),
        ([b'data: {"choices": 1}\n\n'], "unreadable"),
        ([b"data: " + b"x" * (17 << 20)], "too long"),
    ],
)
async def test_what_is_no_whole_answer_is_a_failure(pieces: list[bytes], reason: str) -> None:
    with pytest.raises(UpstreamError, match=f"^{reason}$"):
        await steps(*pieces)

"""Reads the events of a streamed answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec

from services.runner.kinds.base import FinishReason, TokenCounts
from services.runner.kinds.conversation.job import CallPart, ConversationStep

_LONGEST_LINE = 16 << 20
_DATA, _ERROR, _DONE = b"data:", b"error:", b"[DONE]"


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int = 0
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    # Thoughts: most servers have the first of these, and newer vLLM and others the second.
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


class UpstreamError(ValueError):
    """The server failed in the middle of an answer, or what it sent is no answer; the message names the reason."""


_decoder = msgspec.json.Decoder(_Chunk)


async def read_steps(pieces: AsyncIterator[bytes]) -> AsyncIterator[ConversationStep]:
    """Yields the steps of an answer, the last one with its usage; raises UpstreamError."""
    finish: str | None = None
    usage: _Usage | None = None
    done = False
    async for line in _lines(pieces):
        data = _payload(line)
        if data is None:
            continue
        if data == _DONE:
            done = True
            break
        chunk = _decoded(data)
        usage = chunk.usage or usage
        for choice in chunk.choices[:1]:
            finish = choice.finish_reason or finish
            yield _step(choice.delta or _Delta())
    # Some servers end without the last event, but none of them after a whole answer without its usage.
    if finish is None:
        raise UpstreamError("ended" if done else "broke off")
    if usage is None:
        raise UpstreamError("without usage")
    yield _last(finish, usage)


def _payload(line: bytes) -> bytes | None:
    """Returns what an event brings; None for comments and for what else stands between them."""
    if line.startswith(_ERROR):
        raise UpstreamError("error")
    return line[len(_DATA) :].strip() if line.startswith(_DATA) else None


def _decoded(data: bytes) -> _Chunk:
    try:
        chunk = _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UpstreamError("unreadable") from error
    if chunk.error is not None:
        raise UpstreamError("error")
    return chunk


def _step(delta: _Delta) -> ConversationStep:
    return ConversationStep(
        text=delta.content or "",
        reasoning=delta.reasoning_content or delta.reasoning or "",
        calls=list(_calls(delta.tool_calls or ())),
    )


def _calls(calls: Iterable[_Call]) -> Iterable[CallPart]:
    for call in calls:
        function = call.function or _Function()
        yield CallPart(call.index, function.name or "", function.arguments or "")


def _last(finish: str, usage: _Usage) -> ConversationStep:
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return ConversationStep(
        finish_reason=FinishReason.LENGTH if finish == "length" else FinishReason.STOP,
        usage=TokenCounts(usage.prompt_tokens, usage.completion_tokens, (prompt and prompt.cached_tokens) or 0),
        reasoning_tokens=(completion and completion.reasoning_tokens) or 0,
    )


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line.rstrip(b"\r")
        if len(rest) > _LONGEST_LINE:
            raise UpstreamError("too long")
    if rest:
        yield rest

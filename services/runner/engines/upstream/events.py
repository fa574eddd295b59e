"""Reads the events of a streamed answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from services.runner.engines.upstream.calls import CallNumbers
from services.runner.kinds.base import FinishReason, TokenCounts
from services.runner.kinds.conversation.job import CallPart, ConversationStep
from services.runner.kinds.text.prompt.output import ParsedText
from services.runner.kinds.text.prompt.parser import OutputParser

_LONGEST_LINE = 16 << 20
_DATA, _EVENT, _ERROR, _DONE = b"data:", b"event:", b"error:", b"[DONE]"
# How a whole answer ends. Anything else, such as `abort`, means that the server has given up.
_FINISH = {
    "stop": FinishReason.STOP,
    "tool_calls": FinishReason.STOP,
    "function_call": FinishReason.STOP,
    "length": FinishReason.LENGTH,
}


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    # Thoughts: SGLang, TabbyAPI, LM Studio and llama.cpp have the first of these, vLLM and Ollama the second.
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
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    # Where SGLang has it.
    reasoning_tokens: int | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    # What tells an error from a part of an answer: which one it is depends on the server.
    error: Any = None
    detail: Any = None
    object: str | None = None


class UpstreamError(ValueError):
    """The server failed in the middle of an answer, or what it sent is no answer; the message names the reason.

    `said` is what it said of its failure, in its own words.
    """

    def __init__(self, reason: str, said: bytes = b"") -> None:
        super().__init__(reason)
        self.said = said


_decoder = msgspec.json.Decoder(_Chunk)


async def read_steps(pieces: AsyncIterator[bytes]) -> AsyncIterator[ConversationStep]:
    """Yields the steps of an answer, the last one with its usage; raises UpstreamError."""
    finish: str | None = None
    usage: _Usage | None = None
    done = False
    steps = _Steps()
    async for data in _events(pieces):
        if data == _DONE:
            done = True
            break
        chunk = _decoded(data)
        usage = chunk.usage or usage
        for choice in chunk.choices[:1]:
            finish = choice.finish_reason or finish
            yield steps.next(choice.delta or _Delta())
    # Some servers end without the last event, but none of them after a whole answer without its usage.
    if finish is None:
        raise UpstreamError("ended" if done else "broke off")
    if finish not in _FINISH:
        raise UpstreamError("given up")
    if usage is None:
        raise UpstreamError("without usage")
    yield steps.end()
    yield _last(_FINISH[finish], usage)


async def _events(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yields the data of the events; raises UpstreamError for one that its name or its line calls an error."""
    failed = False
    async for line in _lines(pieces):
        if line.startswith(_EVENT):
            failed = line[len(_EVENT) :].strip() == b"error"
        elif line.startswith(_ERROR):
            raise UpstreamError("error", line)
        elif line.startswith(_DATA):
            data = line[len(_DATA) :].strip()
            if failed:
                raise UpstreamError("error", data)
            yield data


def _decoded(data: bytes) -> _Chunk:
    try:
        chunk = _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UpstreamError("unreadable") from error
    if chunk.error is not None or chunk.detail is not None or chunk.object == "error":
        raise UpstreamError("error", data)
    return chunk


class _Steps:
    """Makes the steps of one answer."""

    def __init__(self) -> None:
        self._calls = CallNumbers()
        # A server without a parser for its model's thoughts passes them on between tags, at the beginning of the text.
        self._parser: OutputParser | None = OutputParser(calls=False, reasoning=True, new_id=str)

    def next(self, delta: _Delta) -> ConversationStep:
        reasoning, parsed = delta.reasoning_content or delta.reasoning or "", ParsedText()
        if reasoning or delta.tool_calls:
            # Where the server tells thoughts itself, or the text is over, a tag is a part of the text.
            self._finish(parsed)
        if delta.content and self._parser is not None:
            self._parser.feed(delta.content, parsed)
            if self._parser.answering and parsed.content:
                # No thought can come any more, and this runs for every token.
                self._finish(parsed)
        elif delta.content:
            parsed.content.append(delta.content)
        calls = [self._part(call) for call in delta.tool_calls or ()]
        return ConversationStep("".join(parsed.content), reasoning + "".join(parsed.reasoning), calls)

    def end(self) -> ConversationStep:
        """Returns what has been held back."""
        parsed = ParsedText()
        self._finish(parsed)
        return ConversationStep("".join(parsed.content), "".join(parsed.reasoning))

    def _finish(self, parsed: ParsedText) -> None:
        """Adds what has been held back; from now on, a tag is a part of the text."""
        if self._parser is not None:
            self._parser.finish(parsed, cut=False)
            self._parser = None

    def _part(self, call: _Call) -> CallPart:
        function = call.function or _Function()
        name = function.name or ""
        return CallPart(self._calls.number(call.index, call.id or "", name), name, function.arguments or "")


def _last(finish: FinishReason, usage: _Usage) -> ConversationStep:
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    cached = (prompt and prompt.cached_tokens) or 0
    return ConversationStep(
        finish_reason=finish,
        usage=TokenCounts(usage.prompt_tokens or 0, usage.completion_tokens or 0, cached),
        reasoning_tokens=(completion and completion.reasoning_tokens) or usage.reasoning_tokens or 0,
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

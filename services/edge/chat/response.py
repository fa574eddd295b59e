"""Renders chat completions: whole bodies and the chunks of streams, as JSON bytes.

Chunks are put together from pieces that are encoded once for a stream, because they are the hottest code of the edge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from functools import cache
from typing import Any

import msgspec
from msgspec import UNSET

from services.common.errors import MeshError
from services.common.text_steps import AnyReply
from services.common.version import VERSION
from services.edge.chat.completion import (
    AssistantMessage,
    CalledCustomTool,
    CalledFunction,
    ChatChoice,
    ChatCompletion,
    ChatLogprobs,
    ChatTokenLogprob,
    ChatTopLogprob,
    CompletedCustomCall,
    CompletedToolCall,
    FinishReason,
)
from services.edge.chat.custom_tools import InputReader, input_of
from services.edge.http.errors import error_body
from services.edge.paid.delivery import Finished, TokenUsage, receipt_body, usage_body
from services.edge.paid.hold import Receipt
from tiermesh.runner.v1 import runner_pb2

encode = msgspec.json.encode
FINISH_REASONS: dict[int, FinishReason] = {
    runner_pb2.FINISH_REASON_STOP: "stop",
    runner_pb2.FINISH_REASON_LENGTH: "length",
    runner_pb2.FINISH_REASON_TOOL_CALLS: "tool_calls",
}
# There is one tier of service, whatever was asked.
SERVICE_TIER = "default"
DONE = b"data: [DONE]\n\n"
# What OpenAI writes for a token that cannot be: JSON has no infinity.
_LEAST_LOGPROB = -9999.0


@cache
def system_fingerprint(model_id: str) -> str:
    """Returns a short name for this release of the service and a model of the catalog, of which there are few."""
    return "fp_" + hashlib.sha256(f"{VERSION}\n{model_id}".encode()).hexdigest()[:10]


def logprobs_body(tokens: Iterable[runner_pb2.TokenLogprob]) -> ChatLogprobs:
    """Returns OpenAI's logprobs object."""
    content = [
        ChatTokenLogprob(
            token.token,
            max(token.logprob, _LEAST_LOGPROB),
            list(token.token_bytes),
            [ChatTopLogprob(top.token, max(top.logprob, _LEAST_LOGPROB), list(top.token_bytes)) for top in token.top],
        )
        for token in tokens
    ]
    return ChatLogprobs(content, None)


class ToolCallDeltas:
    """The fragments of the calls of one choice; only a call's first fragment carries id, type and name."""

    def __init__(self, custom_tools: Collection[str]) -> None:
        """`custom_tools` are the names of those on offer, whose arguments are shown as the text that they hold."""
        self._custom_tools = custom_tools
        # The calls of custom tools so far, by their index.
        self._readers: dict[int, InputReader] = {}

    def next(self, deltas: Iterable[runner_pb2.ToolCallDelta]) -> list[dict[str, Any]]:
        """Returns the next fragments; those that decide nothing of a text are left out."""
        return [fragment for fragment in map(self._next, deltas) if fragment]

    def _next(self, delta: runner_pb2.ToolCallDelta) -> dict[str, Any]:
        if delta.index in self._readers or (delta.id and delta.name in self._custom_tools):
            return self._custom(delta)
        if not delta.id:
            return {"index": delta.index, "function": {"arguments": delta.arguments}}
        function = {"name": delta.name, "arguments": delta.arguments}
        return {"index": delta.index, "id": delta.id, "type": "function", "function": function}

    def last(self) -> list[dict[str, Any]]:
        """Returns what is left: the answer ends here."""
        rests = [(index, reader.finish()) for index, reader in self._readers.items()]
        return [{"index": index, "custom": {"input": rest}} for index, rest in rests if rest]

    def _custom(self, delta: runner_pb2.ToolCallDelta) -> dict[str, Any]:
        text = self._readers.setdefault(delta.index, InputReader()).take(delta.arguments)
        if not delta.id:
            return {"index": delta.index, "custom": {"input": text}} if text else {}
        return {"index": delta.index, "id": delta.id, "type": "custom", "custom": {"name": delta.name, "input": text}}


class ChunkRenderer:
    """Renders the server-sent events of one stream, which ends with a chunk of `usage` if asked for."""

    def __init__(
        self,
        completion_id: str,
        model: str,
        created: int,
        *,
        choices: int = 1,
        usage: bool,
        logprobs: bool,
        custom_tools: Collection[str] = (),
    ) -> None:
        head = encode(
            {"id": completion_id, "object": "chat.completion.chunk", "created": created, "model": model,
             "service_tier": SERVICE_TIER, "system_fingerprint": system_fingerprint(model)}
        )  # fmt: skip
        self._head = b"data: " + head[:-1] + b',"choices":['
        # With usage asked for, every other chunk says that it has none.
        self._tail = (b'],"usage":null}' if usage else b"]}") + b"\n\n"
        self._choices = choices
        self._usage = usage
        self._logprobs = logprobs
        self._calls = [ToolCallDeltas(custom_tools) for _ in range(choices)]
        self._text_head: dict[int, bytes] = {}
        self._text_tail = b'},"logprobs":null,"finish_reason":null}' + self._tail

    def open(self) -> bytes:
        """Returns a chunk for each choice that opens it."""
        opening = {"role": "assistant", "content": "", "refusal": None}
        return b"".join(self._chunk(choice, opening) for choice in range(self._choices))

    def step(self, choice: int, reply: AnyReply) -> bytes:
        """Returns the chunks for one step, empty if the step shows nothing."""
        if not reply.reasoning and not reply.tool_calls and not self._logprobs:
            text = reply.text
            if not text:
                return b""
            head = self._text_head.get(choice)
            if head is None:
                head = self._head + b'{"index":%d,"delta":{"content":' % choice
                self._text_head[choice] = head
            return head + encode(text) + self._text_tail
        return self._rich_step(choice, reply)

    def end(self, finished: Finished, receipt: Receipt) -> bytes:
        """Returns the chunks that end each choice, the usage if asked for, and the mark of the end."""
        ends = []
        for choice, last in sorted(finished.items()):
            if calls := self._calls[choice].last():
                ends.append(self._chunk(choice, {"tool_calls": calls}))
            ends.append(self._chunk(choice, {}, finish_reason=FINISH_REASONS[last.finish_reason]))
        if self._usage:
            ends.append(self._usage_chunk(usage_body([last.usage for last in finished.values()]), receipt))
        return b"".join(ends) + DONE

    def error(self, error: MeshError) -> bytes:
        """Returns the chunk that holds an error instead of choices."""
        return b"data: " + error_body(error) + b"\n\n"

    def _usage_chunk(self, usage: TokenUsage, receipt: Receipt) -> bytes:
        """Returns the chunk without choices."""
        return self._head + b'],"usage":' + encode(usage) + b',"tiermesh":' + encode(receipt_body(receipt)) + b"}\n\n"

    def _rich_step(self, choice: int, reply: AnyReply) -> bytes:
        # One chunk for each kind, as with OpenAI: there are clients that overlook calls beside content.
        chunks = b""
        if reply.reasoning:
            chunks += self._chunk(choice, {"reasoning_content": reply.reasoning})
        if reply.text or reply.logprobs:
            logprobs = logprobs_body(reply.logprobs) if reply.logprobs else None
            chunks += self._chunk(choice, {"content": reply.text} if reply.text else {}, logprobs=logprobs)
        if reply.tool_calls and (calls := self._calls[choice].next(reply.tool_calls)):
            chunks += self._chunk(choice, {"tool_calls": calls})
        return chunks

    def _chunk(
        self,
        choice: int,
        delta: dict[str, Any],
        *,
        logprobs: ChatLogprobs | None = None,
        finish_reason: FinishReason | None = None,
    ) -> bytes:
        body = {"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return self._head + encode(body) + self._tail


def completion_body(
    completion_id: str,
    model: str,
    created: int,
    replies: list[runner_pb2.GenerateReply],
    *,
    logprobs: bool,
    custom_tools: Collection[str] = (),
) -> bytes:
    """Returns the whole body; `replies` holds the last reply of each choice, in order."""
    return encode(
        ChatCompletion(
            completion_id,
            "chat.completion",
            created,
            model,
            [_choice(index, reply, custom_tools, logprobs=logprobs) for index, reply in enumerate(replies)],
            usage_body([reply.usage for reply in replies]),
            SERVICE_TIER,
            system_fingerprint(model),
        )
    )


def _choice(
    index: int, reply: runner_pb2.GenerateReply, custom_tools: Collection[str], *, logprobs: bool
) -> ChatChoice:
    calls = [
        CompletedCustomCall(call.id, CalledCustomTool(call.name, input_of(call.arguments)))
        if call.name in custom_tools
        else CompletedToolCall(call.id, CalledFunction(call.name, call.arguments))
        for call in reply.tool_calls
    ]
    message = AssistantMessage(
        "assistant",
        # An answer that only calls has no content.
        (reply.text or None) if calls else reply.text,
        None,
        [],
        reply.reasoning or UNSET,
        calls or UNSET,
    )
    return ChatChoice(
        index,
        message,
        logprobs_body(reply.logprobs) if logprobs else None,
        FINISH_REASONS[reply.finish_reason],
    )

"""The content blocks of a streamed message, each with the events that tell of it, in Anthropic's order.

https://platform.claude.com/docs/en/build-with-claude/streaming describes them. Deltas are put together from pieces that
are encoded once for a block, because there is one for each token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from services.common.text_steps import AnyReply
from services.edge.messages.message_object import Content, TextContent, ThinkingContent, ToolUseContent
from services.edge.messages.thoughts import ThoughtSigner
from tiermesh.runner.v1 import runner_pb2

encode = msgspec.json.encode


def event(kind: str, **fields: Any) -> bytes:
    """Returns one server-sent event."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), encode({"type": kind, **fields}))


class _Block:
    """The block at hand: its deltas are of one type, and hold their text in one member."""

    def __init__(self, index: int, content: Content, delta: str, member: str) -> None:
        self._index = index
        self.opening = event("content_block_start", index=index, content_block=content)
        head = encode({"type": "content_block_delta", "index": index, "delta": {"type": delta, member: ""}})
        self._head = b"event: content_block_delta\ndata: " + head.removesuffix(b'""}}')

    def delta(self, text: str) -> bytes:
        """Returns the event for the next characters."""
        return self._head + encode(text) + b"}}\n\n"

    def closing(self) -> bytes:
        """Returns the events that end it."""
        return event("content_block_stop", index=self._index)


class _TextBlock(_Block):
    def __init__(self, index: int) -> None:
        super().__init__(index, TextContent(""), "text_delta", "text")


class _ToolUseBlock(_Block):
    def __init__(self, index: int, call: runner_pb2.ToolCallDelta) -> None:
        super().__init__(index, ToolUseContent(call.id, call.name, {}), "input_json_delta", "partial_json")


class _ThinkingBlock(_Block):
    """A thought, which is signed at its end; one that is not shown has its signature alone."""

    def __init__(self, index: int, thoughts: ThoughtSigner, *, shown: bool) -> None:
        super().__init__(index, ThinkingContent("", ""), "thinking_delta", "thinking")
        self._thoughts = thoughts
        self._shown = shown
        self._text: list[str] = []

    def delta(self, text: str) -> bytes:
        if not self._shown:
            return b""
        self._text.append(text)
        return super().delta(text)

    def closing(self) -> bytes:
        delta = {"type": "signature_delta", "signature": self._thoughts.sign("".join(self._text))}
        return event("content_block_delta", index=self._index, delta=delta) + super().closing()


class BlockStream:
    """Sorts the steps of one answer into blocks, one after the other."""

    def __init__(self, thoughts: ThoughtSigner, *, shown: bool) -> None:
        """`thoughts` signs them; `shown` says whether their text is sent."""
        self._thoughts = thoughts
        self._shown = shown
        # The block at hand; the ones before it are complete.
        self._open: _Block | None = None
        self._count = 0

    def take(self, step: AnyReply) -> bytes:
        """Returns the events for a step, empty if it shows nothing."""
        if step.text and not step.reasoning and not step.tool_calls and isinstance(self._open, _TextBlock):
            # Most steps are such.
            return self._open.delta(step.text)
        calls = list(step.tool_calls)
        events = b""
        # The rest of a call comes before what follows it.
        while calls and not calls[0].id:
            events += self._arguments(calls.pop(0))
        if step.reasoning:
            events += self._within(_ThinkingBlock, self._new_thought) + self._delta(step.reasoning)
        if step.text:
            events += self._within(_TextBlock, _TextBlock) + self._delta(step.text)
        for call in calls:
            if call.id:
                events += self._begin(_ToolUseBlock(self._count, call))
            events += self._arguments(call)
        return events

    def finish(self) -> bytes:
        """Returns the events that end the last block."""
        events = b"" if self._open is None else self._open.closing()
        self._open = None
        return events

    def _new_thought(self, index: int) -> _Block:
        return _ThinkingBlock(index, self._thoughts, shown=self._shown)

    def _within(self, kind: type[_Block], new: Callable[[int], _Block]) -> bytes:
        """Returns the events that begin a block of a kind, empty if it is the one at hand."""
        return b"" if isinstance(self._open, kind) else self._begin(new(self._count))

    def _begin(self, block: _Block) -> bytes:
        events = self.finish() + block.opening
        self._open = block
        self._count += 1
        return events

    def _arguments(self, call: runner_pb2.ToolCallDelta) -> bytes:
        return self._delta(call.arguments) if call.arguments and isinstance(self._open, _ToolUseBlock) else b""

    def _delta(self, text: str) -> bytes:
        return b"" if self._open is None else self._open.delta(text)

"""Sorts the steps of an answer into the items of a response: thoughts, messages and calls, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.common.text_steps import AnyReply
from services.edge.chat.response import logprobs_body
from services.edge.responses.items import (
    CallItem,
    CustomCallItem,
    Event,
    MessageItem,
    OutputItem,
    ReasoningItem,
    Status,
)
from services.edge.responses.offered_tools import Called
from tiermesh.runner.v1 import runner_pb2


class ResponseOutput:
    """The output of one answer. A whole answer is one step, so that it has the same items as a stream."""

    def __init__(self, identity: str, called: Mapping[str, Called], *, summarised: bool) -> None:
        """`identity` makes the ids of items unique; `summarised` shows thoughts as a summary.

        `called` are the tools on offer by the names that the model knows.
        """
        self._identity = identity
        self._called = called
        self._summarised = summarised
        # The item at hand; the ones before it are finished.
        self._open: OutputItem | None = None
        self.items: list[dict[str, Any]] = []

    def take(self, step: AnyReply) -> list[Event]:
        """Adds a step and returns its events."""
        events: list[Event] = []
        calls = list(step.tool_calls)
        # The rest of a call comes before what follows it.
        while calls and not calls[0].id:
            self._add_arguments(calls.pop(0).arguments, events)
        if step.reasoning:
            self._add_reasoning(step.reasoning, events)
        if step.text or (step.logprobs and isinstance(self._open, MessageItem)):
            self._add_text(step, events)
        for call in calls:
            if call.id:
                self._open_call(call, events)
            self._add_arguments(call.arguments, events)
        return events

    @property
    def in_call(self) -> bool:
        """Whether the item at hand is a call."""
        return isinstance(self._open, CallItem | CustomCallItem)

    def finish(self, status: Status) -> list[Event]:
        """Ends the last item, of this status, and returns its events; an empty answer becomes an empty message."""
        events: list[Event] = []
        if self._open is None and not self.items:
            self._begin(MessageItem(self._id("msg"), len(self.items)), events)
        self._close(status, events)
        return events

    def _add_reasoning(self, text: str, events: list[Event]) -> None:
        item = self._open
        if not isinstance(item, ReasoningItem):
            self._close("completed", events)
            item = ReasoningItem(self._id("rs"), len(self.items), summarised=self._summarised)
            self._begin(item, events)
        events.append(item.add(text))

    def _add_text(self, step: AnyReply, events: list[Event]) -> None:
        item = self._open
        if not isinstance(item, MessageItem):
            self._close("completed", events)
            item = MessageItem(self._id("msg"), len(self.items))
            self._begin(item, events)
        events.append(item.add(step.text, (logprobs_body(step.logprobs).content or []) if step.logprobs else []))

    def _open_call(self, call: runner_pb2.ToolCallDelta, events: list[Event]) -> None:
        self._close("completed", events)
        # A model may make up a name.
        called = self._called.get(call.name) or Called(call.name, None, custom=False)
        if called.custom:
            item: OutputItem = CustomCallItem(self._id("ctc"), len(self.items), call_id=call.id, called=called)
        else:
            item = CallItem(self._id("fc"), len(self.items), call_id=call.id, called=called)
        self._begin(item, events)

    def _add_arguments(self, arguments: str, events: list[Event]) -> None:
        if arguments and isinstance(self._open, CallItem | CustomCallItem):
            events += self._open.add(arguments)

    def _begin(self, item: OutputItem, events: list[Event]) -> None:
        self._open = item
        events += item.opening()

    def _close(self, status: Status, events: list[Event]) -> None:
        if self._open is None:
            return
        closing = self._open.closing(status)
        self._open = None
        self.items.append(closing[-1]["item"])
        events += closing

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{self._identity}_{len(self.items)}"

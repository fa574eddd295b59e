"""The items of a response's output, each with the events that tell a stream of it, in OpenAI's order.

See https://platform.openai.com/docs/api-reference/responses-streaming. Events lack their `sequence_number` here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from services.edge.chat.custom_tools import InputReader
from services.edge.responses.offered_tools import Called

Event = dict[str, Any]
Status = Literal["completed", "incomplete"]


class OutputItem(Protocol):
    """One item while it is being generated."""

    def opening(self) -> list[Event]:
        """Returns the events that announce it."""

    def closing(self, status: Status) -> list[Event]:
        """Returns the events that end it; the last of them holds the whole `item`."""


class MessageItem:
    """What the model says."""

    def __init__(self, item_id: str, output_index: int) -> None:
        self._item = {"id": item_id, "type": "message", "role": "assistant"}
        self._place = {"item_id": item_id, "output_index": output_index, "content_index": 0}
        self._text: list[str] = []
        self._logprobs: list[Any] = []

    def opening(self) -> list[Event]:
        """Returns the events that announce it and its one part."""
        return [
            _added(self._place, {**self._item, "status": "in_progress", "content": []}),
            {"type": "response.content_part.added", **self._place, "part": self._part("")},
        ]

    def add(self, text: str, logprobs: Sequence[Any]) -> Event:
        """Returns the event for the next characters."""
        self._text.append(text)
        self._logprobs += logprobs
        return {"type": "response.output_text.delta", **self._place, "delta": text, "logprobs": logprobs}

    def closing(self, status: Status) -> list[Event]:
        """Returns the events that end its text, its part and itself."""
        text = "".join(self._text)
        part = self._part(text)
        return [
            {"type": "response.output_text.done", **self._place, "text": text, "logprobs": self._logprobs},
            {"type": "response.content_part.done", **self._place, "part": part},
            _done(self._place, {**self._item, "status": status, "content": [part]}),
        ]

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": [*self._logprobs]}


class ReasoningItem:
    """What the model thinks: shown as its content, or as its summary for clients that asked for one."""

    def __init__(self, item_id: str, output_index: int, *, summarised: bool) -> None:
        self._item = {"id": item_id, "type": "reasoning", "encrypted_content": None}
        self._member = "summary" if summarised else "content"
        self._place = {"item_id": item_id, "output_index": output_index, f"{self._member}_index": 0}
        # What the events are about, by name.
        self._part_event = "response.reasoning_summary_part" if summarised else "response.content_part"
        self._text_event = "response.reasoning_summary_text" if summarised else "response.reasoning_text"
        self._part_type = "summary_text" if summarised else "reasoning_text"
        self._text: list[str] = []

    def opening(self) -> list[Event]:
        """Returns the events that announce it and its one part."""
        return [
            _added(self._place, self._whole("in_progress", [])),
            {"type": f"{self._part_event}.added", **self._place, "part": {"type": self._part_type, "text": ""}},
        ]

    def add(self, text: str) -> Event:
        """Returns the event for the next characters."""
        self._text.append(text)
        return {"type": f"{self._text_event}.delta", **self._place, "delta": text}

    def closing(self, status: Status) -> list[Event]:
        """Returns the events that end its text, its part and itself."""
        text = "".join(self._text)
        part = {"type": self._part_type, "text": text}
        return [
            {"type": f"{self._text_event}.done", **self._place, "text": text},
            {"type": f"{self._part_event}.done", **self._place, "part": part},
            _done(self._place, self._whole(status, [part])),
        ]

    def _whole(self, status: str, parts: list[Any]) -> dict[str, Any]:
        return {**self._item, "status": status, "summary": [], "content": [], self._member: parts}


class CallItem:
    """A call of a function."""

    def __init__(self, item_id: str, output_index: int, *, call_id: str, called: Called) -> None:
        self._item = {"id": item_id, "type": "function_call", "call_id": call_id, **_named(called)}
        self._place = {"item_id": item_id, "output_index": output_index}
        self._arguments: list[str] = []

    def opening(self) -> list[Event]:
        """Returns the event that announces it."""
        return [_added(self._place, {**self._item, "status": "in_progress", "arguments": ""})]

    def add(self, arguments: str) -> list[Event]:
        """Returns the event for the next characters of the arguments."""
        self._arguments.append(arguments)
        return [{"type": "response.function_call_arguments.delta", **self._place, "delta": arguments}]

    def closing(self, status: Status) -> list[Event]:
        """Returns the events that end its arguments and itself."""
        arguments = "".join(self._arguments)
        name = self._item["name"]
        return [
            {"type": "response.function_call_arguments.done", **self._place, "name": name, "arguments": arguments},
            _done(self._place, {**self._item, "status": status, "arguments": arguments}),
        ]


class CustomCallItem:
    """A call of a custom tool."""

    def __init__(self, item_id: str, output_index: int, *, call_id: str, called: Called) -> None:
        self._item = {"id": item_id, "type": "custom_tool_call", "call_id": call_id, **_named(called)}
        self._place = {"item_id": item_id, "output_index": output_index}
        self._reader = InputReader()
        self._input: list[str] = []

    def opening(self) -> list[Event]:
        """Returns the event that announces it."""
        return [_added(self._place, {**self._item, "status": "in_progress", "input": ""})]

    def add(self, arguments: str) -> list[Event]:
        """Returns the event for the text in the next characters of the arguments, if there is any."""
        return self._say(self._reader.take(arguments))

    def closing(self, status: Status) -> list[Event]:
        """Returns the events that end its input and itself."""
        rest = self._say(self._reader.finish())
        text = "".join(self._input)
        return [
            *rest,
            {"type": "response.custom_tool_call_input.done", **self._place, "input": text},
            _done(self._place, {**self._item, "status": status, "input": text}),
        ]

    def _say(self, text: str) -> list[Event]:
        if not text:
            return []
        self._input.append(text)
        return [{"type": "response.custom_tool_call_input.delta", **self._place, "delta": text}]


def _named(called: Called) -> dict[str, str]:
    return {"name": called.name, **({"namespace": called.namespace} if called.namespace is not None else {})}


def _added(place: dict[str, Any], item: dict[str, Any]) -> Event:
    return {"type": "response.output_item.added", "output_index": place["output_index"], "item": item}


def _done(place: dict[str, Any], item: dict[str, Any]) -> Event:
    return {"type": "response.output_item.done", "output_index": place["output_index"], "item": item}

"""Splits a model's text, as it arrives, into content, reasoning and function calls.

Calls are in the format of the Hermes and Qwen models: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`; reasoning
is `<think>…</think>` at the beginning. White space next to a tag belongs to the tag. Everything else that is not the
syntax of a well-formed call comes out as content, so that no character is lost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

CALL_OPEN, CALL_CLOSE = "<tool_call>", "</tool_call>"
THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
# The beginning of a call, up to its arguments; name and value are JSON.
_CALL_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?=\{)')


@dataclass(slots=True)
class CallDelta:
    """New characters of one call; `id` and `name` are set in its first delta only."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class Output:
    """What has been recognised and not been taken yet."""

    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[CallDelta] = field(default_factory=list)


class OutputParser:
    """Parses one answer; `feed` it with text as it comes and `finish` it once."""

    def __init__(
        self, *, calls: bool, reasoning: bool, new_id: Callable[[], str], reasoning_open: bool = False
    ) -> None:
        """`calls` and `reasoning` say what to look for; `reasoning_open` that the prompt has opened `<think>`."""
        self._calls = calls
        self._new_id = new_id
        # Text that cannot be decided yet.
        self._text = ""
        self._state: Callable[[Output], bool] = self._content
        # The state after white space that belongs to a tag.
        self._after_space: Callable[[Output], bool] = self._content
        if reasoning:
            self._state = self._before_thought
        if reasoning and reasoning_open:
            self._skip_space(self._in_thought)
        # Calls recognised so far.
        self.call_count = 0
        # Nesting of the arguments at hand, and whether they are inside a string, after a backslash.
        self._depth = 0
        self._in_string = self._escaped = False

    @property
    def holding(self) -> bool:
        """Whether text is held back until more has come."""
        return bool(self._text)

    @property
    def thinking(self) -> bool:
        """Whether what comes next is reasoning, unless it is the closing tag."""
        state = self._after_space if self._state == self._space else self._state
        return state == self._in_thought

    def feed(self, text: str, out: Output) -> None:
        """Takes the next characters and adds what they decide to `out`."""
        self._text += text
        while self._text and self._state(out):
            pass

    def finish(self, out: Output) -> None:
        """Adds what was still held back: the answer ends here."""
        rest, self._text = self._text, ""
        if self._state == self._in_thought:
            _add(out.reasoning, rest)
        elif self._state in (self._content, self._before_thought):
            # White space after the last call belongs to its tag.
            _add(out.content, rest if rest.strip() or not self.call_count else "")
        elif self._state == self._head:
            _add(out.content, CALL_OPEN + rest)

    def _before_thought(self, out: Output) -> bool:  # noqa: ARG002 - every state has this signature
        """At the beginning, where a thought may open."""
        start = self._text.lstrip()
        if start.startswith(THINK_OPEN):
            self._text = start.removeprefix(THINK_OPEN)
            self._skip_space(self._in_thought)
            return True
        if THINK_OPEN.startswith(start):
            return False
        self._state = self._content
        return True

    def _in_thought(self, out: Output) -> bool:
        before, tag, after = self._text.partition(THINK_CLOSE)
        if tag:
            _add(out.reasoning, before.rstrip())
            self._text = after
            self._skip_space(self._content)
            return True
        self._text = _add_decided(out.reasoning, self._text, THINK_CLOSE)
        return False

    def _skip_space(self, then: Callable[[Output], bool]) -> None:
        self._state, self._after_space = self._space, then

    def _space(self, out: Output) -> bool:  # noqa: ARG002 - every state has this signature
        """Drops white space."""
        self._text = self._text.lstrip()
        if self._text:
            self._state = self._after_space
        return bool(self._text)

    def _content(self, out: Output) -> bool:
        if not self._calls:
            _add(out.content, self._text)
            self._text = ""
            return False
        before, tag, after = self._text.partition(CALL_OPEN)
        if tag:
            _add(out.content, before.rstrip())
            self._text = after
            self._state = self._head
            return True
        self._text = _add_decided(out.content, self._text, CALL_OPEN)
        return False

    def _head(self, out: Output) -> bool:
        """Inside a call, before its arguments."""
        if head := _CALL_HEAD.match(self._text):
            self._begin_call(out, json.loads(head[1], strict=False))
            self._text = self._text[head.end() :]
            self._state = self._arguments
            return True
        body, tag, after = self._text.partition(CALL_CLOSE)
        if not tag:
            return False
        self._text = after
        self._state = self._content
        self._whole_call(body, out)
        return True

    def _whole_call(self, body: str, out: Output) -> None:
        """Reads a call whose members come in another order; what is not a call after all is content."""
        try:
            call = json.loads(body)
            name, arguments = call["name"], call.get("arguments", {})
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            name, arguments = None, None
        if not isinstance(name, str) or not isinstance(arguments, dict):
            _add(out.content, CALL_OPEN + body + CALL_CLOSE)
            return
        self._begin_call(out, name)
        out.calls[-1].arguments = json.dumps(arguments)

    def _begin_call(self, out: Output, name: str) -> None:
        # An escaped half of a surrogate pair is valid JSON but not valid text.
        name = name.encode(errors="replace").decode()
        out.calls.append(CallDelta(self.call_count, self._new_id(), name))
        self.call_count += 1

    def _arguments(self, out: Output) -> bool:
        """Passes the arguments on until their last brace closes."""
        end = self._arguments_end()
        fragment, self._text = self._text[:end], self._text[end:]
        self._add_arguments(out, fragment)
        if not self._depth:
            self._state = self._tail
        return True

    def _arguments_end(self) -> int:
        """Returns how many of the characters at hand belong to the arguments."""
        for at, character in enumerate(self._text):
            if self._escaped:
                self._escaped = False
            elif self._in_string:
                self._escaped = character == "\\"
                self._in_string = character != '"'
            elif character == '"':
                self._in_string = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if not self._depth:
                    return at + 1
        return len(self._text)

    def _add_arguments(self, out: Output, fragment: str) -> None:
        index = self.call_count - 1
        if out.calls and out.calls[-1].index == index:
            out.calls[-1].arguments += fragment
        else:
            out.calls.append(CallDelta(index, arguments=fragment))

    def _tail(self, out: Output) -> bool:  # noqa: ARG002 - every state has this signature
        """After the arguments, until the closing tag."""
        _, tag, after = self._text.partition(CALL_CLOSE)
        if not tag:
            return False
        self._text = after
        self._state = self._content
        return True


def _add(parts: list[str], text: str) -> None:
    if text:
        parts.append(text)


def _add_decided(parts: list[str], text: str, tag: str) -> str:
    """Adds what cannot be part of `tag` or of the white space before it, and returns the rest."""
    start = len(text)
    for length in range(min(len(tag) - 1, len(text)), 0, -1):
        if tag.startswith(text[-length:]):
            start -= length
            break
    decided = text[:start].rstrip()
    _add(parts, decided)
    return text[len(decided) :]

"""What a tool format has to offer, and what the readers of all formats share."""

from __future__ import annotations

import json
import re
import string
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import ClassVar

from services.runner.kinds.text.prompt.nesting import Nesting
from services.runner.kinds.text.prompt.output import CallDelta, ParsedText, add, add_decided
from services.runner.kinds.text.prompt.tools import Tool

# A JSON string, and what may follow from its first characters.
JSON_STRING = r'"(?:[^"\\]|\\.)*"'
# The beginning of a call object, up to its arguments. Group 1 is the name, as JSON.
CALL_HEAD = re.compile(rf'\s*\{{\s*"name"\s*:\s*({JSON_STRING})\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{{)')


class ToolFormat(ABC):
    """How one family of models writes function calls: the grammar for forced ones, and the reader of any."""

    name: ClassVar[str]

    @abstractmethod
    def call_rules(self, tools: Sequence[Tool], *, single: bool) -> Iterator[str]:
        """Yields Lark rules, of which `calls` is one call or, unless `single`, several, of these functions."""

    def auto_rules(self, tools: Sequence[Tool], *, single: bool) -> Iterator[str]:
        """Yields Lark rules, of which `auto` is free text in which every call follows its function's schema.

        Yields nothing if this format cannot do that.
        """
        del tools, single
        yield from ()

    @abstractmethod
    def reader(self, names: Collection[str], new_id: Callable[[], str]) -> CallReader:
        """Returns a reader for one answer; `names` are the functions on offer, `new_id` makes ids for calls."""


class CallReader(ABC):
    """Splits the text of one answer, as it comes, into content and calls.

    What is not the syntax of a call after all comes out as content: no character is lost, except for white space next
    to a call. Arguments pass unchanged, as they come.
    """

    # Opens a call within the text; white space before it belongs to it.
    marker: ClassVar[str]
    # What may stand after the last call without being content.
    separators: ClassVar[str] = string.whitespace

    def __init__(self, names: Collection[str], new_id: Callable[[], str]) -> None:
        self._names = names
        self._new_id = new_id
        self.call_count = 0
        # Text that cannot be decided yet.
        self._text = ""
        # What was taken off before it and is content if no call comes of it; None within a call.
        self._before: str | None = ""
        self._state: Callable[[ParsedText], bool] = self._content
        # Follows the arguments, or the rest of the call's object.
        self._nesting = Nesting()
        self._after_arguments: Callable[[ParsedText], bool] = self._rest_of_object

    @property
    def holding(self) -> bool:
        """Whether text is held back until more has come."""
        return bool(self._text)

    def feed(self, text: str, out: ParsedText) -> None:
        """Takes the next characters and adds what they decide to `out`."""
        self._text += text
        while self._text and self._state(out):
            pass

    def finish(self, out: ParsedText) -> None:
        """Adds what was still held back: the answer ends here."""
        rest, self._text = self._text, ""
        if self._before is None:
            return
        rest = self._before + rest
        if not self.call_count or rest.strip(self.separators):
            add(out.content, rest)

    @abstractmethod
    def _opened(self, out: ParsedText) -> bool:
        """The state after the marker. A state returns whether there is more to do without more text."""

    @abstractmethod
    def _after_object(self, out: ParsedText) -> bool:
        """The state after a call's closing brace."""

    def _content(self, out: ParsedText) -> bool:
        before, marker, after = self._text.partition(self.marker)
        if not marker:
            self._text = add_decided(out.content, self._text, self.marker)
            return False
        add(out.content, before.rstrip())
        self._text = after
        self._before = marker
        self._state = self._opened
        return True

    def _release(self, out: ParsedText) -> bool:
        """Goes back to content with what was taken for a call."""
        add(out.content, self._before or "")
        return self._resume_content(out)

    def _resume_content(self, out: ParsedText) -> bool:  # noqa: ARG002 - every state has this signature
        self._before = ""
        self._state = self._content
        return True

    def _begin(
        self, out: ParsedText, head: re.Match[str], name: str, then: Callable[[ParsedText], bool] | None = None
    ) -> bool:
        """Begins the call whose head was matched; its arguments come next, and `then` the rest of its object."""
        self._add_call(out, name)
        self._text = self._text[head.end() :]
        self._nesting = Nesting()
        self._state = self._arguments
        self._after_arguments = then or self._rest_of_object
        return True

    def _add_call(self, out: ParsedText, name: str, arguments: str = "") -> None:
        # An escaped half of a surrogate pair is valid JSON but not valid text.
        name = name.encode(errors="replace").decode()
        out.calls.append(CallDelta(self.call_count, self._new_id(), name, arguments))
        self.call_count += 1
        self._before = None

    def _arguments(self, out: ParsedText) -> bool:
        """Passes the arguments on until their last brace closes."""
        end = self._nesting.take(self._text)
        fragment, self._text = self._text[:end], self._text[end:]
        index = self.call_count - 1
        if out.calls and out.calls[-1].index == index:
            out.calls[-1].arguments += fragment
        else:
            out.calls.append(CallDelta(index, arguments=fragment))
        if self._nesting.closed:
            self._nesting = Nesting(1)
            self._state = self._after_arguments
        return True

    def _rest_of_object(self, out: ParsedText) -> bool:  # noqa: ARG002 - every state has this signature
        """Drops other members of the call's object."""
        self._text = self._text[self._nesting.take(self._text) :]
        if self._nesting.closed:
            self._state = self._after_object
        return True


def name_of(head: re.Match[str]) -> str:
    """Returns the function's name in a match of CALL_HEAD."""
    name: str = json.loads(head[1], strict=False)
    return name


def read_call(text: str) -> tuple[str, str] | None:
    """Returns name and arguments of a whole call object, whatever the order of its members; None if it is none."""
    try:
        call = json.loads(text)
        name, arguments = call["name"], call.get("arguments", call.get("parameters", {}))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return None
    return name, json.dumps(arguments, ensure_ascii=False)

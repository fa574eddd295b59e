"""What a tool format has to offer, and what the readers of all formats share."""

from __future__ import annotations

import json
import re
import string
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from services.runner.kinds.text.prompt.formats.rules import thought_rules
from services.runner.kinds.text.prompt.nesting import Nesting
from services.runner.kinds.text.prompt.output import CallDelta, ParsedText, add_content, decided
from services.runner.kinds.text.prompt.thought import Thought
from services.runner.kinds.text.prompt.tools import Tool

# A JSON string, and what may follow from its first characters.
JSON_STRING = r'"(?:[^"\\]|\\.)*"'
# The beginning of a call object, up to its arguments. Group 1 is the name, as JSON.
CALL_HEAD = re.compile(rf'\s*\{{\s*"name"\s*:\s*({JSON_STRING})\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{{)')


class ToolFormat(ABC):
    """How one family of models writes function calls: the grammar for forced ones, and the reader of any."""

    name: str
    # Whether the format says of the whole answer what is thought, content or call, so that its reader reads all of it.
    framed: ClassVar[bool] = False
    # The control tokens that its rules name.
    control_tokens: ClassVar[tuple[str, ...]] = ()
    # What a prompt has to call an earlier call of a function, by its number in the conversation; None leaves its id.
    call_id: Callable[[str, int], str] | None = None

    @abstractmethod
    def call_rules(self, tools: Sequence[Tool], *, single: bool) -> Iterator[str]:
        """Yields Lark rules, of which `calls` is one call or, unless `single`, several, of these functions."""

    def auto_rules(self, tools: Sequence[Tool], *, single: bool) -> Iterator[str]:
        """Yields Lark rules, of which `auto` is free text in which every call follows its function's schema.

        Yields nothing if this format cannot do that.
        """
        del tools, single
        yield from ()

    def content(self, rule: str) -> str:
        """Returns the expression for content that is a rule."""
        return rule

    def before(self, thought: Thought | None) -> tuple[str, list[str]]:
        """Returns the expression for what comes before content and calls, and its rules."""
        return thought_rules(thought)

    @abstractmethod
    def reader(self, functions: Mapping[str, dict[str, Any]], new_id: Callable[[], str]) -> CallReader:
        """Returns a reader for one answer; `functions` are those on offer, each with the schema of its arguments.

        `new_id` makes ids for calls.
        """


class CallReader(ABC):
    """Splits the text of one answer, as it comes, into content and calls.

    What is not the syntax of a call after all comes out as content: no character is lost, except for white space next
    to a call. Arguments pass unchanged, as they come. A call begins with its arguments and is whole when they are.
    """

    # Opens a call within the text; white space before it belongs to it.
    marker: str
    # What may stand after the last call without being content.
    separators: ClassVar[str] = string.whitespace

    def __init__(self, functions: Mapping[str, dict[str, Any]], new_id: Callable[[], str]) -> None:
        self._functions = functions
        self._new_id = new_id
        self.call_count = 0
        # Text that cannot be decided yet.
        self._text = ""
        # What stands right before it and is content if no call comes of it.
        self._before = ""
        self._state: Callable[[ParsedText], bool] = self._content
        # Follows the arguments, or an object at the beginning of the text, of which so many characters were looked at.
        self._nesting = Nesting()
        self._looked_at = 0
        self._after_arguments: Callable[[ParsedText], bool] = self._rest_of_object
        # The call at hand as the model has written it, while its arguments come.
        self._written: list[str] = []

    @property
    def holding(self) -> bool:
        """Whether text is held back until more has come."""
        return bool(self._text or self._before)

    @property
    def thinking(self) -> bool:
        """Whether what comes next is reasoning; only a format that frames the answer knows."""
        return False

    @property
    def in_arguments(self) -> bool:
        """Whether the last call is not whole: its arguments have begun and not ended."""
        return self._state == self._arguments

    def feed(self, text: str, out: ParsedText) -> None:
        """Takes the next characters and adds what they decide to `out`."""
        self._text += text
        while self._text and self._state(out):
            pass

    def finish(self, out: ParsedText, *, cut: bool) -> None:
        """Adds what was still held back: the answer ends here, and `cut` says that a limit ended it.

        A call that the model itself left unfinished is none: it becomes content again, unless its beginning is gone.
        """
        if self.in_arguments and not cut:
            self._take_back(out)
        while self._state != self._content and not self._is_gap(self._before + self._text):
            CallReader._release(self, out)
            while self._text and self._state(out):
                pass
        rest = self._before + self._text
        self._before = self._text = ""
        if not self._is_gap(rest):
            add_content(out, rest, len(rest))

    def _take_back(self, out: ParsedText) -> None:
        """Turns the call at hand into content if nothing of it has been delivered."""
        index = self.call_count - 1
        if not any(call.index == index and call.id for call in out.calls):
            return
        out.calls = [call for call in out.calls if call.index != index]
        self.call_count -= 1
        self._state = self._content
        written = "".join(self._written)
        add_content(out, written, len(written))

    def _is_gap(self, text: str) -> bool:
        """Whether a text at the end only follows the last call, and says nothing."""
        return bool(self.call_count) and not text.strip(self.separators)

    @abstractmethod
    def _opened(self, out: ParsedText) -> bool:
        """The state after the marker. A state returns whether there is more to do without more text."""

    @abstractmethod
    def _after_object(self, out: ParsedText) -> bool:
        """The state after a call's closing brace."""

    def _content(self, out: ParsedText) -> bool:
        before, marker, after = self._text.partition(self.marker)
        if not marker:
            return self._add_decided(out, self.marker)
        words = before.rstrip()
        add_content(out, words, len(self._text))
        self._text = after
        self._before = before[len(words) :] + marker
        self._look_for(self._opened)
        return True

    def _add_decided(self, out: ParsedText, *tags: str) -> bool:
        """Adds the content that cannot be part of a tag."""
        words = decided(self._text, *tags)
        add_content(out, words, len(self._text))
        self._text = self._text[len(words) :]
        return False

    def _look_for(self, state: Callable[[ParsedText], bool]) -> None:
        """Goes to a state in which an object may stand at the beginning of the text."""
        self._state = state
        self._nesting, self._looked_at = Nesting(), 0

    def _object_end(self) -> int | None:
        """Returns where the object at the beginning of the text ends: 0 if it is none, None if that is still open."""
        self._looked_at += self._nesting.take(self._text[self._looked_at :])
        if self._nesting.broken:
            return 0
        return self._looked_at if self._nesting.closed else None

    def _release(self, out: ParsedText) -> bool:
        """Goes back to content with what was taken for a call."""
        add_content(out, self._before, len(self._before) + len(self._text))
        return self._resume_content(out)

    def _resume_content(self, out: ParsedText) -> bool:  # noqa: ARG002 - every state has this signature
        self._before = ""
        self._state = self._content
        return True

    def _begin(
        self, out: ParsedText, head: re.Match[str], name: str, then: Callable[[ParsedText], bool] | None = None
    ) -> bool:
        """Begins the call whose head was matched; its arguments come next, and `then` the rest of its object."""
        self._written = [self._before, self._text[: head.end()]]
        self._add_call(out, name)
        self._text = self._text[head.end() :]
        self._look_for(self._arguments)
        self._after_arguments = then or self._rest_of_object
        return True

    def _add_call(self, out: ParsedText, name: str, arguments: str = "") -> None:
        # An escaped half of a surrogate pair is valid JSON but not valid text.
        name = name.encode(errors="replace").decode()
        out.calls.append(CallDelta(self.call_count, self._new_id(), name, arguments))
        self.call_count += 1
        self._before = ""

    def _arguments(self, out: ParsedText) -> bool:
        """Passes the arguments on until their last brace closes."""
        end = self._nesting.take(self._text)
        fragment, self._text = self._text[:end], self._text[end:]
        index = self.call_count - 1
        if out.calls and out.calls[-1].index == index:
            out.calls[-1].arguments += fragment
        else:
            out.calls.append(CallDelta(index, arguments=fragment))
        self._written.append(fragment)
        if self._nesting.closed:
            self._written = []
            self._look_for(self._after_arguments)
            self._nesting = Nesting(1)
        return True

    def _rest_of_object(self, out: ParsedText) -> bool:  # noqa: ARG002 - every state has this signature
        """Drops the brace that ends the call's object, and other members before it; a model may forget them."""
        first = self._text.lstrip()[:1]
        end = self._object_end() if first in "}," else 0
        if end is None or not first:
            return False
        if _ends_object(self._text[:end]):
            self._text = self._text[end:]
        self._look_for(self._after_object)
        return True


def name_of(head: re.Match[str]) -> str:
    """Returns the function's name in a match of CALL_HEAD."""
    name: str = json.loads(head[1], strict=False)
    return name


def read_call(text: str) -> tuple[str, str] | None:
    """Returns name and arguments of a whole call object, whatever the order of its members; None if it is none.

    No arguments at all, or null, are none; a text that holds an object, as OpenAI's clients have it, is that object.
    """
    try:
        call = json.loads(text, strict=False)
        name, arguments = call["name"], call.get("arguments", call.get("parameters"))
        if isinstance(arguments, str):
            arguments = json.loads(arguments, strict=False)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not isinstance(name, str) or not isinstance(arguments, dict | None):
        return None
    # An escaped half of a surrogate pair is valid JSON but not valid text.
    return name, json.dumps(arguments or {}, ensure_ascii=False).encode(errors="replace").decode()


def _ends_object(text: str) -> bool:
    """Whether a text is what can follow a member of an object, up to its last brace."""
    try:
        return isinstance(json.loads('{"": 0' + text, strict=False), dict)
    except (ValueError, RecursionError):
        return False

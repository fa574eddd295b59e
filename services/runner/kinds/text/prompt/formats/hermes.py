"""Hermes and Qwen models, and the local model: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from services.runner.kinds.text.prompt.formats.base import CALL_HEAD, CallReader, ToolFormat, name_of, read_call
from services.runner.kinds.text.prompt.formats.rules import further, literal, object_rules
from services.runner.kinds.text.prompt.output import ParsedText, add
from services.runner.kinds.text.prompt.tools import Tool

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"


class HermesFormat(ToolFormat):
    """Calls between tags, anywhere in the text."""

    name = "hermes"

    def call_rules(self, tools: Sequence[Tool], *, single: bool) -> Iterator[str]:
        """Yields the rules of calls without text between them."""
        yield from self._body_rules(tools)
        again = literal("\n" + _OPEN) + " body"
        yield f"calls: {literal(_OPEN)} body {further(again, single=single)}"

    def auto_rules(self, tools: Sequence[Tool], *, single: bool) -> Iterator[str]:
        """Yields the rules of text in which a tag, once it is there, begins a call.

        The tag ends a lazy lexeme, and the last text is any but one with a tag: so there is no other way on.
        """
        yield from self._body_rules(tools)
        yield f"auto: (opened body {further('opened body', single=single)})? REST"
        yield f"opened[lazy]: TEXT {literal(_OPEN)}"
        yield "TEXT: /(?s:.)*/"
        yield f"REST: TEXT & ~/(?s:.)*{_OPEN}(?s:.)*/"

    def reader(self, names: Collection[str], new_id: Callable[[], str]) -> CallReader:
        """Returns a reader that takes any name: what stands between the tags is meant to be a call."""
        return _Reader(names, new_id)

    def _body_rules(self, tools: Sequence[Tool]) -> Iterator[str]:
        yield from object_rules(tools, "arguments")
        close = literal("\n" + _CLOSE)
        yield rf'body: "\n" object {close}'


class _Reader(CallReader):
    marker = _OPEN

    def _opened(self, out: ParsedText) -> bool:
        if head := CALL_HEAD.match(self._text):
            return self._begin(out, head, name_of(head))
        body, tag, after = self._text.partition(_CLOSE)
        if not tag:
            return False
        self._text = after
        if call := read_call(body):
            self._add_call(out, *call)
        else:
            add(out.content, _OPEN + body + _CLOSE)
        return self._resume_content(out)

    def _after_object(self, out: ParsedText) -> bool:
        """Drops everything up to the closing tag."""
        _, tag, after = self._text.partition(_CLOSE)
        if not tag:
            return False
        self._text = after
        return self._resume_content(out)

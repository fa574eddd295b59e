"""Hermes and Qwen models, and the local model: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from services.runner.kinds.text.prompt.formats.base import CALL_HEAD, CallReader, ToolFormat, name_of, read_call
from services.runner.kinds.text.prompt.formats.rules import further, literal, object_rules, text_before_calls
from services.runner.kinds.text.prompt.output import ParsedText, add_content
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
        """Yields the rules of text in which a tag, once it is there, begins a call."""
        yield from self._body_rules(tools)
        yield from text_before_calls(_OPEN, single=single)

    def reader(self, functions: Mapping[str, dict[str, Any]], new_id: Callable[[], str]) -> CallReader:
        """Returns a reader that takes any name: what stands between the tags is meant to be a call."""
        return _Reader(functions, new_id)

    def _body_rules(self, tools: Sequence[Tool]) -> Iterator[str]:
        yield from object_rules(tools, "arguments")
        close = literal("\n" + _CLOSE)
        yield rf'body: "\n" object {close}'


class _Reader(CallReader):
    marker = _OPEN

    def _opened(self, out: ParsedText) -> bool:
        first = self._text.lstrip()[:1]
        if first and first != "{":
            return self._release(out)
        if head := CALL_HEAD.match(self._text):
            return self._begin(out, head, name_of(head))
        end = self._object_end()
        if end is None:
            return False
        call = read_call(self._text[:end])
        if call is None:
            return self._release(out)
        self._add_call(out, *call)
        self._text = self._text[end:]
        self._look_for(self._after_object)
        return True

    def _after_object(self, out: ParsedText) -> bool:
        """Before the closing tag, where a model may also write a further call or words, or forget the tag."""
        rest = self._text.lstrip()
        if rest.startswith(_CLOSE):
            self._text = rest.removeprefix(_CLOSE)
            return self._resume_content(out)
        if not rest or _CLOSE.startswith(rest):
            return False
        if rest.startswith("{"):
            self._look_for(self._opened)
        else:
            self._state = self._words
        return True

    def _words(self, out: ParsedText) -> bool:
        """After a call that something else than its closing tag follows: content, up to that tag."""
        before, tag, after = self._text.partition(_CLOSE)
        if _OPEN in before:
            return self._resume_content(out)
        if not tag:
            return self._add_decided(out, _OPEN, _CLOSE)
        add_content(out, before.rstrip(), len(self._text))
        self._text = after
        return self._resume_content(out)

    def _release(self, out: ParsedText) -> bool:
        after_a_call = not self._before
        super()._release(out)
        if after_a_call:
            self._state = self._words
        return True

    def _is_gap(self, text: str) -> bool:
        # The beginning of a closing tag belongs to its call.
        return super()._is_gap(text) or (self._state == self._after_object and _CLOSE.startswith(text.strip()))

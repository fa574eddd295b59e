"""Llama: `{"name": …, "parameters": {…}}` as the whole answer, several separated by `;`, perhaps after a tag.

https://www.llama.com/docs/model-cards-and-prompt-formats/llama3_1/ describes it; Llama 4 has another tag, and one that
closes. As such a call looks like any other
JSON, only the name of a function on offer makes it one.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from services.runner.kinds.text.prompt.formats.base import JSON_STRING, CallReader, ToolFormat, name_of
from services.runner.kinds.text.prompt.formats.rules import arguments_rule, further, literal, object_rules
from services.runner.kinds.text.prompt.formats.syntax import Syntax, spelled
from services.runner.kinds.text.prompt.nesting import Nesting
from services.runner.kinds.text.prompt.output import ParsedText
from services.runner.kinds.text.prompt.tools import Tool

_TAG = "<|python_tag|>"
_OPEN, _CLOSE = "<|python_start|>", "<|python_end|>"
_AGAIN = '"; " object'
_SPACE = r"\s*"


class LlamaFormat(ToolFormat):
    """Calls instead of text."""

    def __init__(self, name: str = "llama", tag: str = _TAG, closing: str = "") -> None:
        """`name` is what the format is called in settings and messages, and `tag` may stand before a call."""
        self.name = name
        self._tags = tag, closing

    def call_rules(self, tools: Sequence[Tool], *, single: bool) -> Iterator[str]:
        """Yields the rules of calls one after the other."""
        yield from object_rules(tools, "parameters")
        yield f"calls: object {further(_AGAIN, single=single)}"

    def auto_rules(self, tools: Sequence[Tool], *, single: bool) -> Iterator[str]:
        """Yields the rules of an answer that is calls or any text that does not begin as one."""
        yield from object_rules(tools, "parameters")
        for number, tool in enumerate(tools):
            head = f'{{"name": {json.dumps(tool.name)}, "parameters": '
            yield f"head_{number}[lazy]: {literal(head)}"
            yield f"first_{number}: head_{number} {arguments_rule(tool)}"
        firsts = " | ".join(f"first_{number}" for number in range(len(tools)))
        yield f'auto: ({firsts}) "}}" {further(_AGAIN, single=single)} | FREE'
        names = "|".join(re.escape(tool.name) for tool in tools)
        yield "TEXT: /(?s:.)*/"
        yield rf'FREE: TEXT & ~/\{{"name": "({names})", "parameters": (?s:.)*/'

    def reader(self, functions: Mapping[str, dict[str, Any]], new_id: Callable[[], str]) -> CallReader:
        """Returns a reader for which only `functions` can be called."""
        return _Reader(functions, new_id, *self._tags)


def _heads() -> Iterator[list[str]]:
    """Yields the beginnings of a call, each as patterns for its smallest parts."""
    for kind in ((), ('"type"', ":", '"function"', ",")):
        for key in ('"parameters"', '"arguments"'):
            words = ("{", *kind, '"name"', ":", "NAME", ",", key, ":", "null")
            yield [part for word in words for part in (*_parts(word), _SPACE)]


def _parts(word: str) -> list[str]:
    return ['"', r'(?:[^"\\]|\\.){0,64}', '"'] if word == "NAME" else [re.escape(character) for character in word]


def _beginning(parts: list[str]) -> str:
    """Returns a pattern for the first one, two, three, … parts."""
    return "".join(f"(?:{part}" for part in parts) + ")?" * len(parts)


_BEFORE_ARGUMENTS = (
    rf'\s*\{{\s*(?:"type"\s*:\s*"function"\s*,\s*)?"name"\s*:\s*({JSON_STRING})\s*,'
    r'\s*"(?:parameters|arguments)"\s*:\s*'
)
_HEAD = re.compile(_BEFORE_ARGUMENTS + r"(?=\{)")
# A function without parameters may get null.
_NULL_HEAD = re.compile(_BEFORE_ARGUMENTS + r"null(?=\s*[,}])")
# Text of which one of these may come.
_HEAD_BEGINNING = re.compile(_SPACE + "(?:" + "|".join(_beginning(parts) for parts in _heads()) + ")")
_GAP = re.compile(r"\s*;?\s*")


class _Reader(CallReader):
    separators = string.whitespace + ";"

    def __init__(
        self, functions: Mapping[str, dict[str, Any]], new_id: Callable[[], str], tag: str, closing: str
    ) -> None:
        super().__init__(functions, new_id)
        self.marker = tag
        self._closing = Syntax(_SPACE, *spelled(closing)) if closing else None
        self._state = self._opened

    def _opened(self, out: ParsedText) -> bool:
        text = self._text.lstrip()
        if text.startswith(self.marker) and not self._before.endswith(self.marker):
            self._before += self._text.removesuffix(text) + self.marker
            self._text = text.removeprefix(self.marker)
            return True
        head = _HEAD.match(self._text)
        if head and name_of(head) in self._functions:
            return self._begin(out, head, name_of(head))
        null = _NULL_HEAD.match(self._text)
        if null and name_of(null) in self._functions:
            self._add_call(out, name_of(null), "{}")
            self._text = self._text[null.end() :]
            self._look_for(self._rest_of_object)
            self._nesting = Nesting(1)
            return True
        if not (head or null) and (
            _HEAD_BEGINNING.fullmatch(self._text) or self.marker.startswith(self._text.lstrip())
        ):
            return False
        return self._release(out)

    def _after_object(self, out: ParsedText) -> bool:  # noqa: ARG002 - every state has this signature
        """Between two calls, or after the last."""
        if self._closing and (close := self._closing.match(self._text)):
            self._text = self._text[close.end() :]
            return True
        if self._closing and self._closing.begins(self._text):
            return False
        gap = _GAP.match(self._text)
        end = gap.end() if gap else 0
        if end == len(self._text):
            self._before = ""
            return False
        self._before, self._text = self._text[:end], self._text[end:]
        self._state = self._opened
        return True

    def _is_gap(self, text: str) -> bool:
        # The beginning of a closing tag belongs to its call.
        closes = self._state == self._after_object and self._closing is not None and self._closing.begins(text)
        return super()._is_gap(text) or closes


LLAMA4 = LlamaFormat("llama4", _OPEN, _CLOSE)

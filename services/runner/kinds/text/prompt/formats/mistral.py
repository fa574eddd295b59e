"""Mistral: `[TOOL_CALLS][{"name": …, "arguments": {…}}, …]`, and since 2025 `[TOOL_CALLS]name[ARGS]{…}` for each call.

The tags are special tokens of these models, so an engine has to show them in the text.
https://docs.mistral.ai/cookbooks/concept-deep-dive-tokenization-tool_calling describes the first form, and
https://github.com/mistralai/mistral-common the second. One reader understands both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from services.runner.kinds.text.prompt.formats.base import CALL_HEAD, CallReader, ToolFormat, name_of, read_call
from services.runner.kinds.text.prompt.formats.rules import arguments_rule, further, literal, object_rules
from services.runner.kinds.text.prompt.output import ParsedText
from services.runner.kinds.text.prompt.tools import Tool

CALLS_TAG, ARGUMENTS_TAG = "[TOOL_CALLS]", "[ARGS]"
_NAME = r"[A-Za-z0-9_.-]{1,64}"
_NAMED_HEAD = re.compile(rf"\s*({_NAME})(?:\[CALL_ID\][A-Za-z0-9_-]*)?(?:\[ARGS\])?\s*(?=\{{)")
# A function without parameters may get null, before something else than a longer word.
_NAMED_NULL = re.compile(rf"\s*({_NAME})(?:\[CALL_ID\][A-Za-z0-9_-]*)?\[ARGS\]\s*null(?=[^A-Za-z0-9_-])")
# Text of which one of these may come.
_NAMED_BEGINNING = re.compile(rf"\s*{_NAME}(?:\[[A-Z_]{{0,7}}\]?[A-Za-z0-9_-]*){{0,2}}\s*(?:n|nu|nul|null)?")


class MistralFormat(ToolFormat):
    """One tag before an array of calls."""

    name = "mistral"

    def __init__(self) -> None:
        """Earlier calls have ids of nine letters and digits: the templates take no others."""
        self.call_id = lambda _, number: f"call{number % 10**5:05}"

    def call_rules(self, tools: Sequence[Tool], *, single: bool) -> Iterator[str]:
        """Yields the rules of a tag and an array."""
        yield from object_rules(tools, "arguments")
        again = further('", " object', single=single)
        yield f'calls: {literal(CALLS_TAG + "[")} object {again} "]"'

    def reader(self, functions: Mapping[str, dict[str, Any]], new_id: Callable[[], str]) -> CallReader:
        """Returns a reader that takes any name: what follows the tag is meant to be a call."""
        return _Reader(functions, new_id)


class MistralArgsFormat(MistralFormat):
    """Two tags for each call."""

    name = "mistral-args"

    def call_rules(self, tools: Sequence[Tool], *, single: bool) -> Iterator[str]:
        """Yields the rules of calls one after the other."""
        for number, tool in enumerate(tools):
            yield f"call_{number}: {literal(CALLS_TAG + tool.name + ARGUMENTS_TAG)} {arguments_rule(tool)}"
        yield f"call: {' | '.join(f'call_{number}' for number in range(len(tools)))}"
        yield f"calls: call {further('call', single=single)}"


class _Reader(CallReader):
    marker = CALLS_TAG

    def _opened(self, out: ParsedText) -> bool:
        text = self._text.lstrip()
        if text.startswith("["):
            return self._expect_element(text)
        if head := _NAMED_HEAD.match(self._text):
            # There is no object around these arguments.
            return self._begin(out, head, head[1], then=self._resume_content)
        if null := _NAMED_NULL.match(self._text):
            self._add_call(out, null[1], "{}")
            self._text = self._text[null.end() :]
            return self._resume_content(out)
        if not text or _NAMED_BEGINNING.fullmatch(self._text):
            return False
        return self._release(out)

    def _expect_element(self, text: str) -> bool:
        """Goes on after the bracket or comma at the beginning of `text`, which white space may stand before."""
        self._before += self._text.removesuffix(text) + text[0]
        self._text = text[1:]
        self._look_for(self._element)
        return True

    def _element(self, out: ParsedText) -> bool:
        """Before an element of the array."""
        first = self._text.lstrip()[:1]
        if head := CALL_HEAD.match(self._text):
            return self._begin(out, head, name_of(head))
        end = self._object_end() if first == "{" else 0
        if end is None or not first:
            return False
        call = read_call(self._text[:end])
        if call is None:
            return self._release(out)
        self._text = self._text[end:]
        self._add_call(out, *call)
        self._state = self._after_object
        return True

    def _after_object(self, out: ParsedText) -> bool:
        """After an element of the array."""
        text = self._text.lstrip()
        if text.startswith(","):
            return self._expect_element(text)
        if not text:
            return False
        self._text = text[1:] if text.startswith("]") else self._text
        return self._resume_content(out)

"""DeepSeek and Kimi: calls with JSON arguments between tags of their own, within a section for all calls of an answer.

DeepSeek V3 and R1 (https://huggingface.co/deepseek-ai/DeepSeek-V3-0324, tokenizer_config.json) put the arguments into a
block of code; DeepSeek V3.1 (https://huggingface.co/deepseek-ai/DeepSeek-V3.1) does not. Kimi K2 names a call
`functions.NAME:NUMBER` (https://huggingface.co/moonshotai/Kimi-K2-Instruct/blob/main/docs/tool_call_guidance.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.runner.kinds.text.prompt.formats.base import CallReader, ToolFormat
from services.runner.kinds.text.prompt.formats.rules import arguments_rule, further, literal
from services.runner.kinds.text.prompt.formats.syntax import Syntax, spelled
from services.runner.kinds.text.prompt.output import ParsedText, add_content
from services.runner.kinds.text.prompt.tools import Tool

_SPACE = r"\s*"
_NAME = r"([A-Za-z0-9_.-]+)"
_NOTHING = ((), spelled("null"))


@dataclass(frozen=True, slots=True)
class Section:
    """The tags of one family."""

    section: str
    section_end: str
    call: str
    call_end: str
    # What stands before and after the name, and after the arguments, as the grammar has it.
    before_name: str
    after_name: str
    after_arguments: str
    between: str
    # What follows the tag of a call, up to its arguments, with the name as its last group.
    heads: tuple[tuple[str, ...], ...]
    # What a call of the past is called in a prompt.
    call_id: Callable[[str, int], str] | None = None


_BAR, _LOW = "\uff5c", "\u2581"


def _deepseek_tag(words: str) -> str:
    return f"<{_BAR}{words.replace(' ', _LOW)}{_BAR}>"


_CALL, _SEPARATOR = _deepseek_tag("tool call begin"), _deepseek_tag("tool sep")
_IN_CODE = (*spelled("function"), *spelled(_SEPARATOR), _NAME, r"\n", *spelled("```json"))
_PLAIN = (_NAME, *spelled(_SEPARATOR))


def _deepseek(*, in_code: bool) -> Section:
    return Section(
        section=_deepseek_tag("tool calls begin"),
        section_end=_deepseek_tag("tool calls end"),
        call=_CALL,
        call_end=_deepseek_tag("tool call end"),
        before_name=f"function{_SEPARATOR}" if in_code else "",
        after_name="\n```json\n" if in_code else _SEPARATOR,
        after_arguments="\n```" if in_code else "",
        between="\n" if in_code else "",
        heads=(_IN_CODE, _PLAIN),
    )


DEEPSEEK, DEEPSEEK_V3 = _deepseek(in_code=False), _deepseek(in_code=True)
KIMI = Section(
    section="<|tool_calls_section_begin|>",
    section_end="<|tool_calls_section_end|>",
    call="<|tool_call_begin|>",
    call_end="<|tool_call_end|>",
    before_name="functions.",
    after_name="<|tool_call_argument_begin|>",
    after_arguments="",
    between="",
    heads=(
        (
            _NAME,
            r"(?::\d*)?",
            _SPACE,
            *spelled("<|tool_call_argument_begin|>"),
        ),
    ),
    call_id=lambda name, number: f"functions.{name}:{number}",
)


class SectionFormat(ToolFormat):
    """Calls in a section of their own."""

    def __init__(self, name: str, section: Section) -> None:
        """`name` is what the format is called in settings and messages."""
        self.name = name
        self._section = section
        self.call_id = section.call_id

    def call_rules(self, tools: Sequence[Tool], *, single: bool) -> Iterator[str]:
        """Yields the rules of a section with calls; Kimi numbers them, from wherever the model goes on."""
        tags = self._section
        number = r"/:\d{1,3}/" if tags.call_id else '""'
        for at, tool in enumerate(tools):
            head = literal(tags.call + tags.before_name + tool.name)
            end = literal(tags.after_arguments + tags.call_end)
            yield f"call_{at}: {head} {number} {literal(tags.after_name)} {arguments_rule(tool)} {end}"
        yield f"call: {' | '.join(f'call_{at}' for at in range(len(tools)))}"
        again = f"{literal(tags.between)} call"
        yield f"calls: {literal(tags.section)} call {further(again, single=single)} {literal(tags.section_end)}"

    def reader(self, functions: Mapping[str, dict[str, Any]], new_id: Callable[[], str]) -> CallReader:
        """Returns a reader that takes any name: what stands in a section is meant to be a call."""
        return _Reader(functions, new_id, self._section)


class _Reader(CallReader):
    def __init__(self, functions: Mapping[str, dict[str, Any]], new_id: Callable[[], str], tags: Section) -> None:
        super().__init__(functions, new_id)
        self._tags = tags
        self._heads = [Syntax(_SPACE, *head, _SPACE, r"(?=\{)") for head in tags.heads]
        # A function without parameters may get nothing.
        end = (_SPACE, *spelled(tags.call_end))
        self._heads_of_none = [Syntax(_SPACE, *head, _SPACE, *none, *end) for head in tags.heads for none in _NOTHING]
        code = [(_SPACE, *spelled("```")), ()] if tags.after_arguments or tags is DEEPSEEK else [()]
        self._call_ends = [Syntax(*fence, *end) for fence in code]
        self._call = Syntax(_SPACE, *spelled(tags.call))
        self._section_end = Syntax(_SPACE, *spelled(tags.section_end))

    def _content(self, out: ParsedText) -> bool:
        tags = (self._tags.section, self._tags.call)
        found = [(at, tag) for tag in tags if (at := self._text.find(tag)) >= 0]
        if not found:
            return self._add_decided(out, *tags)
        at, tag = min(found)
        words = self._text[:at].rstrip()
        add_content(out, words, len(self._text))
        end = at + len(tag)
        self._before, self._text = self._text[len(words) : end], self._text[end:]
        # A model may forget the section.
        self._state = self._opened if tag == self._tags.call else self._in_section
        return True

    def _in_section(self, out: ParsedText) -> bool:
        """Before the tag of a call."""
        if match := self._call.match(self._text):
            self._before += match[0]
            self._text = self._text[match.end() :]
            self._state = self._opened
            return True
        return not self._call.begins(self._text) and self._release(out)

    def _opened(self, out: ParsedText) -> bool:
        """Behind the tag of a call."""
        for head in self._heads:
            if match := head.match(self._text):
                return self._begin(out, match, self._name(match), then=self._end_of_call)
        for head in self._heads_of_none:
            if match := head.match(self._text):
                self._add_call(out, self._name(match), "{}")
                self._text = self._text[match.end() :]
                self._state = self._after_object
                return True
        if any(head.begins(self._text) for head in (*self._heads, *self._heads_of_none)):
            return False
        return self._release(out)

    def _name(self, match: re.Match[str]) -> str:
        name: str = match[match.lastindex or 0]
        return name.removeprefix(self._tags.before_name)

    def _end_of_call(self, out: ParsedText) -> bool:  # noqa: ARG002 - every state has this signature
        """Behind the arguments, where a model may forget to close the call."""
        for end in self._call_ends:
            if match := end.match(self._text):
                self._text = self._text[match.end() :]
                self._state = self._after_object
                return True
        if any(end.begins(self._text) for end in self._call_ends):
            return False
        self._state = self._after_object
        return True

    def _after_object(self, out: ParsedText) -> bool:
        """Between two calls, or at the end of the section."""
        if match := self._section_end.match(self._text):
            self._text = self._text[match.end() :]
            return self._resume_content(out)
        if self._call.match(self._text):
            return self._in_section(out)
        if self._section_end.begins(self._text) or self._call.begins(self._text):
            return False
        return self._resume_content(out)

    def _is_gap(self, text: str) -> bool:
        # The beginning of a closing tag belongs to its call.
        if super()._is_gap(text):
            return True
        if self._state == self._end_of_call and any(end.begins(text) for end in self._call_ends):
            return True
        return self._state in (self._end_of_call, self._after_object) and self._section_end.begins(text)

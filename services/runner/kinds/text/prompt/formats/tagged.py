"""Qwen3-Coder and GLM: calls between tags, in which each argument stands as plain text between tags of its own.

Qwen3-Coder, Qwen 3.5 and later (https://huggingface.co/Qwen/Qwen3-Coder-30B-A3B-Instruct, chat_template.jinja), GLM-4.5
and later (https://huggingface.co/zai-org/GLM-4.6, chat_template.jinja). A call is passed on when all of it has come:
what it means is known only then.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.common.json_schema.checking import SchemaError
from services.runner.kinds.text.prompt.formats.base import CallReader, ToolFormat
from services.runner.kinds.text.prompt.formats.rules import further, literal, text_before_calls
from services.runner.kinds.text.prompt.formats.syntax import Syntax, spelled
from services.runner.kinds.text.prompt.formats.value_rules import (
    ValueRules,
    carried_parameters,
    further_name,
    names_of,
    shared_rules,
    takes_any,
)
from services.runner.kinds.text.prompt.formats.values import Parameters
from services.runner.kinds.text.prompt.output import ParsedText
from services.runner.kinds.text.prompt.tools import Tool

OPEN, CLOSE = "<tool_call>", "</tool_call>"
_SPACE = r"\s*"


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of one family; `{}` in them is the name of the function or parameter."""

    # What begins a call, and what ends it before `CLOSE`.
    call: str
    call_end: str
    parameter: str
    value_end: str
    # What stands between a value and its tags without being part of it, and between an argument and the next tag.
    pad: str
    gap: str
    # Each with the name as its group.
    call_syntax: Syntax
    parameter_syntax: Syntax


QWEN3_CODER = Tags(
    call="\n<function={}>\n",
    call_end="</function>",
    parameter="<parameter={}>",
    value_end="</parameter>",
    pad="\n",
    gap="\n",
    call_syntax=Syntax(_SPACE, *spelled("<function="), r"([^<>\n]+)", ">"),
    parameter_syntax=Syntax(_SPACE, *spelled("<parameter="), r"([^<>\n]+)", ">"),
)
GLM = Tags(
    call="{}\n",
    call_end="",
    parameter="<arg_key>{}</arg_key>\n<arg_value>",
    value_end="</arg_value>",
    pad="",
    gap="\n",
    call_syntax=Syntax(_SPACE, r"([A-Za-z0-9_.-]+)", _SPACE, "(?=<)"),
    parameter_syntax=Syntax(
        _SPACE, *spelled("<arg_key>"), r"([^<>]+)", *spelled("</arg_key>"), _SPACE, *spelled("<arg_value>")
    ),
)


class TaggedFormat(ToolFormat):
    """Calls between tags, anywhere in the text, with arguments as text between tags."""

    def __init__(self, name: str, tags: Tags) -> None:
        """`name` is what the format is called in settings and messages."""
        self.name = name
        self._tags = tags

    def call_rules(self, tools: Sequence[Tool], *, single: bool) -> Iterator[str]:
        """Yields the rules of calls without text between them; raises SchemaError for what text cannot carry."""
        yield from self._body_rules(tools)
        again = literal("\n" + OPEN) + " body"
        yield f"calls: {literal(OPEN)} body {further(again, single=single)}"

    def auto_rules(self, tools: Sequence[Tool], *, single: bool) -> Iterator[str]:
        """Yields the rules of text in which a tag, once it is there, begins a call."""
        yield from self._body_rules(tools)
        yield from text_before_calls(OPEN, single=single)

    def reader(self, functions: Mapping[str, dict[str, Any]], new_id: Callable[[], str]) -> CallReader:
        """Returns a reader that takes any name: what stands between the tags is meant to be a call."""
        return _Reader(functions, new_id, self._tags)

    def _body_rules(self, tools: Sequence[Tool]) -> Iterator[str]:
        known: dict[str, str] = {}
        for number, tool in enumerate(tools):
            yield from self._function_rules(f"call_{number}", tool, known)
        yield f"body: {' | '.join(f'call_{number}' for number in range(len(tools)))}"

    def _function_rules(self, rule: str, tool: Tool, known: dict[str, str]) -> Iterator[str]:
        """Yields the rules of one function; `known` are the rules of values so far, by what they say."""
        tags = self._tags
        parameters = carried_parameters(tool)
        values = ValueRules(parameters, pad=tags.pad, close=tags.value_end)
        parts = [literal(tags.call.format(tool.name))]
        for number, (name, required) in enumerate(names_of(parameters)):
            if not re.fullmatch(r"[^<>\n]+", name):
                raise SchemaError(f"the name of a parameter of the function '{tool.name}' cannot stand in a tag")
            value = yield from shared_rules(f"{rule}_{number}", values.rules(f"{rule}_{number}", name), known)
            opening = literal(tags.parameter.format(name) + tags.pad)
            parts.append(f"({opening} {value} {literal(tags.gap)})" + ("" if required else "?"))
        if takes_any(parameters):
            # Any other parameter may follow.
            terminal = f"{rule}_name".upper()
            yield further_name(terminal, parameters)
            yield values.free(f"{rule}_any")
            before, after = tags.parameter.split("{}")
            opening = f"{literal(before)} {terminal} {literal(after + tags.pad)}"
            parts.append(f"({opening} {rule}_any {literal(tags.gap)}){{0,64}}")
        end = f"{tags.call_end}\n{CLOSE}" if tags.call_end else CLOSE
        yield f"{rule}: {' '.join(parts)} {literal(end)}"


class _Reader(CallReader):
    marker = OPEN

    def __init__(self, functions: Mapping[str, dict[str, Any]], new_id: Callable[[], str], tags: Tags) -> None:
        super().__init__(functions, new_id)
        self._tags = tags
        self._call_end = Syntax(_SPACE, *spelled(tags.call_end or CLOSE))
        self._close = Syntax(_SPACE, *spelled(CLOSE))
        self._name = self._parameter = ""
        self._arguments_read: dict[str, Any] = {}

    def _opened(self, out: ParsedText) -> bool:
        if head := self._tags.call_syntax.match(self._text):
            self._name, self._arguments_read = head[1], {}
            self._take(head.end())
            self._state = self._member
            return True
        return not self._tags.call_syntax.begins(self._text) and self._release(out)

    def _take(self, end: int) -> None:
        """Takes what belongs to a call if one comes of it."""
        self._before += self._text[:end]
        self._text = self._text[end:]

    def _member(self, out: ParsedText) -> bool:
        """Before an argument, or the end of the call."""
        if end := self._call_end.match(self._text):
            if not (self._tags.call_end or self._arguments_read or self._name in self._functions):
                # One word between two tags, as in a text about them.
                return self._release(out)
            arguments = json.dumps(self._arguments_read, ensure_ascii=False).encode(errors="replace").decode()
            self._add_call(out, self._name, arguments)
            self._text = self._text[end.end() :]
            self._state = self._after_object if self._tags.call_end else self._content
            return True
        if opening := self._tags.parameter_syntax.match(self._text):
            self._parameter = opening[1]
            self._take(opening.end())
            self._state, self._looked_at = self._value, 0
            return True
        return not self._may_go_on(0) and self._release(out)

    def _value(self, out: ParsedText) -> bool:  # noqa: ARG002 - every state has this signature
        """In a value, up to a closing tag that an argument or the end follows: the tag may stand in the value too."""
        close = self._tags.value_end
        at = self._text.find(close, self._looked_at)
        if at < 0:
            self._looked_at = max(0, len(self._text) - len(close) + 1)
            return False
        after = at + len(close)
        if self._call_end.match(self._text, after) or self._tags.parameter_syntax.match(self._text, after):
            pad = self._tags.pad
            value = self._text[:at].removeprefix(pad).removesuffix(pad) if at else ""
            parameters = Parameters(self._functions.get(self._name, {}))
            self._arguments_read[self._parameter] = parameters.read(self._parameter, value)
            self._take(after)
            self._state = self._member
            return True
        if self._may_go_on(after):
            self._looked_at = at
            return False
        self._looked_at = after
        return True

    def _may_go_on(self, at: int) -> bool:
        """Whether an argument or the end of the call may begin there."""
        return self._call_end.begins(self._text, at) or self._tags.parameter_syntax.begins(self._text, at)

    def _after_object(self, out: ParsedText) -> bool:
        """Before the tag that closes the call, which a model may forget or put several calls before."""
        if close := self._close.match(self._text):
            self._text = self._text[close.end() :]
            return self._resume_content(out)
        if self._tags.call_syntax.match(self._text):
            return self._opened(out)
        if self._close.begins(self._text) or self._tags.call_syntax.begins(self._text):
            return False
        return self._resume_content(out)

    def _is_gap(self, text: str) -> bool:
        # The beginning of a closing tag belongs to its call.
        return super()._is_gap(text) or (self._state == self._after_object and self._close.begins(text))

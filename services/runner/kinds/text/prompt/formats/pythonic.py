"""Llama 4 and Gemma 3 as some templates ask them to: `[name(key=value, …), …]` as the whole answer, as in Python.

https://www.llama.com/docs/model-cards-and-prompt-formats/llama4/ and the templates of vLLM for both models describe it.
As such a list looks like any other one, only the name of a function on offer makes it one of calls. A call is passed on
when all of the list has come: what it means is known only then.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from services.common.json_schema.checking import SchemaError
from services.runner.kinds.text.prompt.formats.base import CallReader, ToolFormat
from services.runner.kinds.text.prompt.formats.rules import further, literal
from services.runner.kinds.text.prompt.formats.syntax import Syntax, spelled
from services.runner.kinds.text.prompt.formats.value_rules import (
    carried_parameters,
    further_name,
    json_of,
    names_of,
    shared_rules,
    takes_any,
)
from services.runner.kinds.text.prompt.formats.values import Parameters
from services.runner.kinds.text.prompt.output import ParsedText
from services.runner.kinds.text.prompt.tools import Tool

OPEN, CLOSE = "<|python_start|>", "<|python_end|>"
_SPACE = r"\s*"
_NAME = "[A-Za-z_][A-Za-z0-9_.-]*"
_LIST = Syntax(_SPACE, r"\[", _SPACE, f"({_NAME})", _SPACE, r"\(")
_CALL = re.compile(rf"\s*({_NAME})\s*\((.*)\)\s*", re.DOTALL)
_ARGUMENT = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)", re.DOTALL)


class PythonicFormat(ToolFormat):
    """Calls in a list instead of text."""

    name = "pythonic"

    def call_rules(self, tools: Sequence[Tool], *, single: bool) -> Iterator[str]:
        """Yields the rules of one list; raises SchemaError for what it cannot carry."""
        known: dict[str, str] = {}
        for number, tool in enumerate(tools):
            yield from _function_rules(f"call_{number}", tool, known)
        yield f"call: {' | '.join(f'call_{number}' for number in range(len(tools)))}"
        again = '", " call'
        yield f'calls: "[" call {further(again, single=single)} "]"'

    def reader(self, functions: Mapping[str, dict[str, Any]], new_id: Callable[[], str]) -> CallReader:
        """Returns a reader for which only `functions` can be called."""
        return _Reader(functions, new_id)


def _function_rules(rule: str, tool: Tool, known: dict[str, str]) -> Iterator[str]:
    """Yields rules, of which `rule` is a call with its arguments in the order of the schema.

    `known` are the rules of values so far, by what they say.
    """
    parameters = carried_parameters(tool)
    ones: list[tuple[str, bool]] = []
    for number, (name, required) in enumerate(names_of(parameters)):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise SchemaError(f"a parameter of the function '{tool.name}' cannot be called '{name}'")
        value = f"{rule}_{number}"
        value = yield from shared_rules(value, [f"{value}: {json_of(parameters, parameters.of(name))}"], known)
        ones.append((f"{literal(name + '=')} {value}", required))
    further_ones = '""'
    if takes_any(parameters):
        terminal = f"{rule}_name".upper()
        yield further_name(terminal, parameters)
        yield f'{rule}_any: {terminal} "=" {json_of(parameters, {})}'
        further_ones = f'(", " {rule}_any){{0,64}}'
    # Up to the first that is required, `first_N` are the arguments from the N-th on if none stands before them, and
    # `more_N` if some do.
    free = next((at for at, (_, required) in enumerate(ones) if required), len(ones))
    for number, (one, _) in enumerate(ones[:free]):
        yield f"{rule}_first_{number}: {one} {rule}_more_{number + 1} | {rule}_first_{number + 1}"
        yield f'{rule}_more_{number}: (", " {one})? {rule}_more_{number + 1}'
    rest = " ".join([*(f'(", " {one})' + ("" if required else "?") for one, required in ones[free:]), further_ones])
    yield f"{rule}_more_{free}: {rest}"
    if free < len(ones):
        yield f"{rule}_first_{free}: {rest}".replace('(", " ', "(", 1)
    elif takes_any(parameters):
        yield f"{rule}_first_{free}: ({rule}_any {further_ones})?"
    else:
        yield f'{rule}_first_{free}: ""'
    yield f'{rule}: {literal(tool.name + "(")} {rule}_first_0 ")"'


class _Brackets:
    """Follows the brackets and strings of Python in text that comes in pieces."""

    def __init__(self) -> None:
        self.depth = 0
        self._quote = ""
        self._escaped = False

    def take(self, character: str) -> None:
        """Takes the next character."""
        if self._escaped:
            self._escaped = False
        elif self._quote:
            self._escaped = character == "\\"
            self._quote = "" if character == self._quote else self._quote
        elif character in "\"'":
            self._quote = character
        elif character in "[({":
            self.depth += 1
        elif character in "])}":
            self.depth -= 1

    @property
    def outside(self) -> bool:
        """Whether the next character is in no bracket and no string."""
        return self.depth <= 0 and not self._quote


class _Reader(CallReader):
    marker = OPEN

    def __init__(self, functions: Mapping[str, dict[str, Any]], new_id: Callable[[], str]) -> None:
        super().__init__(functions, new_id)
        self._state = self._opened
        self._brackets = _Brackets()
        self._close = Syntax(_SPACE, *spelled(CLOSE))

    def _opened(self, out: ParsedText) -> bool:
        text = self._text.lstrip()
        if text.startswith(OPEN) and not self._before.endswith(OPEN):
            self._before += self._text.removesuffix(text) + OPEN
            self._text = text.removeprefix(OPEN)
            return True
        head = _LIST.match(self._text)
        if head and head[1] in self._functions:
            self._before += self._text.removesuffix(text)
            self._text = text
            self._brackets, self._looked_at = _Brackets(), 0
            self._state = self._list
            return True
        if not head and (_LIST.begins(self._text) or OPEN.startswith(text)):
            return False
        return self._release(out)

    def _list(self, out: ParsedText) -> bool:
        """In the list, up to its last bracket."""
        for at in range(self._looked_at, len(self._text)):
            self._brackets.take(self._text[at])
            if self._brackets.outside:
                return self._add_calls(out, at + 1)
        self._looked_at = len(self._text)
        return False

    def _add_calls(self, out: ParsedText, end: int) -> bool:
        try:
            calls = [self._read(call) for call in _parts(self._text[1 : end - 1])]
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return self._release(out)
        for name, arguments in calls:
            self._add_call(out, name, arguments)
        self._text = self._text[end:]
        self._state = self._after_object
        return True

    def _read(self, call: str) -> tuple[str, str]:
        """Returns the name and arguments of a call; raises ValueError if the text is none."""
        found = _CALL.fullmatch(call)
        if found is None:
            raise ValueError("no call")
        parameters = Parameters(self._functions.get(found[1], {}))
        arguments = {}
        for part in _parts(found[2]) if found[2].strip() else ():
            argument = _ARGUMENT.fullmatch(part)
            if argument is None:
                raise ValueError("no argument")
            value = _value(argument[2].strip())
            # Some templates show every earlier argument as a string.
            typed = parameters.read(argument[1], value) if isinstance(value, str) else value
            arguments[argument[1]] = typed
        written = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
        return found[1], written.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _after_object(self, out: ParsedText) -> bool:
        """After the list."""
        if close := self._close.match(self._text):
            self._text = self._text[close.end() :]
            return self._resume_content(out)
        return not self._close.begins(self._text) and self._resume_content(out)

    def _is_gap(self, text: str) -> bool:
        # The beginning of a closing tag belongs to its call.
        return super()._is_gap(text) or (self._state == self._after_object and self._close.begins(text))


def _parts(text: str) -> list[str]:
    """Returns what stands between the commas that are in no bracket and no string."""
    brackets, parts, start = _Brackets(), [], 0
    for at, character in enumerate(text):
        if character == "," and brackets.outside:
            parts.append(text[start:at])
            start = at + 1
        else:
            brackets.take(character)
    return [*parts, text[start:]]


def _value(text: str) -> Any:
    """Returns the value of a literal of JSON or Python; raises ValueError or SyntaxError if it is none."""
    try:
        return json.loads(text, strict=False)
    except ValueError:
        return ast.literal_eval(text)

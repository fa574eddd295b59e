"""Pieces of llguidance's Lark grammars that the formats share.

The syntax is documented at https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from services.common.json_schema.enforced import enforced_form
from services.runner.kinds.text.prompt.thought import Thought
from services.runner.kinds.text.prompt.tools import Tool

# Small models never stop calling by themselves, so the number of parallel calls is bounded.
MOST_CALLS = 8
# One fixed form of white space, the one that models are trained on: with free white space small models never end.
_JSON_FORM = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def json_rule(schema: dict[str, Any]) -> str:
    """Returns the expression for a JSON value of a schema; each stays a root, so that its references hold."""
    return "%json " + json.dumps({**enforced_form(schema), "x-guidance": _JSON_FORM}, ensure_ascii=False)


def arguments_rule(tool: Tool) -> str:
    """Returns the expression for the arguments of a function, as JSON."""
    if tool.arguments_grammar:
        return f"%lark {{\n{tool.arguments_grammar}\n}}"
    return json_rule(tool.parameters)


def literal(text: str) -> str:
    """Returns the expression for exactly this text."""
    return json.dumps(text, ensure_ascii=False)


def one_of(texts: Iterable[str]) -> str:
    """Returns the expression for exactly one of these texts, which compiles faster than as many literals."""
    return f"/({'|'.join(map(_pattern, texts))})/"


def _pattern(text: str) -> str:
    return re.sub(r"[\\.+*?()|\[\]{}^$#&~/-]", r"\\\g<0>", text).replace("\n", r"\n")


def object_rules(tools: Sequence[Tool], key: str) -> Iterator[str]:
    """Yields rules, of which `object` is a call `{"name": …, KEY: …}` and `call_N` what follows `{"name": ` in it."""
    for number, tool in enumerate(tools):
        head = f'{json.dumps(tool.name)}, "{key}": '
        yield f"call_{number}: {literal(head)} {arguments_rule(tool)}"
    start, names = literal('{"name": '), " | ".join(f"call_{number}" for number in range(len(tools)))
    yield f'object: {start} ({names}) "}}"'


def further(rule: str, *, single: bool) -> str:
    """Returns the expression for the calls after the first."""
    return "" if single else f"({rule}){{0,{MOST_CALLS - 1}}}"


def text_before_calls(tag: str, *, single: bool) -> Iterator[str]:
    """Yields the rules of `auto`: text in which a tag, once it is there, begins a `body`.

    The tag ends a lazy lexeme, and the last text is any but one with a tag: so there is no other way on.
    """
    yield f"auto: (opened body {further('opened body', single=single)})? REST"
    yield f"opened[lazy]: TEXT {literal(tag)}"
    yield "TEXT: /(?s:.)*/"
    yield f"REST: TEXT & ~/(?s:.)*{tag}(?s:.)*/"


def thought_rules(thought: Thought | None) -> tuple[str, list[str]]:
    """Returns the expression for a thought between tags, and its rules; nothing if there is none."""
    if thought is None:
        return "", []
    before = r"thought /\s{0,2}/ " if thought.opened else f"({literal(thought.tags.open)} thought /\\s{{0,2}}/)? "
    if thought.longest is None:
        return before, [f"thought[suffix={literal(thought.tags.close)}]: /(?s:.)*/"]
    return before, [rf"thought: /[^<\n]{{1,{thought.longest}}}/ " + literal(f"\n{thought.tags.close}\n\n")]

"""Grammars for answers with a required shape: JSON by schema, and forced function calls, in llguidance's Lark syntax.

The syntax is documented at https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md. Engines take a grammar
as it is, and some ignore a bad one silently, so every grammar is compiled here first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from typing import Any

import llguidance

from services.common.errors import Code, MeshError
from services.runner.prompt.tools import Mode, Tool, Toolbox

# Compiling takes about 5 µs a byte on the event loop, so larger grammars are refused.
LARGEST_GRAMMAR = 32 * 1024
# Small models never stop calling by themselves, so the number of parallel calls is bounded.
MOST_CALLS = 8
# One fixed form of white space, the one that models are trained on: with free white space small models never end.
_JSON_FORM = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_ANY_OBJECT: dict[str, Any] = {"type": "object"}
_THOUGHT = '[suffix="</think>"]: /(?s:.)*/'


def answer_grammar(
    schema: dict[str, Any] | None, toolbox: Toolbox, *, thinks: bool = False, opened: bool = False
) -> str:
    """Returns the grammar of an answer, or "" if it may be any text.

    `schema` constrains the content, if given; with tools in AUTO mode the answer may be calls instead. A model that
    `thinks` may do so first; `opened` says that the prompt has opened the thought already. Raises MeshError
    INVALID_REQUEST, with the reason, for what cannot be compiled.
    """
    forced = toolbox.mode is Mode.REQUIRED and toolbox.callable
    if schema is None and not forced:
        return ""
    rules = []
    alternatives = []
    if schema is not None and not forced:
        alternatives.append("content")
        rules.append(f"content: {_json_rule(schema)}")
    if toolbox.callable:
        alternatives.append("calls")
        rules += _call_rules(toolbox.required if forced else toolbox.tools, single=toolbox.single)
    thought = ""
    if thinks:
        thought = r"thought /\s{0,2}/ " if opened else r'("<think>" thought /\s{0,2}/)? '
        rules.append(f"thought{_THOUGHT}")
    lines = ["%llguidance {}", f"start: {thought}({' | '.join(alternatives)})", *rules]
    grammar = "\n".join(lines) + "\n"
    _check(grammar, "tools" if forced else "response_format")
    return grammar


def any_object() -> dict[str, Any]:
    """Returns the schema of OpenAI's `json_object` response format."""
    return dict(_ANY_OBJECT)


def _call_rules(tools: Iterable[Tool], *, single: bool) -> Iterator[str]:
    """Yields rules for calls in the Hermes format; each tool's schema stays a root, so that its references hold."""
    names = []
    for number, tool in enumerate(tools):
        names.append(f"call_{number}")
        head = json.dumps(f'{json.dumps(tool.name)}, "arguments": ', ensure_ascii=False)
        yield f"call_{number}: {head} {_json_rule(tool.parameters)}"
    yield rf'call: "<tool_call>\n{{\"name\": " ({" | ".join(names)}) "}}\n</tool_call>"'
    yield "calls: call" if single else rf'calls: call ("\n" call){{0,{MOST_CALLS - 1}}}'


def _json_rule(schema: dict[str, Any]) -> str:
    return "%json " + json.dumps({**schema, "x-guidance": _JSON_FORM}, ensure_ascii=False)


def _check(grammar: str, param: str) -> None:
    if len(grammar) > LARGEST_GRAMMAR:
        message = f"the schema is too large: {len(grammar)} characters, of which at most {LARGEST_GRAMMAR} are allowed"
        raise MeshError(Code.INVALID_REQUEST, message, param=param)
    if reason := grammar_error(grammar):
        raise MeshError(Code.INVALID_REQUEST, f"the schema cannot be enforced: {reason}", param=param)


@lru_cache(maxsize=256)
def grammar_error(grammar: str) -> str:
    """Returns why llguidance cannot compile a grammar, in a few words, or "" if it can."""
    matcher = llguidance.LLMatcher(_byte_tokenizer(), grammar, log_level=0)
    error: str = matcher.get_error()
    # The first line says what is wrong; the others quote the grammar.
    first = error.split("\n", maxsplit=1)[0]
    return first.split("failed to compile JSON schema: ")[-1][:200]


class _Bytes:
    """The simplest vocabulary: one token for each byte, and an end. What compiles for it compiles for any other."""

    eos_token_id = 256
    bos_token_id = None
    special_token_ids = (256,)
    tokens = (*(bytes([value]) for value in range(256)), b"<end>")

    def __call__(self, text: bytes | str) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)


@cache
def _byte_tokenizer() -> llguidance.LLTokenizer:
    return llguidance.LLTokenizer(llguidance.TokenizerWrapper(_Bytes()))

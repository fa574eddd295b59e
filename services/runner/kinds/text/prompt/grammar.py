"""Grammars for answers with a required shape: JSON by schema, function calls and bounded thoughts.

Engines take an llguidance grammar as it is, and some ignore a bad one silently, so every grammar is compiled here
first, on the event loop: `check_schema` and the limits below keep that to a few milliseconds.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any

import llguidance

from services.common.json_schema.arguments import arguments_schema
from services.common.json_schema.checking import LARGEST_SCHEMAS, SchemaError, check_schema, check_size
from services.runner.kinds.text.prompt.formats import FORMATS, ToolFormat
from services.runner.kinds.text.prompt.formats.rules import json_rule
from services.runner.kinds.text.prompt.thought import Thought
from services.runner.kinds.text.prompt.tools import Mode, Tool, Toolbox
from services.runner.refusals import not_carried, not_compiled, unchecked

# Characters of a whole grammar, so of all functions together.
LARGEST_GRAMMAR = LARGEST_SCHEMAS
# Half of what engines allow while they generate, where a grammar that turns out too costly could only be dropped.
LIMITS = llguidance.LLParserLimits(max_items_in_row=1000, step_max_items=25_000, verbose_errors=False)
_ANY_OBJECT: dict[str, Any] = {"type": "object"}


def answer_grammar(
    schema: dict[str, Any] | None,
    toolbox: Toolbox,
    *,
    thought: Thought | None = None,
    tool_format: ToolFormat = FORMATS["hermes"],
) -> str:
    """Returns the grammar of an answer, or "" if it may be any text.

    `schema` constrains the content, if given. Forced calls always follow the schemas of their functions. In AUTO mode
    the answer is content or calls; the arguments of a strict function follow its schema then too, and `single` holds,
    if the tool format can say so (Hermes and Llama can). `thought` comes first. Raises MeshError INVALID_REQUEST, with
    the reason, for what cannot be compiled.
    """
    forced = toolbox.mode is Mode.REQUIRED and toolbox.callable
    try:
        if forced:
            answer, rules = "calls", _forced_rules(toolbox, tool_format)
        elif schema is not None:
            answer, rules = _content_rules(schema, toolbox, tool_format)
        else:
            answer, rules = _auto_rules(toolbox, tool_format)
    except SchemaError as error:
        raise not_carried("tools", str(error)) from None
    if not rules:
        if thought is None or thought.longest is None:
            return ""
        # Such a model may take its thought for the answer and end there.
        answer, rules = "text", [r"text: /\S(?s:.)*/"]
    before, thought_rules = tool_format.before(thought)
    lines = ["%llguidance {}", f"start: {before}({answer})", *rules, *thought_rules]
    grammar = "\n".join(lines) + "\n"
    _check(grammar, "tools" if schema is None or forced else "response_format")
    return grammar


def shaped_by(grammar: str) -> str:
    """Returns the request field that a grammar of `answer_grammar` enforces: `response_format` or `tools`."""
    return "tools" if "\ncalls: " in grammar and "\ncontent: " not in grammar else "response_format"


def any_object() -> dict[str, Any]:
    """Returns the schema of OpenAI's `json_object` response format."""
    return dict(_ANY_OBJECT)


def _forced_rules(toolbox: Toolbox, tool_format: ToolFormat) -> list[str]:
    tools = [_enforced(tool) for tool in toolbox.required]
    return list(tool_format.call_rules(tools, single=toolbox.single))


def _content_rules(schema: dict[str, Any], toolbox: Toolbox, tool_format: ToolFormat) -> tuple[str, list[str]]:
    try:
        check_schema(schema)
    except SchemaError:
        raise unchecked("response_format") from None
    rules = [f"content: {json_rule(schema)}"]
    if not toolbox.callable:
        return tool_format.content("content"), rules
    return f"{tool_format.content('content')} | calls", [
        *rules,
        *tool_format.call_rules(_enforceable(toolbox), single=toolbox.single),
    ]


def _auto_rules(toolbox: Toolbox, tool_format: ToolFormat) -> tuple[str, list[str]]:
    """Returns rules only if there is something to enforce: a model that may say anything is quicker without."""
    if not toolbox.callable or not (toolbox.single or any(tool.enforced for tool in toolbox.tools)):
        return "auto", []
    rules = list(tool_format.auto_rules(_enforceable(toolbox), single=toolbox.single))
    if not rules and (bound := next((tool for tool in toolbox.tools if tool.arguments_grammar), None)):
        raise SchemaError(
            f"its format of calls can be held to the grammar of the tool '{bound.name}' only where a call is forced"
        )
    return "auto", rules


def _enforceable(toolbox: Toolbox) -> list[Tool]:
    """Returns the functions with what their arguments must follow: those that are not strict, any object."""
    return [_enforced(tool) if tool.enforced else Tool(tool.name, tool.description) for tool in toolbox.tools]


def _enforced(tool: Tool) -> Tool:
    """Returns a function whose schema admits only what arguments can be."""
    if tool.arguments_grammar:
        return tool
    try:
        check_schema(tool.parameters)
        return replace(tool, parameters=arguments_schema(tool.parameters))
    except SchemaError:
        raise unchecked("tools") from None


def check_offer(toolbox: Toolbox) -> None:
    """Raises MeshError INVALID_REQUEST for functions whose schemas are too large or deep even to be shown."""
    for tool in toolbox.tools:
        try:
            check_size(tool.parameters)
        except SchemaError:
            raise unchecked("tools") from None


def _check(grammar: str, param: str) -> None:
    if len(grammar) > LARGEST_GRAMMAR:
        raise not_compiled(param, f"the grammar has {len(grammar)} characters; at most {LARGEST_GRAMMAR} are allowed")
    if reason := grammar_error(grammar):
        raise not_compiled(param, reason)


@lru_cache(maxsize=256)
def grammar_error(grammar: str) -> str:
    """Returns why llguidance cannot compile a grammar, in a few words, or "" if it can."""
    matcher = llguidance.LLMatcher(byte_tokenizer(), grammar, log_level=0, limits=LIMITS)
    if not matcher.get_error():
        # What can come first is often as costly as it gets.
        matcher.compute_bitmask()
    return in_few_words(matcher.get_error())


# How the compiler writes the pattern that it is about.
_PATTERN = re.compile(r":?\s+\((?:And|Or|Not|Regex|SearchRegex|Literal|Concat)\b")

_NAME = re.compile(r"\b(property|Pointer) '[^']*'")


def in_few_words(error: str) -> str:
    """Returns what an error of the compiler says about a schema, without quoting it."""
    # The first line says what is wrong; the others quote the grammar. Of a pattern, a later one says it.
    lines = error.split("\n")
    first = " ".join([lines[0], *(line.removeprefix("error: ") for line in lines[1:] if line.startswith("error: "))])
    reason = _PATTERN.split(first.split("failed to compile JSON schema: ")[-1])[0][:200]
    if reason.startswith("NoExtension"):
        return "it finds no text that follows this schema"
    if reason.startswith("oneOf"):
        return "the alternatives of a 'oneOf' cannot be told apart; use 'anyOf'"
    # Names of properties are the client's.
    return _NAME.sub(r"\1", reason)


class _Bytes:
    """The simplest vocabulary: one token for each byte, an end, and the control tokens that rules name.

    What compiles for it compiles for any other that has these.
    """

    eos_token_id = 256
    bos_token_id = None
    controls = tuple(dict.fromkeys(token for known in FORMATS.values() for token in known.control_tokens))
    special_token_ids = tuple(range(256, 257 + len(controls)))
    tokens = (*(bytes([value]) for value in range(256)), b"<end>", *(token.encode() for token in controls))

    def __call__(self, text: bytes | str) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)


@cache
def byte_tokenizer() -> llguidance.LLTokenizer:
    """Returns the tokenizer of that vocabulary, whose ids are the bytes."""
    return llguidance.LLTokenizer(llguidance.TokenizerWrapper(_Bytes()))

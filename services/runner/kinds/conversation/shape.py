"""Whether an answer has the shape that was asked for: a server may not know how to keep it, and not say so."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import llguidance

from services.runner.kinds.conversation.job import ConversationJob
from services.runner.kinds.text.prompt.grammar import LIMITS
from services.runner.kinds.text.prompt.tools import Mode
from services.runner.refusals import shape_lost


def check_beginning(job: ConversationJob, *, called: bool) -> None:
    """Raises MeshError CANCELLED if an answer, however it ended, has not even begun as its job asks for."""
    if job.toolbox.mode is Mode.REQUIRED and not called:
        raise shape_lost()


def check_answer(job: ConversationJob, content: str, calls: Sequence[tuple[str, str]]) -> None:
    """Raises MeshError CANCELLED if a whole answer has another shape than its job asks for.

    `calls` are the names and the arguments, as JSON text, of the functions that it calls.
    """
    toolbox = job.toolbox
    offered = {tool.name: tool for tool in (toolbox.required or toolbox.tools)} if toolbox.callable else {}
    forced = toolbox.mode is Mode.REQUIRED
    if toolbox.single and len(calls) > 1:
        raise shape_lost()
    for name, arguments in calls:
        tool = offered.get(name)
        if tool is None or not _is_object(arguments):
            raise shape_lost()
        if (forced or tool.strict) and not _follows(arguments, tool.parameters):
            raise shape_lost()
    if job.schema is not None and not calls and not _follows(content, job.schema):
        raise shape_lost()


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _follows(text: str, schema: Mapping[str, Any]) -> bool:
    """Returns whether a text is JSON that satisfies a schema; the order of properties does not matter."""
    try:
        value = json.loads(text)
        ordered = json.dumps(_in_order(value, schema), ensure_ascii=False)
    except (ValueError, RecursionError):
        return False
    grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema))
    matcher = llguidance.LLMatcher(_tokenizer(), grammar, log_level=0, limits=LIMITS)
    data = list(ordered.encode("utf-8", "surrogatepass"))
    return bool(matcher.validate_tokens(data) == len(data) and matcher.consume_tokens(data) and matcher.is_accepting())


def _in_order(value: Any, schema: Any) -> Any:
    """Returns a value whose properties have the order of the schema, which grammars insist on."""
    if not isinstance(schema, Mapping):
        return value
    if isinstance(value, list):
        return [_in_order(each, schema.get("items")) for each in value]
    properties = schema.get("properties")
    if not isinstance(value, dict) or not isinstance(properties, Mapping):
        return value
    names = [*(name for name in properties if name in value), *(name for name in value if name not in properties)]
    return {name: _in_order(value[name], properties.get(name)) for name in names}


@cache
def _tokenizer() -> Any:
    """Returns a tokenizer whose tokens are bytes."""
    return llguidance.LLTokenizer("byte")

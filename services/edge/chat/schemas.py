"""Checks what shapes the answer of a chat: JSON Schemas of functions and of the answer, grammars of custom tools."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from services.common.json_schema.arguments import arguments_schema
from services.common.json_schema.checking import LARGEST_SCHEMAS, SchemaError, check_schema, check_size
from services.common.lark.errors import LarkError
from services.common.lark.json_form import LARGEST_LARK, json_form, json_form_of_pattern
from services.edge.chat.request import ChatBody, Function, Grammar
from services.edge.http.parsing import invalid

ResultT = TypeVar("ResultT")


def check_schemas(body: ChatBody) -> None:
    """Raises MeshError INVALID_REQUEST, with `param`, for a schema that is too large or that cannot be enforced.

    A function that is only shown to the model may have any schema of a reasonable size. Takes 1 ms for ten functions as
    people write them, and 0.5 s for the costliest that may be sent: `check_chat_body` sees to that.
    """
    followed = _followed(body)
    # The sizes first, so that the costly part has a bound.
    characters = sum(_within(check_size, schema, param, "enforced") for param, schema in followed)
    if characters > LARGEST_SCHEMAS:
        most = f"at most {LARGEST_SCHEMAS} characters of schemas that the answer follows"
        raise invalid("tools", f"'tools' and 'response_format' must have {most}; {characters} were sent.")
    for param, schema in followed:
        _within(check_schema, schema, param, "enforced")
        if param.startswith("tools"):
            _within(arguments_schema, schema, param, "enforced")
    for param, schema in _shown(body):
        _within(check_size, schema, param, "used")
    grammars = list(_grammars(body))
    if sum(len(grammar.definition) for _, grammar in grammars) > LARGEST_LARK:
        raise invalid("tools", f"'tools' must have at most {LARGEST_LARK} characters of grammars; send shorter ones.")
    for param, grammar in grammars:
        try:
            (json_form if grammar.syntax == "lark" else json_form_of_pattern)(grammar.definition)
        except LarkError as error:
            raise invalid(param, f"'{param}' cannot be enforced: {error}.") from None


def _followed(body: ChatBody) -> list[tuple[str, dict[str, Any]]]:
    """Returns the schemas that the answer must follow, with their places."""
    found = [(param, schema) for param, function, schema in _parameters(body) if _binds(body, function)]
    if answer := _answer_schema(body):
        found.append(answer)
    return found


def _shown(body: ChatBody) -> list[tuple[str, dict[str, Any]]]:
    """Returns the schemas that the model is only shown, with their places."""
    return [(param, schema) for param, function, schema in _parameters(body) if not _binds(body, function)]


def _grammars(body: ChatBody) -> Iterator[tuple[str, Grammar]]:
    """Yields the grammars that the input of custom tools must follow, with their places."""
    for index, tool in enumerate(body.tools or ()):
        if tool.custom is not None and tool.custom.format is not None and tool.custom.format.grammar is not None:
            yield f"tools[{index}].custom.format.grammar.definition", tool.custom.format.grammar


def _parameters(body: ChatBody) -> Iterator[tuple[str, Function, dict[str, Any]]]:
    for index, tool in enumerate(body.tools or ()):
        if tool.function is not None and tool.function.parameters is not None:
            yield f"tools[{index}].function.parameters", tool.function, tool.function.parameters


def _binds(body: ChatBody, function: Function) -> bool:
    """Whether calls of a function must follow its schema: if they are forced, or strict and possible."""
    if body.forced_function is not None:
        return function.name == body.forced_function
    if body.allowed_functions is not None and function.name not in body.allowed_functions:
        return False
    return body.tool_mode == "required" or (body.tool_mode == "auto" and bool(function.strict))


def _answer_schema(body: ChatBody) -> tuple[str, dict[str, Any]] | None:
    """Returns the schema that the answer itself must follow, with its place, or None; raises if it is missing."""
    wanted = body.response_format
    if wanted is None or wanted.type != "json_schema":
        return None
    param, schema = "response_format.schema", wanted.schema
    if wanted.json_schema is not None or schema is None:
        param = "response_format.json_schema.schema"
        schema = None if wanted.json_schema is None else wanted.json_schema.schema
    if schema is None:
        raise invalid(param, f"'{param}' is required for the type 'json_schema'; add it.")
    # An answer that consists of calls has no other shape.
    return None if body.tool_mode == "required" else (param, schema)


def _within(check: Callable[[dict[str, Any]], ResultT], schema: dict[str, Any], param: str, verb: str) -> ResultT:
    """Returns what a check says of a schema that passes it."""
    try:
        return check(schema)
    except SchemaError as error:
        raise invalid(param, f"'{param}' cannot be {verb}: {error}.") from None

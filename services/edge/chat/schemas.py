"""Checks the JSON Schemas of a chat: those of its functions, and the one that the answer must follow."""

from __future__ import annotations

from typing import Any

from services.common.json_schema import LARGEST_SCHEMAS, SchemaError, check_schema, check_size
from services.edge.chat.request import ChatBody, Function, NamedTool
from services.edge.http.parsing import invalid


def check_schemas(body: ChatBody) -> None:
    """Raises MeshError INVALID_REQUEST, with `param`, for a schema that is too large or that cannot be enforced.

    A function that is only shown to the model may have any schema of a reasonable size. Takes up to 0.5 s for the
    largest functions that may be sent.
    """
    characters = 0
    for index, tool in enumerate(body.tools or ()):
        parameters, param = tool.function.parameters, f"tools[{index}].function.parameters"
        if parameters is not None and _binds(body, tool.function):
            characters += _enforceable(parameters, param)
        elif parameters is not None:
            _presentable(parameters, param)
    characters += _check_format(body)
    if characters > LARGEST_SCHEMAS:
        most = f"at most {LARGEST_SCHEMAS} characters of schemas that the answer follows"
        raise invalid("tools", f"'tools' and 'response_format' must have {most}; {characters} were sent.")


def _forced(body: ChatBody) -> bool:
    """Whether the answer consists of calls, so that nothing else has a shape."""
    return body.tool_choice == "required" or isinstance(body.tool_choice, NamedTool)


def _binds(body: ChatBody, function: Function) -> bool:
    """Whether calls of a function must follow its schema: if they are forced, or strict and possible."""
    if isinstance(body.tool_choice, NamedTool):
        return function.name == body.tool_choice.function.name
    return body.tool_choice == "required" or (body.tool_choice != "none" and bool(function.strict))


def _check_format(body: ChatBody) -> int:
    """Returns the characters of the schema that the answer must follow, 0 if there is none."""
    wanted = body.response_format
    if wanted is None or wanted.type != "json_schema":
        return 0
    param, schema = "response_format.schema", wanted.schema
    if wanted.json_schema is not None or schema is None:
        param = "response_format.json_schema.schema"
        schema = None if wanted.json_schema is None else wanted.json_schema.schema
    if schema is None:
        raise invalid(param, f"'{param}' is required for the type 'json_schema'; add it.")
    return 0 if _forced(body) else _enforceable(schema, param)


def _enforceable(schema: dict[str, Any], param: str) -> int:
    try:
        return check_schema(schema)
    except SchemaError as error:
        raise invalid(param, f"'{param}' cannot be enforced: {error}.") from None


def _presentable(schema: dict[str, Any], param: str) -> None:
    try:
        check_size(schema)
    except SchemaError as error:
        raise invalid(param, f"'{param}' cannot be used: {error}.") from None

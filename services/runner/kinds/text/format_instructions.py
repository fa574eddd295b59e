"""Tells a model what a grammar cannot: what the parts of its answer mean."""

from __future__ import annotations

from typing import Any

from tiermesh.runner.v1.runner_pb2 import ResponseFormat


def format_instructions(wanted: ResponseFormat, schema: dict[str, Any]) -> str:
    """Returns the instructions for an answer that must follow a schema; "" if nothing is described.

    The grammar has the model write the names and values of a schema. Its descriptions would reach it in no other way.
    """
    if not wanted.description and not _describes(schema):
        return ""
    said = f"The answer is JSON. {wanted.description}".rstrip()
    return f"{said}\nIts JSON Schema is:\n{wanted.json_schema}"


def _describes(schema: dict[str, Any]) -> bool:
    """Whether there is a description anywhere in a schema."""
    left: list[Any] = [schema]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            # A property of this name has a schema, and no text.
            description = part.get("description")
            if isinstance(description, str) and description.strip():
                return True
            left += part.values()
        elif isinstance(part, list):
            left += part
    return False

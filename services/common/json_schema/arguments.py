"""Arguments of functions are objects, whatever else their JSON Schema admits: clients read them as nothing else."""

from __future__ import annotations

from typing import Any

from services.common.json_schema.checking import SchemaError
from services.common.json_schema.enforced import resolve

# The arguments of a function that names no parameters.
NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
# Members of a schema that name schemas as they like, and those that hold no schema but values.
_NAMES = frozenset({"$defs", "definitions", "patternProperties", "properties"})
_VALUES = frozenset({"const", "default", "enum", "examples"})


def arguments_schema(parameters: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema of the objects among what a function's schema admits.

    Raises SchemaError if there are none. The schema has passed `check_schema`.
    """
    if parameters.get("type") == "object":
        return parameters
    try:
        possible = _Objects(parameters).admitted_by(parameters)
    except RecursionError:
        raise SchemaError("its references lead too deep; use fewer that lead to each other") from None
    if not possible:
        raise SchemaError("it admits no object, and arguments are always one; let its 'type' be 'object'")
    definitions = parameters.get("$defs", {})
    if not isinstance(definitions, dict):
        # The compiler reports it.
        return {**parameters, "type": "object"}
    # What refers to the whole schema may still be something else than an object.
    whole = "whole"
    while whole in definitions:
        whole += "_"
    moved = _with_whole_at(f"#/$defs/{whole}", parameters)
    if moved != parameters:
        moved = {**moved, "$defs": {**moved.get("$defs", {}), whole: moved}}
    return {**moved, "type": "object"}


class _Objects:
    """Tells which parts of a schema can admit an object, as far as their types, values and alternatives say."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        # By the identity of the part. While one is looked at, so that references may lead in circles, it can.
        self._known: dict[int, bool] = {}

    def admitted_by(self, schema: Any) -> bool:
        if not isinstance(schema, dict):
            # The compiler reports what is no schema at all.
            return schema is not False
        if id(schema) not in self._known:
            self._known[id(schema)] = True
            self._known[id(schema)] = _may_be_object(schema) and self._combined(schema)
        return self._known[id(schema)]

    def _combined(self, schema: dict[str, Any]) -> bool:
        every = [*_list(schema, "allOf")]
        if isinstance(reference := schema.get("$ref"), str):
            every.append(resolve(self._root, reference))
        if not all(self.admitted_by(member) for member in every):
            return False
        several = (_list(schema, "anyOf"), _list(schema, "oneOf"))
        return all(any(self.admitted_by(member) for member in members) for members in several if members)


def _may_be_object(schema: dict[str, Any]) -> bool:
    kind = schema.get("type", "object")
    values = [*_list(schema, "enum"), *([schema["const"]] if "const" in schema else [])]
    is_listed = not values or any(isinstance(value, dict) for value in values)
    return is_listed and (kind == "object" or (isinstance(kind, list) and "object" in kind))


def _list(schema: dict[str, Any], key: str) -> list[Any]:
    value = schema.get(key)
    return value if isinstance(value, list) else []


def _with_whole_at(place: str, value: Any, *, named: bool = False) -> Any:
    """Returns a copy of a schema, or of `named` ones, in which references to the whole lead to a place."""
    if isinstance(value, list):
        return [_with_whole_at(place, member) for member in value]
    if not isinstance(value, dict):
        return value
    return {
        key: place
        if key == "$ref" and member == "#" and not named
        else member
        if key in _VALUES and not named
        else _with_whole_at(place, member, named=key in _NAMES and not named)
        for key, member in value.items()
    }

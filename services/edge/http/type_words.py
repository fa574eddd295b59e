"""Says in words which values a type takes, from msgspec's description of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

# It takes milliseconds, and there are few bodies.
_type_info = cache(inspect.type_info)
# How msgspec names what it was given, which is one word of JSON's types.
_GIVEN = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number with decimals",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def describe(kind: Any, steps: Sequence[str]) -> str:
    """Returns which values the type of a body takes at a place, such as "a number from 0 to 2"; "" if it takes any."""
    return _alternatives(_at(kind, steps))


def describe_choices(kind: Any, steps: Sequence[str]) -> str:
    """Returns the values that can be listed among those at a place: "'low' or 'high'"; "" if there are none."""
    return _choices(_at(kind, steps))


def describe_given(name: str) -> str:
    """Returns what msgspec calls `str`, `array` and so on in words."""
    return _GIVEN.get(name, "something else")


def _at(kind: Any, steps: Sequence[str]) -> list[inspect.Type]:
    found = _variants(_type_info(kind))
    for step in steps:
        found = [inner for outer in found for inner in _inside(outer, step)]
    return found


def _inside(outer: inspect.Type, step: str) -> list[inspect.Type]:
    """Returns the types of what is one step inside of a value of this type."""
    if isinstance(outer, inspect.ListType):
        return _variants(outer.item_type)
    if isinstance(outer, inspect.DictType):
        return _variants(outer.value_type)
    if not isinstance(outer, inspect.StructType):
        return []
    if step == outer.tag_field:
        return [inspect.LiteralType((outer.tag,))]
    return [variant for field in outer.fields if field.encode_name == step for variant in _variants(field.type)]


def _variants(kind: inspect.Type) -> list[inspect.Type]:
    """Returns the alternatives of a union, or the type itself."""
    return list(kind.types) if isinstance(kind, inspect.UnionType) else [kind]


def _choices(kinds: Sequence[inspect.Type]) -> str:
    values = [value for kind in kinds if isinstance(kind, inspect.LiteralType) for value in kind.values]
    return _joined(
        [f"'{value}'" if isinstance(value, str) else msgspec.json.encode(value).decode() for value in values]
    )


def _alternatives(kinds: Sequence[inspect.Type]) -> str:
    """Returns the words for a union. Null is left out, for it means the same as not to send the field."""
    if any(isinstance(kind, inspect.AnyType) for kind in kinds):
        return ""
    # Lists last: what is said of their items reads as if it went on.
    kinds = sorted(kinds, key=lambda kind: isinstance(kind, inspect.ListType))
    others = [_words(kind) for kind in kinds if not isinstance(kind, inspect.LiteralType | inspect.NoneType)]
    return _joined([words for words in dict.fromkeys([_choices(kinds), *others]) if words])


def _words(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.IntType):
        return f"a whole number{_range(kind.ge, kind.le)}"
    if isinstance(kind, inspect.FloatType):
        return f"a number{_range(kind.ge, kind.le, kind.gt)}"
    if isinstance(kind, inspect.StrType):
        matching = f" that matches {kind.pattern}" if kind.pattern else ""
        return f"a string{_size(kind.min_length, kind.max_length, 'character')}{matching}"
    if isinstance(kind, inspect.ListType):
        return f"a list{_size(kind.min_length, kind.max_length, 'item')}{_items(kind)}"
    if isinstance(kind, inspect.DictType):
        return f"an object{_size(kind.min_length, kind.max_length, 'member')}{_members(kind)}"
    return {inspect.BoolType: "true or false", inspect.StructType: "an object"}.get(type(kind), "")


def _items(kind: inspect.ListType) -> str:
    items = _alternatives(_variants(kind.item_type))
    return f" in which each item is {items}" if items not in {"", "an object"} else ""


def _members(kind: inspect.DictType) -> str:
    key, value = _words(kind.key_type), _alternatives(_variants(kind.value_type))
    parts = ([f"each name is {key}"] if key != "a string" else []) + ([f"each value is {value}"] if value else [])
    return f" in which {' and '.join(parts)}" if parts else ""


def _range(low: float | None, high: float | None, above: float | None = None) -> str:
    if above is not None and high is not None:
        return f" above {above:,} and up to {high:,}"
    if low is None or high is None:
        return "" if low is None else f" of at least {low}"
    return f" from {low:,} to {high:,}"


def _size(least: int | None, most: int | None, noun: str) -> str:
    if most is not None:
        return f" of {least:,} to {most:,} {noun}s" if least else f" of at most {most:,} {noun}s"
    return f" of at least {least:,} {noun}{'s' if least > 1 else ''}" if least else ""


def _joined(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)

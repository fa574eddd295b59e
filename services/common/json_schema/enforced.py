"""Rewrites a JSON Schema into the form that a grammar is made of: whatever follows that form follows the schema.

Keywords that ask for nothing are left out, because the compiler refuses them by their names. Objects are closed where
the schema leaves them open without a word, because models fill open objects with invented members.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeGuard

# The largest bound on a number that the compiler takes, and the largest of which a float has every whole number.
LARGEST_NUMBER, LARGEST_EXACT = 2**62, 2**53
# Characters of a string that also has a pattern or format: the two are compiled into one automaton.
LONGEST_PATTERNED = 1000
# Places of schemas within a schema, by what stands there: one, several, or several by name.
ONE = ("additionalProperties", "items")
SEVERAL = ("anyOf", "oneOf", "allOf", "prefixItems")
NAMED = ("properties", "patternProperties")
_COMBINING = ("anyOf", "oneOf", "allOf", "$ref")
_UPPER, _LOWER = ("maximum", "exclusiveMaximum"), ("minimum", "exclusiveMinimum")
_ANNOTATIONS = frozenset(
    {
        "$comment", "$defs", "$id", "$schema", "default", "definitions", "deprecated", "description", "examples",
        "readOnly", "title", "writeOnly",
    }
)  # fmt: skip
# RFC 3986 without addresses of version 6, and with a host after two slashes.
_CHARACTER = "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
_OF_HOST = "(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})"
_AUTHORITY = f"(?:(?:{_OF_HOST}|:)*@)?{_OF_HOST}+(?::[0-9]{{1,5}})?"
_PATH = f"(?://{_AUTHORITY}(?:/{_CHARACTER}*)*|/?{_CHARACTER}+(?:/{_CHARACTER}*)*)"
_REST = f"(?:{_CHARACTER}|[/?])*"
_URI = rf"^[A-Za-z][A-Za-z0-9+.-]*:{_PATH}(?:\?{_REST})?(?:#{_REST})?$"
_PATTERNS = {"uri": _URI, "email": r"^[^@]{1,64}@[^@.]{1,63}(?:\.[^@.]{1,63})*$"}
_LONGEST = {"email": 254, "hostname": 253}
# What says nothing about values of other types.
_OF_ARRAYS = ("contains", "maxContains", "minContains", "unevaluatedItems", "uniqueItems")
_OF_OBJECTS = (
    "dependencies", "dependentRequired", "dependentSchemas", "maxProperties", "minProperties", "propertyNames",
    "unevaluatedProperties",
)  # fmt: skip


def enforced_form(schema: dict[str, Any]) -> dict[str, Any]:
    """Returns the form of a schema that answers are bound to; the places of what is in it are the same."""
    return _Rewriting(_copied(schema)).run()


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a number of JSON."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _copied(value: Any) -> Any:
    """Returns a copy of a value of JSON; `copy.deepcopy` takes several times as long."""
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


def types_of(schema: dict[str, Any]) -> list[Any]:
    """Returns the types that a schema names; [None] if it names none."""
    kind = schema.get("type")
    return kind if isinstance(kind, list) else [kind]


def members(schema: dict[str, Any], key: str) -> list[Any]:
    """Returns what a keyword lists."""
    value = schema.get(key)
    return value if isinstance(value, list) else []


def named(schema: dict[str, Any], key: str) -> dict[str, Any]:
    """Returns what a keyword has by name."""
    value = schema.get(key)
    return value if isinstance(value, dict) else {}


def resolve(root: dict[str, Any], reference: Any) -> Any:
    """Returns what a local reference points to, or None: the compiler reports those that point nowhere."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    found: Any = root
    for part in reference.removeprefix("#").split("/")[1:]:
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found


class _Rewriting:
    """One pass over everything that is reachable from the root of a schema, which is changed in place."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        # Schemas that are still to be looked at, each with whether values follow it alone: what is combined with
        # others must stay open for their members.
        self._open: list[tuple[Any, bool]] = [(root, True)]
        self._seen: set[tuple[int, bool]] = set()
        self._closable: dict[int, dict[str, Any]] = {}

    def run(self) -> dict[str, Any]:
        while self._open:
            schema, alone = self._open.pop()
            if isinstance(schema, dict) and (id(schema), alone) not in self._seen:
                self._seen.add((id(schema), alone))
                for keyword in _without_effect(schema):
                    del schema[keyword]
                _narrow(schema)
                _complete_format(schema)
                if alone and _leaves_open(schema):
                    self._closable[id(schema)] = schema
                self._open += self._within(schema, alone=alone)
        for schema in self._closable.values():
            if (id(schema), False) not in self._seen:
                schema["additionalProperties"] = False
                _drop_needless_counts(schema)
        return self._root

    def _within(self, schema: dict[str, Any], *, alone: bool) -> Iterator[tuple[Any, bool]]:
        _drop_needless_counts(schema)
        combined = alone and _is_only_combination(schema)
        for key in ("anyOf", "oneOf", "allOf"):
            inner = members(schema, key)
            apart = key == "anyOf" or len(inner) == 1 or (key == "oneOf" and self._told_apart(inner))
            yield from ((member, combined and apart) for member in inner)
        yield resolve(self._root, schema.get("$ref")), combined
        # What is in an object that is combined with another one is combined with the same members of that one.
        inside = alone and not any(key in schema for key in _COMBINING)
        yield from ((schema.get(key), inside) for key in ONE)
        yield from ((member, inside) for member in members(schema, "prefixItems"))
        yield from ((member, inside) for key in NAMED for member in named(schema, key).values())

    def _told_apart(self, alternatives: list[Any]) -> bool:
        """Whether a required property has other values in each alternative, so that no value fits two of them."""
        resolved = [resolve(self._root, one.get("$ref")) or one for one in alternatives if isinstance(one, dict)]
        shared = set.intersection(*(set(map(str, members(one, "required"))) for one in resolved)) if resolved else set()
        for name in shared if len(resolved) == len(alternatives) else ():
            tags = [tag for one in resolved for tag in _tags(named(one, "properties").get(name))]
            if len(set(tags)) == len(tags) and all(_tags(named(one, "properties").get(name)) for one in resolved):
                return True
        return False


def _without_effect(schema: dict[str, Any]) -> list[str]:
    """Returns the keywords of a schema that ask for nothing."""
    foreign = [
        *(_OF_ARRAYS if _never(schema, "array") else ()),
        *(_OF_OBJECTS if _never(schema, "object") else ()),
    ]
    return [key for key in schema if key in foreign or (key in _WITHOUT_EFFECT and _WITHOUT_EFFECT[key](schema))]


def _tags(schema: Any) -> list[str]:
    """Returns the values that a schema lists."""
    if not isinstance(schema, dict):
        return []
    return [repr(value) for value in ([schema["const"]] if "const" in schema else members(schema, "enum"))]


def _is_only_combination(schema: dict[str, Any]) -> bool:
    """Whether a schema says nothing but that its alternatives, or what it refers to, hold."""
    return len([key for key in schema if key not in _ANNOTATIONS and key != "type"]) == 1


def _leaves_open(schema: dict[str, Any]) -> bool:
    """Whether a schema names properties and does not say whether there may be others; some schemas need others."""
    properties = named(schema, "properties")
    return (
        isinstance(schema.get("properties"), dict)
        and not any(key in schema for key in ("additionalProperties", "patternProperties", "enum", "const"))
        and not any(key in schema for key in (*_COMBINING, "unevaluatedProperties"))
        and all(name in properties for name in members(schema, "required") if isinstance(name, str))
        and not (is_number(schema.get("minProperties")) and schema["minProperties"] > len(properties))
    )


def _drop_needless_counts(schema: dict[str, Any]) -> None:
    """Drops bounds on the number of members that hold whatever the members are."""
    least, most = schema.get("minProperties"), schema.get("maxProperties")
    required = {name for name in members(schema, "required") if isinstance(name, str)}
    if is_number(least) and least <= len(required):
        del schema["minProperties"]
    if is_number(most) and is_closed(schema) and most >= len(named(schema, "properties")):
        del schema["maxProperties"]


def is_closed(schema: dict[str, Any]) -> bool:
    """Whether an object has no members but the properties that are named."""
    return schema.get("additionalProperties") is False and not schema.get("patternProperties")


def _narrow(schema: dict[str, Any]) -> None:
    """Moves bounds that are beyond most answers to the largest that the compiler takes, always inwards."""
    for keys, sign in ((_UPPER, 1), (_LOWER, -1)):
        for key in keys:
            bound = schema.get(key)
            if is_number(bound) and sign * bound > LARGEST_EXACT:
                schema[key] = sign * _below(min(sign * bound, LARGEST_NUMBER))
    longest = schema.get("maxLength")
    if is_number(longest) and longest > LONGEST_PATTERNED and ("pattern" in schema or "format" in schema):
        schema["maxLength"] = LONGEST_PATTERNED


def _complete_format(schema: dict[str, Any]) -> None:
    """Says in other keywords what not every compiler knows of a format."""
    wanted = schema.get("format")
    if not isinstance(wanted, str):
        return
    if wanted == "uri":
        del schema["format"]
    longest, pattern = _LONGEST.get(wanted), _PATTERNS.get(wanted)
    if longest is not None and not (is_number(schema.get("maxLength")) and schema["maxLength"] <= longest):
        schema["maxLength"] = longest
    parts = members(schema, "allOf")
    if pattern and schema.setdefault("pattern", pattern) != pattern and {"pattern": pattern} not in parts:
        schema["allOf"] = [*parts, {"pattern": pattern}]


def _below(bound: float) -> int:
    """Returns the largest whole number up to a bound that a float can be."""
    return int(bound) if int(float(bound)) <= bound else int(math.nextafter(float(bound), 0))


def _is_true(schema: Any) -> bool:
    """Whether everything follows a schema."""
    return schema is True or (isinstance(schema, dict) and all(key in _ANNOTATIONS for key in schema))


def _never(schema: dict[str, Any], kind: str) -> bool:
    """Whether no value of a type follows a schema."""
    kinds = types_of(schema)
    return None not in kinds and kind not in kinds


def _asks_for_no_items(schema: dict[str, Any]) -> bool:
    """Whether `contains` and what bounds it hold for every array."""
    return "contains" not in schema or (schema.get("minContains") == 0 and "maxContains" not in schema)


def _dependents_are_there(schema: dict[str, Any]) -> bool:
    required, wanted = members(schema, "required"), schema["dependentRequired"]
    return isinstance(wanted, dict) and all(
        isinstance(names, list) and all(name in required for name in names) for names in wanted.values()
    )


def _all_true(schema: dict[str, Any], key: str) -> bool:
    wanted = schema[key]
    return isinstance(wanted, dict) and all(value == [] or _is_true(value) for value in wanted.values())


def _names_are_free(schema: dict[str, Any]) -> bool:
    names = schema["propertyNames"]
    rest = {key: value for key, value in names.items() if key != "type"} if isinstance(names, dict) else names
    return _is_true(rest) and (not isinstance(names, dict) or types_of(names) in ([None], ["string"]))


def _nothing_unevaluated(schema: dict[str, Any], key: str, by: str) -> bool:
    return _is_true(schema[key]) or by in schema


def _has_no_branch(schema: dict[str, Any]) -> bool:
    return "if" not in schema or all(_is_true(schema.get(branch, True)) for branch in ("then", "else"))


def _whole_anyway(schema: dict[str, Any]) -> bool:
    return schema["multipleOf"] == 1 and not any(kind in {None, "number"} for kind in types_of(schema))


# When a keyword, which is there, asks for nothing.
_WITHOUT_EFFECT: dict[str, Callable[[dict[str, Any]], bool]] = {
    "multipleOf": _whole_anyway,
    "minContains": _asks_for_no_items,
    "maxContains": lambda schema: "contains" not in schema,
    "contains": _asks_for_no_items,
    "uniqueItems": lambda schema: (
        schema["uniqueItems"] is False or (is_number(schema.get("maxItems")) and schema["maxItems"] <= 1)
    ),
    "not": lambda schema: schema["not"] is False,
    "if": _has_no_branch,
    "then": _has_no_branch,
    "else": _has_no_branch,
    "dependentRequired": _dependents_are_there,
    "dependentSchemas": lambda schema: _all_true(schema, "dependentSchemas"),
    "dependencies": lambda schema: _all_true(schema, "dependencies"),
    "propertyNames": _names_are_free,
    "unevaluatedItems": lambda schema: _nothing_unevaluated(schema, "unevaluatedItems", "items"),
    "unevaluatedProperties": lambda schema: _nothing_unevaluated(
        schema, "unevaluatedProperties", "additionalProperties"
    ),
    # Draft 4, where these said whether a bound is itself excluded.
    "exclusiveMinimum": lambda schema: schema["exclusiveMinimum"] is False,
    "exclusiveMaximum": lambda schema: schema["exclusiveMaximum"] is False,
}

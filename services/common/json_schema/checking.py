"""Decides which JSON Schemas an answer can be bound to: those that say what a grammar can enforce, and quickly.

A schema comes from a client and its grammar runs on the engine, where it would hold up everybody's answers: so every
cost that grows faster than the text of the schema has a bound here. All of them are far beyond what people write. The
edge refuses a schema in these words before anything is paid for; a runner checks again before it compiles one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from services.common.json_schema.enforced import (
    LARGEST_EXACT,
    LONGEST_PATTERNED,
    NAMED,
    ONE,
    SEVERAL,
    enforced_form,
    is_closed,
    is_number,
    members,
    named,
    resolve,
    types_of,
)

# Characters of one schema as JSON, and of all together that one answer is bound to.
LARGEST_SCHEMA, LARGEST_SCHEMAS = 64 * 1024, 128 * 1024
# Brackets within brackets. The compiler's own limit is 128.
DEEPEST_JSON = 100
# In the whole schema. All properties that may be left out are considered at once, for each token.
MOST_ENUM_VALUES, MOST_PROPERTIES, MOST_OPTIONAL_PROPERTIES = 1000, 1000, 250
# In one object: each is compared with each.
MOST_PATTERN_PROPERTIES = 16
# A bound on length or number only has to be beyond any answer.
_LARGEST_BOUNDS = {
    "minLength": 100_000,
    "maxLength": 100_000,
    "minItems": 10_000,
    "maxItems": 10_000,
    "minProperties": 1_000,
    "maxProperties": 1_000,
}
LONGEST_PATTERN = 1000
# The smallest bound on a number, but 0, that the compiler takes.
LEAST_NUMBER = 1e-30
# What a pattern consists of: escapes, classes of characters, single characters.
_PATTERN_PIECE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]?|.", re.DOTALL)
# What makes a pattern more than a regular expression, by what it is called.
_NOT_PLAIN = re.compile(r"\\[1-9kbBAz]")
_NOT_REGULAR = {
    "a look-around": re.compile(r"\(\?<?[=!]"),
    "a back-reference": re.compile(r"\\[1-9k]|\(\?P="),
    "an atomic group or a condition": re.compile(r"\(\?[>(]"),
    "a word boundary": re.compile(r"\\[bB]"),
    "two anchors in one place": re.compile(r"(?:\^|\\A)(?:\((?:\?:|\?P?<\w+>)?)*(?:\^|\\A)|(?:\$|\\z)\)*(?:\$|\\z)"),
}
# Significant digits as a number, of all together: the compiler needs a state for each remainder.
LARGEST_MULTIPLES = 1000
# Keywords beside anyOf, and other anyOf within the same allOf, are merged into each alternative of it.
MOST_COMBINATIONS, MOST_MERGED_PROPERTIES = 64, 1500

# Validation that the grammar cannot do. Anything else unknown is an annotation, as JSON Schema says.
_UNSUPPORTED = frozenset(
    {
        "$dynamicRef", "$recursiveRef", "contains", "dependencies", "dependentRequired", "dependentSchemas", "else",
        "if", "maxContains", "minContains", "not", "propertyNames", "then", "unevaluatedItems",
        "unevaluatedProperties", "uniqueItems",
    }
)  # fmt: skip
_FORMATS = frozenset(
    {"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid"}
)  # fmt: skip
_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")


class SchemaError(ValueError):
    """Why a schema is refused and how to mend it, with the keyword and its place: the end of a sentence."""


def check_schema(schema: dict[str, Any]) -> int:
    """Returns the characters of a schema as JSON.

    Raises SchemaError if it is too costly or says what no grammar can enforce. Takes up to 0.1 s.
    """
    size = check_size(schema)
    try:
        _Check(enforced_form(schema)).run()
    except RecursionError:
        raise SchemaError("its references lead too deep; use fewer that lead to each other") from None
    return size


def check_size(schema: dict[str, Any]) -> int:
    """Returns the characters of a schema as JSON; raises SchemaError if it is too large or too deep for anything."""
    # First, because writing it as JSON recurses.
    if _depth(schema) > DEEPEST_JSON:
        raise SchemaError(f"it is nested more than {DEEPEST_JSON} levels deep; make it flatter")
    size = len(json.dumps(schema, ensure_ascii=False))
    if size > LARGEST_SCHEMA:
        raise SchemaError(f"it is too large: {size} characters as JSON; at most {LARGEST_SCHEMA} are allowed")
    return size


class _Check:
    """One pass over everything that is reachable from the root of a schema."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        # Schemas that are still to be looked at, with their places, and the references seen.
        self._open: list[tuple[str, Any]] = [("#", root)]
        self._seen: set[str] = set()
        # What `_merged` has found out, by the identity of the schema.
        self._known: dict[int, tuple[int, int]] = {}
        self._enum_values = self._properties = self._optional = self._multiples = 0

    def run(self) -> None:
        while self._open:
            place, schema = self._open.pop()
            # true and false are schemas too; the compiler reports what is none.
            if isinstance(schema, dict):
                self._keywords(place, schema)
                _check_numbers(place, schema)
                _check_patterns(place, schema)
                _check_members(place, schema)
                self._count(place, schema)
                self._merged(place, schema)
                self._open += _subschemas(place, schema)
                self._follow(schema.get("$ref"))

    def _keywords(self, place: str, schema: dict[str, Any]) -> None:
        for keyword, value in schema.items():
            if keyword in _UNSUPPORTED:
                raise SchemaError(f"the keyword '{keyword}' at {place} is not supported; leave it out")
            bound = _LARGEST_BOUNDS.get(keyword)
            if bound is not None and keyword.endswith("Length") and ("pattern" in schema or "format" in schema):
                bound = LONGEST_PATTERNED
            if bound is not None and is_number(value) and value > bound:
                raise SchemaError(f"'{keyword}' at {place} is {value}; at most {bound} is allowed")
        multiple, wanted = schema.get("multipleOf"), schema.get("format")
        if _length(schema.get("patternProperties")) > MOST_PATTERN_PROPERTIES:
            raise SchemaError(
                f"'patternProperties' at {place} has more than {MOST_PATTERN_PROPERTIES} members; use fewer"
            )
        self._multiples += _digits(multiple) if multiple is not None and is_number(multiple) else 0
        if self._multiples > LARGEST_MULTIPLES:
            raise SchemaError(f"the digits of 'multipleOf' at {place} are too many; use at most three")
        if isinstance(wanted, str) and wanted not in _FORMATS and "string" in types_of(schema):
            known = ", ".join(sorted(_FORMATS))
            raise SchemaError(f"the 'format' at {place} is not supported; use one of {known}")
        reference = schema.get("$ref")
        if isinstance(reference, str) and not reference.startswith("#") and "$id" not in self._root:
            raise SchemaError(f"the '$ref' at {place} leads to another document; copy what it means into '$defs'")
        if "type" in schema and not all(kind in _TYPES for kind in types_of(schema)):
            raise SchemaError(
                f"the 'type' at {place} is not one of JSON Schema; use one or several of {', '.join(_TYPES)}"
            )

    def _count(self, place: str, schema: dict[str, Any]) -> None:
        self._enum_values += _length(schema.get("enum"))
        self._properties += _length(schema.get("properties"))
        self._optional += max(_length(schema.get("properties")) - _length(schema.get("required")), 0)
        for what, count, most in (
            ("'enum' values", self._enum_values, MOST_ENUM_VALUES),
            ("properties", self._properties, MOST_PROPERTIES),
            ("properties that are not required", self._optional, MOST_OPTIONAL_PROPERTIES),
        ):
            if count > most:
                raise SchemaError(f"it has more than {most} {what}, counted up to {place}; use fewer")

    def _follow(self, reference: Any) -> None:
        if isinstance(reference, str) and reference not in self._seen:
            self._seen.add(reference)
            self._open.append((reference, resolve(self._root, reference)))

    def _merged(self, place: str, schema: Any) -> tuple[int, int]:
        """Returns how many alternatives a schema becomes and how many properties each has at most.

        What is inside of its properties and items does not count: that is compiled by itself.
        """
        if not isinstance(schema, dict):
            return 1, 0
        if id(schema) in self._known:
            return self._known[id(schema)]
        self._known[id(schema)] = 1, 0
        parts = [(1, _length(schema.get("properties")))]
        parts += [self._merged(place, member) for member in members(schema, "allOf")]
        parts.append(self._merged(place, resolve(self._root, schema.get("$ref"))))
        for alternatives in (members(schema, "anyOf"), members(schema, "oneOf")):
            if alternatives:
                counts, sizes = zip(*(self._merged(place, one) for one in alternatives), strict=True)
                parts.append((sum(counts), max(sizes)))
        parts = [part for part in parts if part != (1, 0)]
        count = min(math.prod(part[0] for part in parts), 10**6)
        size = min(sum(part[1] for part in parts), 10**6)
        choices = sum(part[0] > 1 for part in parts)
        if (choices > 1 and count > MOST_COMBINATIONS) or (len(parts) > 1 and count * size > MOST_MERGED_PROPERTIES):
            raise SchemaError(
                f"the alternatives at {place} combine with each other or with properties to too many; use fewer"
            )
        self._known[id(schema)] = count, size
        return count, size


def _check_numbers(place: str, schema: dict[str, Any]) -> None:
    """Checks bounds that values must lie beyond: the compiler knows large numbers only roughly."""
    for keyword, sign in (("minimum", 1), ("exclusiveMinimum", 1), ("maximum", -1), ("exclusiveMaximum", -1)):
        bound = schema.get(keyword)
        if is_number(bound) and sign * bound > LARGEST_EXACT:
            most = f"at {'most' if sign > 0 else 'least'} {sign * LARGEST_EXACT} is allowed"
            raise SchemaError(f"'{keyword}' at {place} is {bound}; {most}")
        if is_number(bound) and 0 < abs(bound) < LEAST_NUMBER:
            raise SchemaError(f"'{keyword}' at {place} is too small a number; use 0, or at least {LEAST_NUMBER}")
    greatest, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if "multipleOf" in schema and ((is_number(greatest) and greatest < 0) or (is_number(below) and below <= 0)):
        raise SchemaError(
            f"'multipleOf' at {place} is next to a bound that only negative numbers keep, and grammars know multiples "
            "from 0 on; leave one of the two out"
        )


def _check_patterns(place: str, schema: dict[str, Any]) -> None:
    patterns = [(f"the 'pattern' at {place}", schema.get("pattern"))]
    patterns += [(f"a name in 'patternProperties' at {place}", name) for name in named(schema, "patternProperties")]
    for what, pattern in patterns:
        if not isinstance(pattern, str):
            continue
        if len(pattern) > LONGEST_PATTERN:
            raise SchemaError(f"{what} has more than {LONGEST_PATTERN} characters; shorten it")
        # What is escaped or in a class of characters is no group.
        pieces = (piece for piece in _PATTERN_PIECE.findall(pattern) if not piece.startswith("["))
        groups = "".join(piece for piece in pieces if piece[0] != "\\" or _NOT_PLAIN.match(piece))
        for kind, found in _NOT_REGULAR.items():
            if found.search(groups):
                raise SchemaError(f"{what} has {kind}, which no grammar can follow; write it without")


def _check_members(place: str, schema: dict[str, Any]) -> None:
    """Checks bounds on the number of members: nothing keeps names that are not listed from coming twice."""
    least, most = schema.get("minProperties"), schema.get("maxProperties")
    keyword = "minProperties" if least is not None else "maxProperties"
    if not is_number(least) and not is_number(most):
        return
    required = {name for name in members(schema, "required") if isinstance(name, str)}
    if is_number(least) and least > len(required) + 1 and not is_closed(schema):
        raise SchemaError(
            f"'{keyword}' at {place} is {least}, but names that are not in 'properties' could come twice; "
            f"use at most {len(required) + 1}, or name the properties"
        )
    if named(schema, "properties").keys() <= required or (
        is_closed(schema) and least in {None, 1} and most in {None, 1}
    ):
        return
    raise SchemaError(
        f"'{keyword}' at {place} needs every property there to be in 'required'; add them, or leave it out"
    )


def _subschemas(place: str, schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key in ONE:
        yield f"{place}/{key}", schema.get(key)
    for key in SEVERAL:
        for at, member in enumerate(members(schema, key)):
            yield f"{place}/{key}/{at}", member
    for key in NAMED:
        for name, member in named(schema, key).items():
            yield f"{place}/{key}/{name[:64]}", member


def _depth(value: Any) -> int:
    """Returns how deep brackets are nested, counted no further than just beyond what is allowed."""
    level, depth = [value], 0
    while level and depth <= DEEPEST_JSON:
        # Written for speed: large schemas that are only shown to the model cost nothing more than this.
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        depth += 1
    return depth


def _length(value: Any) -> int:
    return len(value) if isinstance(value, dict | list) else 0


def _digits(number: float) -> int:
    """Returns a number's significant digits as a number: 25 for 0.25 and for 2500."""
    return int("".join(map(str, Decimal(str(number)).normalize().as_tuple().digits)))

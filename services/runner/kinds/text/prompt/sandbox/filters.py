"""Bounds what filters make before they make it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from services.runner.kinds.text.prompt.sandbox.budget import Budget, TemplateLimitError
from services.runner.kinds.text.prompt.sandbox.operators import check_percent, check_replace, check_short

# The most decimal places that a float has.
_PLACES = 400
# The longest indent or separator of JSON.
_SEPARATOR = 64


def _center(budget: Budget, value: Any, width: int = 80) -> None:
    budget.admit(len(str(value)) + width)


def _indent(budget: Budget, value: Any, width: int | str = 4, *_: Any, **__: Any) -> None:
    text = str(value)
    columns = len(width) if isinstance(width, str) else width
    budget.admit(len(text) + columns * (len(text.splitlines()) + 1))


def _replace(budget: Budget, value: Any, old: Any, new: Any, *_: Any, **__: Any) -> None:
    check_replace(budget, str(value), str(old), str(new))


def _format(budget: Budget, value: Any, *values: Any, **named: Any) -> None:
    check_percent(budget, str(value), named or values)


def _fill(budget: Budget, _value: Any, number: int, fill_with: Any = None) -> None:
    """Checks filters that make lists of a length, or so many lists, and may fill them."""
    budget.admit(number * budget.size([fill_with]))


def _trim(_budget: Budget, _value: Any, chars: str | None = None) -> None:
    check_short([chars])


def _round(_budget: Budget, _value: Any, precision: int = 0, *_: Any, **__: Any) -> None:
    if abs(precision) > _PLACES:
        raise TemplateLimitError("a number is too large")


def _to_json(
    budget: Budget,
    value: Any,
    _ascii: bool = False,
    indent: int | str | None = None,
    separators: Sequence[str] | None = None,
    **_: Any,
) -> None:
    columns = len(indent) if isinstance(indent, str) else indent or 0
    if max(columns, *map(len, separators or ("",)), 0) > _SEPARATOR:
        raise TemplateLimitError("an argument is too long")
    if not columns:
        return
    size = 0
    rest: list[tuple[Any, int]] = [(value, 0)]
    while rest:
        inner, depth = rest.pop()
        size += columns * depth
        budget.admit(size)
        if isinstance(inner, Mapping):
            rest += [(item, depth + 1) for item in inner.values()]
        elif isinstance(inner, (list, tuple)):
            rest += [(item, depth + 1) for item in inner]


# Checks take the arguments of their filters. Without one, a filter makes about as much as it is given.
CHECKS: Mapping[str, Callable[..., None]] = {
    "batch": _fill,
    "center": _center,
    "format": _format,
    "indent": _indent,
    "replace": _replace,
    "round": _round,
    "slice": _fill,
    "tojson": _to_json,
    "trim": _trim,
}
# Filters that make nothing.
SMALL = frozenset(("count", "d", "default", "first", "length"))
# Filters for web pages and for debugging, which no chat template needs and no check here knows.
UNKNOWN = frozenset(("pprint", "striptags", "urlize", "wordwrap", "xmlattr"))

"""Bounds what operators and methods of texts make before they make it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from string import Formatter
from typing import Any

from services.runner.kinds.text.prompt.sandbox.budget import Budget, TemplateLimitError

# Arithmetic with larger numbers takes time of note; floats have fewer bits.
_BITS = 2048
# The longest argument of a method that looks for each character of a text in each of its argument, or the like.
_SHORT = 1024
_DIGITS = re.compile(r"\d+")


def check_operands(budget: Budget, operator: str, left: Any, right: Any) -> None:
    """Raises TemplateLimitError if a binary operator must not be used on these values."""
    _check_numbers(left, right)
    if operator == "*":
        for value, times in ((left, right), (right, left)):
            if isinstance(times, int) and not isinstance(value, (int, float)):
                size = len(value) if isinstance(value, str) else budget.size(value)
                budget.admit(size * max(times, 0))
    elif operator == "**" and isinstance(left, int) and isinstance(right, int):
        if left.bit_length() * abs(right) > _BITS:
            raise TemplateLimitError("a number is too large")
    elif operator == "%" and isinstance(left, str):
        check_percent(budget, left, right)
    elif operator == "+" and isinstance(left, Sequence) and isinstance(right, Sequence):
        budget.admit(len(left) + len(right))


def _check_numbers(*operands: Any) -> None:
    for operand in operands:
        if isinstance(operand, int) and operand.bit_length() > _BITS:
            raise TemplateLimitError("a number is too large")


def check_percent(budget: Budget, text: str, values: Any) -> None:
    """Raises TemplateLimitError if `text % values` must not be made."""
    size = len(text) + sum(map(_width, _DIGITS.findall(text)))
    if "*" in text:
        # Widths may be among the values.
        each = values if isinstance(values, tuple) else (values,)
        size += sum(value for value in each if isinstance(value, int) and value > 0)
    # A text can name the values of a mapping many times; it takes others once.
    size += budget.size(values) * (text.count("%") if isinstance(values, Mapping) else 1)
    budget.admit(size)


def check_replace(budget: Budget, text: str, old: str, new: str) -> None:
    """Raises TemplateLimitError if `text.replace(old, new)` must not be made."""
    longer = len(new) - len(old)
    if longer > 0:
        budget.admit(len(text) + longer * text.count(old))


def check_short(arguments: Iterable[Any]) -> None:
    """Raises TemplateLimitError if a method or filter must not look for one of these texts in another."""
    for argument in arguments:
        if isinstance(argument, str) and len(argument) > _SHORT:
            raise TemplateLimitError("an argument is too long")


def joinable(budget: Budget, separator: str, values: Iterable[Any]) -> list[Any]:
    """Returns values as a list; raises TemplateLimitError if they must not be joined."""
    listed: list[Any] = []
    size = 0
    for value in values:
        size += budget.size(value) + len(separator)
        budget.admit(size)
        listed.append(value)
    return listed


class BoundedFormatter(Formatter):
    """Formats texts with the values and the attributes that a sandbox lets a template see."""

    def __init__(self, budget: Budget, look_up: Callable[[str, Sequence[Any], Mapping[str, Any]], Any]) -> None:
        self._budget = budget
        self._look_up = look_up

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Returns the value of a field, and the name that it begins with."""
        return self._look_up(field_name, args, kwargs)

    def convert_field(self, value: Any, conversion: Any) -> Any:
        """Returns a value converted to a text."""
        self._budget.admit(self._budget.size(value))
        return super().convert_field(value, conversion)

    def format_field(self, value: Any, format_spec: str) -> str:
        """Returns a value as it is written; raises TemplateLimitError if that is too long."""
        self._budget.step()
        size = self._budget.size(value) + sum(map(_width, _DIGITS.findall(format_spec)))
        self._budget.spend(size)
        return str(super().format_field(value, format_spec))


def _check_width(budget: Budget, text: str, arguments: Sequence[Any], _named: Mapping[str, Any]) -> None:
    width = arguments[0] if arguments else 0
    budget.admit(len(text) + (width if isinstance(width, int) else 0))


def _check_tabs(budget: Budget, text: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> None:
    width = arguments[0] if arguments else named.get("tabsize", 8)
    budget.admit(len(text) + text.count("\t") * (width if isinstance(width, int) else 0))


def _check_replace(budget: Budget, text: str, arguments: Sequence[Any], _named: Mapping[str, Any]) -> None:
    if len(arguments) > 1 and isinstance(arguments[0], str) and isinstance(arguments[1], str):
        check_replace(budget, text, arguments[0], arguments[1])


def _check_short(_budget: Budget, _text: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> None:
    check_short([*arguments, *named.values()])


def _width(digits: str) -> int:
    """Returns a width; one of many digits is too large for any text."""
    return int(digits[:_BITS] or 0)


# Methods of texts that make more than their text, or take longer than it is long.
METHODS: Mapping[str, Callable[[Budget, str, Sequence[Any], Mapping[str, Any]], None]] = {
    **dict.fromkeys(("center", "ljust", "rjust", "zfill"), _check_width),
    **dict.fromkeys(("strip", "lstrip", "rstrip", "rfind", "rindex", "rsplit", "rpartition"), _check_short),
    "expandtabs": _check_tabs,
    "replace": _check_replace,
}
# Methods that nothing in a chat template needs, and that no check here knows.
UNKNOWN_METHODS = frozenset(
    ("encode", "translate", "maketrans", "to_bytes", "from_bytes", "fromkeys", "striptags", "unescape")
)

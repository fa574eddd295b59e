"""JSON patches (RFC 6902) with the operations that deploy/k8s uses: add, remove, replace and test."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

import msgspec


class Operation(msgspec.Struct, forbid_unknown_fields=True):
    """One operation; `path` is a JSON pointer (RFC 6901) without escapes."""

    op: Literal["add", "remove", "replace", "test"]
    path: str
    value: Any = None


class PatchError(ValueError):
    """An operation does not fit the document; the message names its path."""


def apply(document: dict[str, Any], operations: Sequence[Operation]) -> None:
    """Changes the document; raises PatchError."""
    for operation in operations:
        *parents, last = operation.path.removeprefix("/").split("/")
        place: Any = document
        try:
            for part in parents:
                place = place[_key(place, part)]
            _change(place, last, operation)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise PatchError(f"{operation.op} {operation.path} does not fit: {error}") from error


def _change(place: Any, last: str, operation: Operation) -> None:
    value = copy.deepcopy(operation.value)
    if operation.op == "add":
        if isinstance(place, list):
            place.insert(len(place) if last == "-" else int(last), value)
        else:
            place[last] = value
        return
    key = _key(place, last)
    old = place[key]
    if operation.op == "test":
        if old != value:
            raise ValueError(f"it is {old!r}")
    elif operation.op == "remove":
        del place[key]
    else:
        place[key] = value


def _key(place: Any, part: str) -> int | str:
    return int(part) if isinstance(place, list) else part

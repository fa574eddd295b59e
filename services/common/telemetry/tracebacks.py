"""Describes exceptions without what they say: a parser's message quotes what it could not parse, even a key."""

from __future__ import annotations

import traceback

from services.common.errors import MeshError


def describe(error: BaseException) -> str:
    """Returns the frames and types of an exception and of those that led to it, the first one first.

    Only messages that cannot hold anything of a customer's are kept: MeshError's own, and the system's for an errno.
    """
    parts: list[str] = []
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        parts.append("".join(traceback.format_tb(following.__traceback__)) + _name(following))
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
    return "\n\nwhich led to:\n\n".join(reversed(parts))


def _name(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(error, MeshError):
        return f"{name}: {error.code.name}, {error.message}"
    if isinstance(error, OSError) and error.errno is not None:
        return f"{name}: {error.strerror} (errno {error.errno})"
    if isinstance(error, BaseExceptionGroup):
        return f"{name}: " + "; ".join(_name(each) for each in error.exceptions)
    return name

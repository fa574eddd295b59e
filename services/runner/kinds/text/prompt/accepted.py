"""Finds out what a chat template takes, by rendering short conversations with it when the model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

# Renders messages; raises whatever the template raises.
Render = Callable[[Sequence[Mapping[str, Any]]], str]
_SYSTEM, _LATER, _QUESTION, _NAME = "The first probe.", "The later probe.", "Which probe?", "probe_name"
_USER = {"role": "user", "content": _QUESTION}


class SystemPlace(Enum):
    """Where a template shows a system message."""

    ANYWHERE = "anywhere"
    FIRST = "first"
    NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a template takes."""

    system: SystemPlace = SystemPlace.ANYWHERE
    # Whether it shows the name of a user.
    names: bool = True


def find_accepted(render: Render) -> Accepted:
    """Returns what a template takes.

    A template that does not show a plain question is not known: it gets every conversation as it is.
    """
    if _QUESTION not in (_rendered(render, _USER) or ""):
        return Accepted()
    named = _rendered(render, {**_USER, "name": _NAME})
    return Accepted(_system_place(render), names=named is None or _NAME in named)


def _system_place(render: Render) -> SystemPlace:
    first = _rendered(render, {"role": "system", "content": _SYSTEM}, _USER)
    if first is None or _SYSTEM not in first:
        return SystemPlace.NOWHERE
    later = _rendered(
        render,
        {"role": "system", "content": _SYSTEM},
        _USER,
        {"role": "assistant", "content": "Both."},
        {"role": "system", "content": _LATER},
        _USER,
    )
    # Some templates leave out a system message that is not the first one, and a few put all of them first.
    in_place = later is not None and _QUESTION in later.partition(_LATER)[0]
    return SystemPlace.ANYWHERE if in_place and later is not None and _LATER in later else SystemPlace.FIRST


def _rendered(render: Render, *messages: Mapping[str, Any]) -> str | None:
    try:
        return render(messages)
    except Exception:  # noqa: BLE001 - templates fail in any way when they refuse a conversation
        return None

"""Which models a list is asked for: those that can be used now, or those of one kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from services.common.catalog import Kind, Model
from services.edge.http.parsing import invalid

KINDS: tuple[Kind, ...] = get_args(Kind)
_YES_OR_NO = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class ModelFilter:
    """What a model must be; what is None may be anything."""

    available: bool | None = None
    kind: str | None = None

    def admits(self, model: Model, *, available: bool) -> bool:
        """Whether a model belongs to the list; `available` tells whether a healthy runner serves it now."""
        return self.available in (None, available) and self.kind in (None, model.kind)


def read_filter(query: Mapping[str, str]) -> ModelFilter:
    """Returns what a query asks for; raises MeshError INVALID_REQUEST for a value that there is not."""
    available, kind = query.get("available"), query.get("kind")
    if available is not None and available not in _YES_OR_NO:
        raise invalid("available", "'available' must be true or false.")
    if kind is not None and kind not in KINDS:
        raise invalid("kind", f"'kind' must be one of {', '.join(KINDS)}.")
    return ModelFilter(None if available is None else _YES_OR_NO[available], kind)

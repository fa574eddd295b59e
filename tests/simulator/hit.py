"""A fault as it happened."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Hit:
    """A fault as it happened, in seconds of the loop's clock."""

    kind: str
    target: str
    other: str
    began: float
    ended: float = float("inf")

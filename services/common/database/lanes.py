"""Which reads wait for one another."""

from __future__ import annotations

from enum import Enum


class Lane(Enum):
    """Reads of one lane wait for one another, and for no other lane."""

    # What takes milliseconds.
    SHORT = "short"
    # What reads as many rows as one account may have.
    REPORT = "report"
    # What reads whole tables.
    WHOLE = "whole"

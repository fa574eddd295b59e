"""What the doctor finds: one line for each thing that was looked at."""

from __future__ import annotations

from enum import Enum

import msgspec


class Verdict(Enum):
    """How a thing is."""

    OK = "ok"
    # It works, but somebody should look at it.
    WARNING = "warning"
    FAILED = "failed"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `fix` says what to do about it, where anything is to be done."""

    verdict: Verdict
    # What was looked at, such as "health", and of whom, such as "billing 10.0.0.7:7102".
    check: str
    target: str
    detail: str
    fix: str = ""


def ok(check: str, target: str, detail: str) -> Finding:
    """Returns the finding that all is well."""
    return Finding(verdict=Verdict.OK, check=check, target=target, detail=detail)


def warning(check: str, target: str, detail: str, fix: str) -> Finding:
    """Returns the finding that something works but wants looking at."""
    return Finding(verdict=Verdict.WARNING, check=check, target=target, detail=detail, fix=fix)


def failed(check: str, target: str, detail: str, fix: str) -> Finding:
    """Returns the finding that something is broken."""
    return Finding(verdict=Verdict.FAILED, check=check, target=target, detail=detail, fix=fix)

"""What ids and short texts may look like. One that a database refuses would fail the transaction of its neighbours."""

from __future__ import annotations

from services.billing.ledger import refusals

MAX_LENGTH = 200


def check_id(name: str, value: str) -> str:
    """Returns an id that is neither empty nor unfit; raises MeshError INVALID_REQUEST."""
    if not value:
        raise refusals.invalid(name, "must not be empty")
    if value.startswith("system:"):
        raise refusals.invalid(name, "must not begin with 'system:', which only the ledger itself uses")
    return check_text(name, value)


def check_text(name: str, value: str) -> str:
    """Returns a text, perhaps empty, that every database can keep; raises MeshError INVALID_REQUEST."""
    if len(value) > MAX_LENGTH:
        raise refusals.invalid(name, f"must have at most {MAX_LENGTH} characters")
    if "\0" in value:
        raise refusals.invalid(name, "must not contain a zero byte")
    return value

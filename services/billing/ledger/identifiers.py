"""What ids, short texts and the names of what is on a chain may look like.

One that a database refuses would fail the transaction of its neighbours. Addresses and hashes of a chain are brought to
one form before they are keys.
"""

from __future__ import annotations

import re

from services.billing.ledger import refusals

MAX_LENGTH = 200
_HASH = re.compile(r"0x[0-9a-f]{64}")
_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
# No chain has so many blocks, nor any block so many logs, that a database integer could not hold them.
_MAX_NUMBER = 2**53


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


def check_chain(chain_id: int) -> int:
    """Returns the number of a chain; raises MeshError INVALID_REQUEST."""
    if not 0 < chain_id <= _MAX_NUMBER:
        raise refusals.invalid("chain_id", "must be a positive number of at most 2^53")
    return chain_id


def check_number(name: str, value: int) -> int:
    """Returns the number of a block or a log; raises MeshError INVALID_REQUEST."""
    if not 0 <= value <= _MAX_NUMBER:
        raise refusals.invalid(name, "must be from 0 to 2^53")
    return value


def check_hash(name: str, value: str) -> str:
    """Returns a hash in lower case; raises MeshError INVALID_REQUEST."""
    return _checked(name, value, _HASH, 64)


def check_address(name: str, value: str) -> str:
    """Returns an address in lower case; raises MeshError INVALID_REQUEST."""
    return _checked(name, value, _ADDRESS, 40)


def _checked(name: str, value: str, form: re.Pattern[str], digits: int) -> str:
    lower = value.lower()
    if not form.fullmatch(lower):
        raise refusals.invalid(name, f"must be 0x and {digits} hexadecimal digits")
    return lower

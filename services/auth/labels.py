"""Labels that people give to accounts and keys, and public ids."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from services.common.errors import Code, MeshError

MAX_LABEL_LENGTH = 200

# Returns that many random bytes; injected, so that tests decide what is random.
RandomBytes = Callable[[int], bytes]


def check_label(name: str) -> None:
    """Raises MeshError INVALID_REQUEST unless `name` is a label that every database and terminal can show."""
    if len(name) > MAX_LABEL_LENGTH:
        message = f"The name has {len(name)} characters; at most {MAX_LABEL_LENGTH} are allowed."
        raise MeshError(Code.INVALID_REQUEST, message, param="name")
    if not name.isprintable():
        message = "The name contains control characters; use printable ones."
        raise MeshError(Code.INVALID_REQUEST, message, param="name")


def new_id(kind: str, random: RandomBytes = secrets.token_bytes) -> str:
    """Returns a public id such as `acct_9f86d081884c7d659a2feaa0`; 96 random bits never collide in practice."""
    return f"{kind}_{random(12).hex()}"

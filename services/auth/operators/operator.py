"""An operator, and the key that signs an operator in.

The key is `op-<prefix>-<43 letters and digits>`, the last part being 256 random bits. As of API keys, only its SHA-256
digest is kept. It is no API key: nothing but the operators' console takes it, and that takes no API key.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from services.auth.keys import digest_of, hint_of, new_secret
from services.auth.labels import RandomBytes, check_label, new_id
from services.common.errors import Code, MeshError

# Nothing longer can be a key, so nothing longer is hashed.
_MAX_KEY_LENGTH = 128


@dataclass(frozen=True, slots=True)
class Operator:
    """What is kept of an operator. Times are milliseconds since the Unix epoch; 0 means never."""

    id: str
    name: str
    hint: str
    digest: bytes
    created_at_ms: int
    removed_at_ms: int = 0


def new_operator(
    name: str, prefix: str, now_ms: int, random: RandomBytes = secrets.token_bytes
) -> tuple[str, Operator]:
    """Returns the key of a new operator, and what is kept; raises MeshError INVALID_REQUEST for a wrong name."""
    check_label(name)
    if not name.strip():
        raise MeshError(Code.INVALID_REQUEST, "The name is empty; give the operator's name.", param="name")
    key = "op-" + new_secret(prefix, random).removeprefix("sk-")
    return key, Operator(new_id("oper", random), name, hint_of(key), digest_of(key), now_ms)


def operator_key_digest(key: str) -> bytes:
    """Returns what is looked up in place of a key; no operator has that of text that can be none."""
    return digest_of(key) if len(key) <= _MAX_KEY_LENGTH else b""

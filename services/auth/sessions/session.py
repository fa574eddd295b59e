"""A session of the console: what is kept of it, and when it has ended.

Its token is 256 random bits in the browser's cookie. Only the SHA-256 digest is kept, as of API keys and for the same
reason. A session is never worth more than the key that began it: it ends with that key. A passkey or a recovery code
stands on a key without a secret, so this holds for them too.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from typing import NamedTuple

from services.auth.keys import ApiKey
from services.auth.labels import RandomBytes
from services.common.errors import Code, MeshError
from services.common.scopes import MANAGEMENT, may_use

_TOKEN_BYTES = 32
# Nothing longer can be a token, so nothing longer is hashed.
_MAX_TOKEN_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Session:
    """What is kept of a session. Times are milliseconds since the Unix epoch."""

    id: str
    account_id: str
    key_id: str
    label: str
    created_at_ms: int
    # When the key or the passkey was last shown.
    confirmed_at_ms: int
    last_used_at_ms: int
    # When it ends at the latest.
    expires_at_ms: int


class FoundSession(NamedTuple):
    """A session with what decides whether it still counts."""

    session: Session
    account_name: str
    # The key that began it; None if that key was forgotten.
    key: ApiKey | None

    @property
    def standing_on(self) -> ApiKey:
        """The key of a session that counts."""
        if self.key is None:
            raise MeshError(Code.UNAUTHENTICATED, "The session has ended. Sign in again.")
        return self.key

    def works(self, now_ms: int, idle_ms: int) -> bool:
        """Whether it counts now; `idle_ms` is how long it may be unused."""
        session, key = self.session, self.key
        in_time = now_ms < min(session.expires_at_ms, session.last_used_at_ms + idle_ms)
        return in_time and key is not None and key.works(now_ms) and may_use(key.endpoints, MANAGEMENT)


def new_token(random: RandomBytes = secrets.token_bytes) -> str:
    """Returns a new token, of characters that a cookie may have."""
    return base64.urlsafe_b64encode(random(_TOKEN_BYTES)).decode().rstrip("=")


def token_digest(token: str) -> bytes:
    """Returns what is stored and looked up in place of a token; no session has that of text that can be none."""
    return hashlib.sha256(token.encode()).digest() if len(token) <= _MAX_TOKEN_LENGTH else b""

"""Answers "who is this" from memory: whose key it is, and whether its rate limit allows one more request."""

from __future__ import annotations

from services.auth.key_cache import Credential, KeyCache
from services.auth.last_used import LastUsed
from services.common.clock import Clock, system_clock, to_ms


class Authenticator:
    """Verifies keys and notes their use. Nothing here waits."""

    def __init__(self, keys: KeyCache, last_used: LastUsed, *, clock: Clock = system_clock) -> None:
        self._keys = keys
        self._last_used = last_used
        self._clock = clock

    def authenticate(self, secret: str) -> Credential:
        """Returns whose key it is; raises MeshError UNAUTHENTICATED."""
        now_ms = to_ms(self._clock())
        credential = self._keys.verify(secret, now_ms)
        # A refused request is a use as well: its owner sees that something still calls with this key.
        self._last_used.note(credential.key_id, now_ms)
        return credential

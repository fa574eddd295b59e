"""The API key of a session, with which the console sends the requests of its playground.

It follows from the session's token, which only the browser has, and from random bits, which only the database has. So
nobody has to keep it: any replica makes it again for a console that shows the token, and neither a stolen cookie nor a
stolen database is enough to make it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from services.auth.issuing.bounds import KeyBounds
from services.auth.issuing.key_store import Standing
from services.auth.issuing.rights import Wish, line_of, lower, passed_on
from services.auth.keys import RECOVERY_CODE_HINT, ApiKey, digest_of, hint_of, new_secret
from services.auth.labels import RandomBytes, new_id
from services.auth.sessions.session import FoundSession
from services.auth.sessions.sessions import USE_STEP_MS, OnChange, Sessions
from services.common.clock import Clock, system_clock, to_ms
from services.common.errors import Code, MeshError
from services.common.scopes import may_use

NAME = "Playground"
_SCOPE = "chat"
_SALT_BYTES = 32


class SaltedKey(NamedTuple):
    """The key of a session with the random bits from which it follows."""

    key: ApiKey
    salt: bytes


@dataclass(frozen=True, slots=True)
class KeyTerms:
    """What keys of sessions look like and may do; 0 means no limit."""

    prefix: str
    default_requests_per_minute: int
    # Credits in one calendar month (UTC).
    monthly_credit_cap: int


class SessionKeyStore(Protocol):
    """Where keys of sessions are kept. Every method raises MeshError UNAVAILABLE while that cannot be reached."""

    async def find_session_key(self, session_id: str) -> SaltedKey | None:
        """Returns the newest key of a session, whether or not it works; None if it has none yet."""

    async def insert_session_key(self, salted: SaltedKey, admission: Callable[[Standing], None]) -> SaltedKey:
        """Keeps a new key of a session and returns it, or the one that another call has kept meanwhile.

        Raises MeshError UNAUTHENTICATED if the session has ended, and what `admission` raises.
        """

    async def extend_session_key(self, key: ApiKey, expires_at_ms: int) -> ApiKey | None:
        """Moves the expiry of a key forward, not beyond that of the key that began its session.

        Returns it as it is kept, or None if it has been revoked.
        """


class SessionKeys:
    """Makes the key of each session when it is first needed, and keeps it working as long as the session is used."""

    def __init__(
        self,
        sessions: Sessions,
        store: SessionKeyStore,
        on_change: OnChange,
        bounds: KeyBounds,
        terms: KeyTerms,
        *,
        clock: Clock = system_clock,
        random: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._sessions = sessions
        self._store = store
        self._on_change = on_change
        self._bounds = bounds
        self._terms = terms
        self._clock = clock
        self._random = random

    async def get(self, token: str) -> tuple[str, ApiKey]:
        """Returns the key of the session with this token, and what is kept of it.

        Raises MeshError UNAUTHENTICATED if the session has ended or its key was revoked, PERMISSION_DENIED if the key
        that signed in may not pass the scope on or stands for a recovery code, and CONFLICT if the account has too many
        keys.
        """
        found = await self._sessions.find(token)
        now_ms = to_ms(self._clock())
        ends_at_ms = self._sessions.ends_at_ms(found)
        kept = await self._store.find_session_key(found.session.id)
        if kept is not None and kept.key.revoked_at_ms:
            raise MeshError(Code.UNAUTHENTICATED, "The key of this session was revoked. Sign out and in again.")
        if kept is None or not kept.key.works(now_ms):
            kept = await self._store.insert_session_key(self._new(token, found, ends_at_ms, now_ms), self._admit)
            self._on_change(kept.key)
        elif ends_at_ms - kept.key.expires_at_ms >= USE_STEP_MS:
            extended = await self._store.extend_session_key(kept.key, ends_at_ms)
            if extended is None:
                raise _ended()
            self._on_change(extended)
            kept = SaltedKey(extended, kept.salt)
        return self._secret(token, kept.salt), kept.key

    def _new(self, token: str, found: FoundSession, ends_at_ms: int, now_ms: int) -> SaltedKey:
        creator = found.standing_on
        if creator.hint == RECOVERY_CODE_HINT:
            message = "A recovery code signs in to add a passkey or to get a key. Do one of these first."
            raise MeshError(Code.PERMISSION_DENIED, message)
        if not may_use(creator.endpoints, _SCOPE):
            message = f"What you signed in with lacks the scope '{_SCOPE}'. Sign in with a key that has it."
            raise MeshError(Code.PERMISSION_DENIED, message)
        cap = lower(self._terms.monthly_credit_cap, creator.monthly_credit_cap)
        wish = passed_on(
            Wish(name=NAME, endpoints=(_SCOPE,), monthly_credit_cap=cap, expires_at_ms=ends_at_ms),
            creator,
            self._terms.default_requests_per_minute,
        )
        salt = self._random(_SALT_BYTES)
        secret = self._secret(token, salt)
        key = ApiKey(
            id=new_id("key", self._random),
            account_id=found.session.account_id,
            name=wish.name,
            hint=hint_of(secret),
            digest=digest_of(secret),
            requests_per_minute=wish.requests_per_minute or 0,
            created_at_ms=now_ms,
            expires_at_ms=wish.expires_at_ms,
            models=wish.models,
            endpoints=wish.endpoints,
            monthly_credit_cap=wish.monthly_credit_cap or 0,
            created_by=creator.id,
            ancestors=line_of(creator),
            session_id=found.session.id,
        )
        return SaltedKey(key, salt)

    def _admit(self, standing: Standing) -> None:
        """Decides once more, now that nothing changes: the key that signed in may have been revoked."""
        if standing.creator is None or not standing.creator.works(to_ms(self._clock())):
            raise _ended()
        self._bounds.check(standing)

    def _secret(self, token: str, salt: bytes) -> str:
        return new_secret(self._terms.prefix, lambda _: hmac.digest(token.encode(), salt, hashlib.sha256))


def _ended() -> MeshError:
    return MeshError(Code.UNAUTHENTICATED, "The session has ended. Sign in again.")

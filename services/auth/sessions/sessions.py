"""Begins, finds and ends sessions of the console."""

from __future__ import annotations

import math
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from services.auth.key_cache import Credential
from services.auth.keys import ApiKey
from services.auth.labels import RandomBytes, check_label, new_id
from services.auth.sessions.session import FoundSession, Session, new_token, token_digest
from services.common.clock import Clock, system_clock, to_ms
from services.common.errors import Code, MeshError
from services.common.scopes import MANAGEMENT, may_use

# How often the time of last use is written, in milliseconds.
USE_STEP_MS = 60_000
# Returns whose key a secret is; raises MeshError UNAUTHENTICATED.
Authenticate = Callable[[str], Awaitable[Credential]]
# Is told of every key that was changed, after the store has committed.
OnChange = Callable[[ApiKey], None]


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long sessions last, in seconds, and how many an account has at the same time."""

    # Since their beginning.
    lifetime: float
    # Since their last use.
    idle: float
    most: int


class SessionStore(Protocol):
    """Where sessions are kept. Every method raises MeshError UNAVAILABLE while that cannot be reached."""

    async def insert_session(self, session: Session, digest: bytes, most: int) -> Sequence[ApiKey]:
        """Keeps a new session, and of the account's others only the newest, so that there are `most` with it.

        Sessions of any account that ended before this one begins are forgotten. The keys of all sessions that are not
        kept are revoked, and returned.
        """

    async def find_session(self, digest: bytes) -> FoundSession | None:
        """Returns the session of a token, whether or not it counts."""

    async def list_sessions(self, account_id: str) -> Sequence[FoundSession]:
        """Returns the sessions of an account, newest first, whether or not they count."""

    async def note_use(self, session_id: str, used_at_ms: int, confirmed_at_ms: int) -> None:
        """Moves both times of a session forward to those given; never back."""

    async def end_sessions(
        self, account_id: str, session_id: str, except_session_id: str, now_ms: int
    ) -> tuple[int, Sequence[ApiKey]]:
        """Forgets one session of an account, or all but one, and revokes their keys.

        Returns how many sessions there were, and those keys.
        """


class Sessions:
    """Signs owners in and out."""

    def __init__(
        self,
        store: SessionStore,
        authenticate: Authenticate,
        limits: SessionLimits,
        *,
        on_change: OnChange,
        clock: Clock = system_clock,
        random: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._authenticate = authenticate
        self._limits = limits
        self._on_change = on_change
        self._clock = clock
        self._random = random

    async def create(self, api_key: str, label: str) -> tuple[str, FoundSession]:
        """Begins a session and returns its token, which nobody can ask for again.

        Raises MeshError UNAUTHENTICATED for a key that does not work, PERMISSION_DENIED for one that may not manage
        its account, and INVALID_REQUEST for a label that cannot be shown.
        """
        check_label(label)
        credential = await self._managing(api_key)
        return await self.begin(credential.account_id, credential.key_id, label)

    async def begin(
        self, account_id: str, key_id: str, label: str, *, lifetime: float = math.inf
    ) -> tuple[str, FoundSession]:
        """Begins a session of somebody who has been identified, of at most `lifetime` seconds; returns its token.

        Raises MeshError UNAUTHENTICATED if the key does not work or may not manage its account.
        """
        check_label(label)
        now_ms = to_ms(self._clock())
        token = new_token(self._random)
        session = Session(
            id=new_id("sess", self._random),
            account_id=account_id,
            key_id=key_id,
            label=label,
            created_at_ms=now_ms,
            confirmed_at_ms=now_ms,
            last_used_at_ms=now_ms,
            expires_at_ms=now_ms + round(min(self._limits.lifetime, lifetime) * 1000),
        )
        self._tell(await self._store.insert_session(session, token_digest(token), self._limits.most))
        return token, await self.find(token)

    async def find(self, token: str) -> FoundSession:
        """Returns the session of a token and notes its use; raises MeshError UNAUTHENTICATED if it has ended."""
        now_ms = to_ms(self._clock())
        found = await self._store.find_session(token_digest(token))
        if found is None or not self._counts(found, now_ms):
            raise MeshError(Code.UNAUTHENTICATED, "The session has ended. Sign in again.")
        if now_ms - found.session.last_used_at_ms >= USE_STEP_MS:
            await self._store.note_use(found.session.id, now_ms, 0)
            return found._replace(session=replace(found.session, last_used_at_ms=now_ms))
        return found

    def ends_at_ms(self, found: FoundSession) -> int:
        """Returns when a session ends if it is not used any more."""
        session = found.session
        idle_end_ms = session.last_used_at_ms + self._idle_ms
        key_end_ms = 0 if found.key is None else found.key.expires_at_ms
        return min(session.expires_at_ms, idle_end_ms, key_end_ms or idle_end_ms)

    async def confirm(self, token: str, api_key: str) -> FoundSession:
        """Notes that the owner has shown the session's key once more; raises MeshError as `create` and `find` do."""
        found = await self.find(token)
        if (await self._managing(api_key)).key_id != found.session.key_id:
            message = "This is not the key that you signed in with. Use that key, or sign out and in again."
            raise MeshError(Code.PERMISSION_DENIED, message)
        return await self.note_confirmed(found)

    async def note_confirmed(self, found: FoundSession) -> FoundSession:
        """Notes that the owner has shown once more what began a session, and returns the session."""
        now_ms = to_ms(self._clock())
        await self._store.note_use(found.session.id, now_ms, now_ms)
        return found._replace(session=replace(found.session, confirmed_at_ms=now_ms, last_used_at_ms=now_ms))

    async def list(self, account_id: str) -> Sequence[FoundSession]:
        """Returns the sessions of an account that count, newest first."""
        now_ms = to_ms(self._clock())
        return [found for found in await self._store.list_sessions(account_id) if self._counts(found, now_ms)]

    async def end(self, account_id: str, session_id: str = "", except_session_id: str = "") -> int:
        """Ends one session of an account, or all but one; returns how many."""
        ended, keys = await self._store.end_sessions(account_id, session_id, except_session_id, to_ms(self._clock()))
        self._tell(keys)
        return ended

    def _tell(self, keys: Sequence[ApiKey]) -> None:
        """Puts changed keys into this replica's cache; a caller that hangs up before leaves that to ChangeFollower."""
        for key in keys:
            self._on_change(key)

    def _counts(self, found: FoundSession, now_ms: int) -> bool:
        return found.works(now_ms, self._idle_ms)

    @property
    def _idle_ms(self) -> int:
        return round(self._limits.idle * 1000)

    async def _managing(self, api_key: str) -> Credential:
        credential = await self._authenticate(api_key)
        if not may_use(credential.endpoints, MANAGEMENT):
            message = f"This API key lacks the scope '{MANAGEMENT}', so it cannot sign in. Use a key with that scope."
            raise MeshError(Code.PERMISSION_DENIED, message)
        return credential

"""Begins, finds and ends sessions of the operators' console.

They are kept apart from the sessions of owners, in a table of their own, so that no mistake makes one of the other.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from services.auth.labels import RandomBytes, check_label, new_id
from services.auth.operators.operator import Operator, operator_key_digest
from services.auth.sessions.session import new_token, token_digest
from services.auth.sessions.sessions import USE_STEP_MS, SessionLimits
from services.common.clock import Clock, system_clock, to_ms
from services.common.errors import Code, MeshError


@dataclass(frozen=True, slots=True)
class OperatorSession:
    """What is kept of a session. Times are milliseconds since the Unix epoch."""

    id: str
    operator_id: str
    label: str
    created_at_ms: int
    # When the operator's key was last shown.
    confirmed_at_ms: int
    last_used_at_ms: int
    # When it ends at the latest.
    expires_at_ms: int


class FoundOperatorSession(NamedTuple):
    """A session with the operator whose it is."""

    session: OperatorSession
    operator: Operator

    def works(self, now_ms: int, idle_ms: int) -> bool:
        """Whether it counts now; `idle_ms` is how long it may be unused."""
        end = min(self.session.expires_at_ms, self.session.last_used_at_ms + idle_ms)
        return now_ms < end and not self.operator.removed_at_ms


class OperatorSessionStore(Protocol):
    """Where sessions are kept. Every method raises MeshError UNAVAILABLE while that cannot be reached."""

    async def find_operator(self, digest: bytes) -> Operator | None:
        """Returns the operator with a key, removed or not."""

    async def insert_session(self, session: OperatorSession, digest: bytes, most: int) -> None:
        """Keeps a new session, and of the operator's others only the newest, so that there are `most` with it."""

    async def find_session(self, digest: bytes) -> FoundOperatorSession | None:
        """Returns the session of a token, whether or not it counts."""

    async def note_use(self, session_id: str, used_at_ms: int, confirmed_at_ms: int) -> None:
        """Moves both times of a session forward to those given; never back."""

    async def end_session(self, digest: bytes) -> None:
        """Forgets the session of a token."""


class OperatorSessions:
    """Signs operators in and out."""

    def __init__(
        self,
        store: OperatorSessionStore,
        limits: SessionLimits,
        *,
        clock: Clock = system_clock,
        random: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._limits = limits
        self._clock = clock
        self._random = random

    async def create(self, operator_key: str, label: str) -> tuple[str, FoundOperatorSession]:
        """Begins a session and returns its token, which nobody can ask for again.

        Raises MeshError UNAUTHENTICATED for anything but the key of an operator, and INVALID_REQUEST for a label that
        cannot be shown.
        """
        check_label(label)
        operator = await self._operator(operator_key)
        now_ms = to_ms(self._clock())
        token = new_token(self._random)
        expires_at_ms = now_ms + round(self._limits.lifetime * 1000)
        session = OperatorSession(
            new_id("opses", self._random), operator.id, label, now_ms, now_ms, now_ms, expires_at_ms
        )
        await self._store.insert_session(session, token_digest(token), self._limits.most)
        return token, FoundOperatorSession(session, operator)

    async def find(self, token: str) -> FoundOperatorSession:
        """Returns the session of a token and notes its use; raises MeshError UNAUTHENTICATED if it has ended."""
        now_ms = to_ms(self._clock())
        found = await self._store.find_session(token_digest(token))
        if found is None or not found.works(now_ms, round(self._limits.idle * 1000)):
            raise MeshError(Code.UNAUTHENTICATED, "The session has ended. Sign in again.")
        if now_ms - found.session.last_used_at_ms >= USE_STEP_MS:
            await self._store.note_use(found.session.id, now_ms, 0)
        return found

    async def confirm(self, token: str, operator_key: str) -> FoundOperatorSession:
        """Notes that the operator has shown the key once more; raises MeshError as `create` and `find` do."""
        found = await self.find(token)
        if (await self._operator(operator_key)).id != found.operator.id:
            message = "This is the key of another operator. Use your own, or sign out and in again."
            raise MeshError(Code.PERMISSION_DENIED, message)
        now_ms = to_ms(self._clock())
        await self._store.note_use(found.session.id, now_ms, now_ms)
        return found._replace(session=replace(found.session, confirmed_at_ms=now_ms, last_used_at_ms=now_ms))

    async def end(self, token: str) -> None:
        """Ends a session; nothing happens if there is none."""
        await self._store.end_session(token_digest(token))

    async def _operator(self, operator_key: str) -> Operator:
        found = await self._store.find_operator(operator_key_digest(operator_key))
        if found is None or found.removed_at_ms:
            message = (
                "This is not the key of an operator. API keys do not work here. "
                "Use the key that `tiermesh operator create` has shown."
            )
            raise MeshError(Code.UNAUTHENTICATED, message)
        return found

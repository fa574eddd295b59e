"""Issues, lists and revokes keys: the store first, then whoever verifies."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from services.auth.keys import ApiKey, check_expiry, digest_of, hint_of, new_secret
from services.auth.labels import RandomBytes, check_label, new_id
from services.common.clock import Clock, system_clock, to_ms

ResultT = TypeVar("ResultT")

# Is told of every key that was made or changed, after the store has committed. One replica puts it into its own
# cache; several will announce it to each other here.
OnChange = Callable[[ApiKey], None]


class KeyStore(Protocol):
    """Where keys are kept."""

    async def insert_key(self, key: ApiKey) -> None:
        """Keeps a new key; raises MeshError NOT_FOUND without its account."""

    async def list_keys(self, account_id: str = "") -> list[ApiKey]:
        """Returns the keys of one account, or all, oldest first."""

    async def revoke_key(self, key_id: str, now_ms: int) -> ApiKey:
        """Marks a key as revoked unless it is already; raises MeshError NOT_FOUND."""


class KeyIssuer:
    """Makes keys and takes them back."""

    def __init__(
        self,
        store: KeyStore,
        on_change: OnChange,
        *,
        prefix: str,
        default_requests_per_minute: int,
        clock: Clock = system_clock,
        random: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._on_change = on_change
        self._prefix = prefix
        self._default_requests_per_minute = default_requests_per_minute
        self._clock = clock
        self._random = random
        self._running: set[asyncio.Task[Any]] = set()

    async def create(
        self, account_id: str, name: str, *, requests_per_minute: int | None = None, expires_at_ms: int = 0
    ) -> tuple[str, ApiKey]:
        """Makes a key and returns it with what is kept of it; nobody can ask for the key itself again.

        Without `requests_per_minute` the default holds. Raises MeshError INVALID_REQUEST for a bad name or an expiry
        in the past, NOT_FOUND for an unknown account.
        """
        now_ms = to_ms(self._clock())
        check_label(name)
        check_expiry(expires_at_ms, now_ms)
        secret = new_secret(self._prefix, self._random)
        key = ApiKey(
            id=new_id("key", self._random),
            account_id=account_id,
            name=name,
            hint=hint_of(secret),
            digest=digest_of(secret),
            requests_per_minute=self._default_requests_per_minute
            if requests_per_minute is None
            else requests_per_minute,
            created_at_ms=now_ms,
            expires_at_ms=expires_at_ms,
        )
        await self._to_the_end(self._insert(key))
        return secret, key

    async def list(self, account_id: str = "") -> list[ApiKey]:
        """Returns the keys of one account, or all keys, oldest first."""
        return await self._store.list_keys(account_id)

    async def revoke(self, key_id: str) -> ApiKey:
        """Makes a key useless for ever; again changes nothing. Raises MeshError NOT_FOUND."""
        return await self._to_the_end(self._revoke(key_id))

    async def drain(self, seconds: float) -> None:
        """Waits until changes that have begun are stored and told, at most `seconds`."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)

    async def _insert(self, key: ApiKey) -> None:
        await self._store.insert_key(key)
        self._on_change(key)

    async def _revoke(self, key_id: str) -> ApiKey:
        key = await self._store.revoke_key(key_id, to_ms(self._clock()))
        self._on_change(key)
        return key

    async def _to_the_end(self, change: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Runs a change that a caller who hangs up cannot split: a stored revocation must reach the cache."""
        task = asyncio.ensure_future(change)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

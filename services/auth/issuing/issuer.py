"""Issues, lists, rotates and revokes keys: the store first, then the cache that verifies them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from services.auth.issuing.bounds import KeyBounds
from services.auth.issuing.key_store import Admission, KeyStore, Standing
from services.auth.issuing.rights import (
    Wish,
    check_may_revoke,
    check_may_rotate,
    check_wish,
    line_of,
    passed_on,
)
from services.auth.keys import ApiKey, check_expiry, digest_of, hint_of, new_secret
from services.auth.labels import RandomBytes, check_label, new_id
from services.auth.lineage import Ancestor
from services.common.catalog import Catalog
from services.common.clock import Clock, system_clock, to_ms
from services.common.errors import Code, MeshError

# Long enough to change the key wherever it is used, within a working day of any time zone.
DEFAULT_OVERLAP_SECONDS = 24 * 3600


ResultT = TypeVar("ResultT")
# Is told of every key that was made or changed, after the store has committed. It puts it into this replica's own
# cache; the others find the change in the store.
OnChange = Callable[[ApiKey], None]
# Keeps a key, with what stands on it; as `KeyStore.insert_key`.
Insert = Callable[[ApiKey, Admission | None], Awaitable[ApiKey]]


def check_rotation(key: ApiKey, now_ms: int) -> None:
    """Raises MeshError CONFLICT unless a key works and was not rotated: each key has one successor."""
    if key.session_id:
        message = "The key belongs to a session of the console and ends with it. Create a key of your own instead."
        raise MeshError(Code.CONFLICT, message, param="key_id")
    if not key.works(now_ms):
        state = "was revoked" if key.revoked_at_ms else "has expired"
        raise MeshError(Code.CONFLICT, f"The key {state}. Create a new one instead.", param="key_id")
    if key.replaced_by:
        message = f"The key was rotated before; its successor is {key.replaced_by}. Rotate that, or revoke this one."
        raise MeshError(Code.CONFLICT, message, param="key_id")


def with_overlap(old: ApiKey, now_ms: int, overlap_seconds: int) -> ApiKey:
    """Returns the old key with the end of the overlap as its expiry, unless it expires sooner anyway."""
    end_ms = now_ms + overlap_seconds * 1000
    return replace(old, expires_at_ms=min(old.expires_at_ms or end_ms, end_ms))


def _working(key: ApiKey | None, account_id: str, now_ms: int) -> ApiKey:
    """Returns the key on whose behalf something is done; raises MeshError NOT_FOUND unless it is the account's."""
    if key is None or key.account_id != account_id or not key.works(now_ms):
        raise MeshError(Code.NOT_FOUND, "The calling key no longer works. Use another key.")
    return key


class KeyIssuer:
    """Makes keys and takes them back."""

    def __init__(
        self,
        store: KeyStore,
        on_change: OnChange,
        catalog: Catalog,
        *,
        prefix: str,
        default_requests_per_minute: int,
        bounds: KeyBounds,
        clock: Clock = system_clock,
        random: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._store = store
        self._on_change = on_change
        self._catalog = catalog
        self._prefix = prefix
        self._default_requests_per_minute = default_requests_per_minute
        self._bounds = bounds
        self._clock = clock
        self._random = random
        self._running: set[asyncio.Task[Any]] = set()

    @property
    def default_requests_per_minute(self) -> int:
        """The rate limit of a key about whose limit nothing is said."""
        return self._default_requests_per_minute

    async def create(self, account_id: str, wish: Wish, *, creator_key_id: str = "") -> tuple[str, ApiKey]:
        """Makes a key and returns it with what is kept of it; nobody can ask for the key itself again.

        With a creator the new key gets no right that the creator lacks, and the creator's limits bind both together.
        Raises MeshError INVALID_REQUEST for what makes no sense, NOT_FOUND for an unknown account or creator,
        PERMISSION_DENIED beyond the creator's rights, CONFLICT for one key too many.
        """
        now_ms = to_ms(self._clock())
        check_label(wish.name)
        check_expiry(wish.expires_at_ms, now_ms)
        wish = check_wish(wish, self._catalog)
        ancestors: tuple[Ancestor, ...] = ()
        if creator_key_id:
            creator = _working(await self._store.find_key(creator_key_id), account_id, now_ms)
            wish = passed_on(wish, creator, self._default_requests_per_minute)
            ancestors = line_of(creator)
        rate = wish.requests_per_minute
        secret, key = self._new_key(account_id, now_ms)
        key = replace(
            key,
            name=wish.name,
            models=wish.models,
            endpoints=wish.endpoints,
            requests_per_minute=self._default_requests_per_minute if rate is None else rate,
            monthly_credit_cap=wish.monthly_credit_cap or 0,
            expires_at_ms=wish.expires_at_ms,
            created_by=creator_key_id,
            ancestors=ancestors,
        )
        return secret, await self._to_the_end(self._insert(key, self._store.insert_key))

    async def keep(self, key: ApiKey, insert: Insert) -> ApiKey:
        """Keeps a key without a secret by `insert`, with what stands on it, and returns it as it is kept.

        Raises MeshError as `create` does, and as `insert` does.
        """
        return await self._to_the_end(self._insert(key, insert))

    async def get(self, key_id: str, account_id: str = "") -> ApiKey:
        """Returns one key; raises MeshError NOT_FOUND, also for a key of another account than the one given."""
        return await self._store.get_key(key_id, account_id)

    async def list(
        self,
        account_id: str = "",
        *,
        limit: int = 0,
        after_key_id: str = "",
        newest_first: bool = False,
        with_session_keys: bool = False,
    ) -> list[ApiKey]:
        """Returns the keys of one account, or all keys; at most `limit`, and those after one, if given.

        Those that belong to sessions are among them only with `with_session_keys`.

        Raises MeshError INVALID_REQUEST if there is no such key to come after.
        """
        return await self._store.list_keys(
            account_id,
            limit=limit,
            after_key_id=after_key_id,
            newest_first=newest_first,
            with_session_keys=with_session_keys,
        )

    async def revoke(
        self, key_id: str, account_id: str = "", *, descendants: bool = False, revoker_key_id: str = ""
    ) -> Sequence[ApiKey]:
        """Makes a key useless for ever, and perhaps its descendants; again changes nothing.

        Returns the key, then the descendants that it revoked. Raises MeshError NOT_FOUND, and PERMISSION_DENIED if
        another key asks for it that may not.
        """
        return await self._to_the_end(
            self._revoke(key_id, account_id, descendants=descendants, revoker_key_id=revoker_key_id)
        )

    async def rotate(
        self,
        key_id: str,
        overlap_seconds: int = DEFAULT_OVERLAP_SECONDS,
        *,
        account_id: str = "",
        rotator_key_id: str = "",
    ) -> tuple[str, ApiKey, ApiKey]:
        """Makes a key with another one's settings; returns it, what is kept of it, and the old one, which will expire.

        Raises MeshError NOT_FOUND, CONFLICT for a key that does not work any more or was rotated before, and
        PERMISSION_DENIED if another key asks for it that may not.
        """
        now_ms = to_ms(self._clock())
        old = await self._store.get_key(key_id, account_id)
        check_rotation(old, now_ms)
        secret, fresh = self._new_key(old.account_id, now_ms)
        successor = replace(
            old,
            id=fresh.id,
            hint=fresh.hint,
            digest=fresh.digest,
            created_at_ms=now_ms,
            last_used_at_ms=0,
            origin=old.counted_as,
        )
        replacing = self._replace(with_overlap(old, now_ms, overlap_seconds), successor, rotator_key_id)
        old, new = await self._to_the_end(replacing)
        return secret, new, old

    async def drain(self, seconds: float) -> None:
        """Waits until changes that have begun are stored and told, at most `seconds`."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)

    def _new_key(self, account_id: str, now_ms: int) -> tuple[str, ApiKey]:
        """Returns a key that nothing is said about yet but whose it is."""
        secret = new_secret(self._prefix, self._random)
        key = ApiKey(
            id=new_id("key", self._random),
            account_id=account_id,
            name="",
            hint=hint_of(secret),
            digest=digest_of(secret),
            requests_per_minute=0,
            created_at_ms=now_ms,
        )
        return secret, key

    def _admit(self, key: ApiKey, standing: Standing) -> None:
        """Decides once more, now that nothing changes: the creator may have been revoked, or other keys been made."""
        _working(standing.creator, key.account_id, key.created_at_ms)
        self._bounds.check(standing)

    async def _insert(self, key: ApiKey, insert: Insert) -> ApiKey:
        admission = partial(self._admit, key) if key.created_by else None
        kept = await insert(key, admission)
        self._on_change(kept)
        return kept

    async def _revoke(
        self, key_id: str, account_id: str, *, descendants: bool, revoker_key_id: str
    ) -> Sequence[ApiKey]:
        now_ms = to_ms(self._clock())

        def permission(target: ApiKey, revoker: ApiKey | None) -> None:
            check_may_revoke(_working(revoker, target.account_id, now_ms), target)

        revoked = await self._store.revoke_key(
            *(key_id, now_ms, account_id),
            descendants=descendants,
            revoker_key_id=revoker_key_id,
            permission=permission if revoker_key_id else None,
        )
        for key in revoked:
            self._on_change(key)
        return revoked

    async def _replace(self, old: ApiKey, new: ApiKey, rotator_key_id: str) -> tuple[ApiKey, ApiKey]:
        def permission(target: ApiKey, rotator: ApiKey | None) -> None:
            check_may_rotate(_working(rotator, target.account_id, new.created_at_ms), target)

        kept = await self._store.replace_key(
            old, new, rotator_key_id=rotator_key_id, permission=permission if rotator_key_id else None
        )
        for key in kept:
            self._on_change(key)
        return kept

    async def _to_the_end(self, change: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Runs a change that a caller who hangs up cannot split: a stored revocation must reach the cache."""
        task = asyncio.ensure_future(change)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from services.auth.accounts import Account
from services.auth.changes import ChangeFollower, Changes
from services.auth.key_cache import KeyCache
from services.auth.keys import ApiKey
from services.auth.store.store import AuthStore
from services.common.errors import Code, MeshError
from tests.support.waiting import eventually
from tests.unit.auth.keys_for_tests import api_key
from tests.unit.auth.manual_clock import ManualClock

SECRET = "sk-tiermesh-abcdefgh"


class ChangesInHand:
    """A store in the test's hand."""

    def __init__(self, *keys: ApiKey) -> None:
        self.keys = list(keys)
        self.number = len(keys)
        self.forgotten = 0
        self.error: Exception | None = None

    async def load_keys(self, after: str = "", limit: int = 0) -> tuple[int, list[ApiKey]]:
        later = sorted((key for key in self.keys if key.id > after), key=lambda key: key.id)
        return self.number, later[:limit] if limit else later

    async def changed_since(self, number: int) -> Changes:
        if self.error is not None:
            raise self.error
        return Changes(self.number, self.forgotten, [key for key in self.keys if key.change_number > number])


@pytest.fixture
def keys() -> KeyCache:
    return KeyCache()


def follower_of(changes: ChangesInHand | AuthStore, keys: KeyCache, clock: ManualClock) -> ChangeFollower:
    return ChangeFollower(changes, keys, interval=0.001, max_stale=30, clock=clock)


@asynccontextmanager
async def running(follower: ChangeFollower) -> AsyncIterator[None]:
    task = asyncio.create_task(follower.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_another_replica_changes_is_taken_in(store: AuthStore, keys: KeyCache, clock: ManualClock) -> None:
    await store.insert_account(Account("acct_1", "", 1))
    follower = follower_of(store, keys, clock)
    await follower.load()
    await store.insert_key(api_key(SECRET))
    await follower.catch_up()
    assert keys.verify(SECRET, 0).key_id == "key_1"
    await store.revoke_key("key_1", 10)
    await follower.catch_up()
    with pytest.raises(MeshError, match="revoked"):
        keys.verify(SECRET, 0)


async def test_it_goes_stale_when_it_learns_nothing_and_recovers_by_itself(keys: KeyCache, clock: ManualClock) -> None:
    changes = ChangesInHand(api_key(SECRET, change_number=1))
    follower = follower_of(changes, keys, clock)
    await follower.load()
    changes.error = MeshError(Code.UNAVAILABLE, "the database does not answer")
    with capture_logs() as logs:
        async with running(follower):
            await eventually(lambda: bool(logs))
            clock.advance(30)
            assert (follower.fresh, follower.staleness) == (True, 30)
            clock.advance(0.001)
            assert not follower.fresh
            changes.error = None
            await eventually(lambda: follower.fresh)
    assert [entry["event"] for entry in logs] == ["key_changes_unknown", "key_changes_known_again"]


async def test_a_defect_does_not_end_it(keys: KeyCache, clock: ManualClock) -> None:
    changes = ChangesInHand()
    follower = follower_of(changes, keys, clock)
    changes.error = ZeroDivisionError()
    with capture_logs() as logs:
        async with running(follower):
            await eventually(lambda: bool(logs))
            changes.error = None
            clock.advance(31)
            await eventually(lambda: follower.fresh)
    assert logs[0]["event"] == "key_changes_failed"


async def test_a_database_that_lost_its_last_changes_is_read_anew(keys: KeyCache, clock: ManualClock) -> None:
    kept, lost = api_key("sk-x-kept", change_number=1), api_key("sk-x-lost", id="key_2", change_number=2)
    changes = ChangesInHand(kept, lost)
    follower = follower_of(changes, keys, clock)
    await follower.load()
    changes.keys = [kept]
    changes.number = 1
    with capture_logs() as logs:
        await follower.catch_up()
    assert logs[0]["event"] == "key_changes_lost"
    assert len(keys) == 1
    # The same number again, for another change.
    changes.keys = [replace(kept, revoked_at_ms=5, change_number=2)]
    changes.number = 2
    await follower.catch_up()
    with pytest.raises(MeshError, match="revoked"):
        keys.verify("sk-x-kept", 0)


async def test_keys_are_loaded_page_by_page(
    store: AuthStore, keys: KeyCache, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.auth.changes._PAGE", 2)
    await store.insert_account(Account("acct_1", "", 1))
    for count in range(1, 6):
        await store.insert_key(api_key(f"sk-x-{count}", id=f"key_{count}"))
        follower = follower_of(store, keys, clock)
        await follower.load()
        assert len(keys) == count
        for number in range(1, count + 1):
            assert keys.verify(f"sk-x-{number}", 0).key_id == f"key_{number}"

    # What changes while pages are read has a later number than the first one shows.
    class Late:
        """Revokes a key that was read, before the next page."""

        changed_since = store.changed_since

        async def load_keys(self, after: str = "", limit: int = 0) -> tuple[int, list[ApiKey]]:
            if after:
                await store.revoke_key("key_1", 5)
            return await store.load_keys(after, limit)

    follower = ChangeFollower(Late(), keys, interval=0.001, max_stale=30, clock=clock)
    await follower.load()
    await follower.catch_up()
    with pytest.raises(MeshError, match="revoked"):
        keys.verify("sk-x-1", 0)


async def test_keys_that_were_revoked_and_deleted_out_of_sight_are_forgotten(
    store: AuthStore, keys: KeyCache, clock: ManualClock
) -> None:
    await store.insert_account(Account("acct_1", "", 1))
    follower = follower_of(store, keys, clock)
    await store.insert_key(api_key(SECRET))
    await follower.load()
    keys.verify(SECRET, 0)
    # Both before the replica looks again: no changed key tells of the revocation any more.
    await store.revoke_key("key_1", 5)
    assert await store.delete_ended(5) == 1
    with capture_logs() as logs:
        await follower.catch_up()
        await follower.catch_up()
    assert [entry["event"] for entry in logs] == ["key_changes_forgotten"]
    with pytest.raises(MeshError, match="Incorrect"):
        keys.verify(SECRET, 0)

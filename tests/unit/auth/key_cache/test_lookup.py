"""Keys that are not in memory are read together, once, and never older than what is known."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection
from dataclasses import replace

import pytest

from services.auth.key_cache import Credential, KeyCache, KeyLookup, NotInMemory
from services.auth.keys import ApiKey, digest_of
from services.auth.labels import new_id
from services.common.errors import Code, MeshError
from tests.support.waiting import eventually
from tests.unit.auth.keys_for_tests import api_key


class StoreInHand:
    """Answers with what it had when it was asked, and when the test lets it."""

    def __init__(self, *keys: ApiKey) -> None:
        self.keys = {key.digest: key for key in keys}
        self.asked: list[list[bytes]] = []
        self.answer = asyncio.Event()
        self.answer.set()
        self.error: Exception | None = None

    async def find_keys(self, digests: Collection[bytes]) -> list[ApiKey]:
        self.asked.append(list(digests))
        found = [self.keys[digest] for digest in digests if digest in self.keys]
        await self.answer.wait()
        if self.error is not None:
            raise self.error
        return found


class Replica:
    """A cache without room for most keys, and what it asks of the store."""

    def __init__(self, count: int, limit: int) -> None:
        chance = random.Random(1)
        self.secrets = [f"sk-x-{number}" for number in range(count)]
        account = new_id("acct", chance.randbytes)
        self.keys = [
            api_key(secret, id=new_id("key", chance.randbytes), account_id=account, change_number=number)
            for number, secret in enumerate(self.secrets, 1)
        ]
        self.store = StoreInHand(*self.keys)
        self.cache = KeyCache(limit)
        self.cache.load(self.keys)
        self.lookup = KeyLookup(self.cache, self.store)

    async def verify(self, secret: str) -> Credential:
        try:
            return self.cache.verify(secret, 0)
        except NotInMemory as unread:
            return self.cache.verify(secret, 0, await self.lookup.read([unread.digest]))

    async def begin_to_read(self, secret: str) -> asyncio.Task[Credential]:
        """Returns a verification for which the store was asked and has not answered."""
        self.store.answer.clear()
        reading = asyncio.ensure_future(self.verify(secret))
        await eventually(lambda: len(self.store.asked) == 1)
        return reading

    def held(self, secret: str) -> bool:
        try:
            self.cache.verify(secret, 0)
        except NotInMemory:
            return False
        return True


async def test_what_is_wanted_at_one_time_is_read_by_one_query_and_the_next_after_it() -> None:
    replica = Replica(20, limit=1)
    store, lookup = replica.store, replica.lookup
    digests = [digest_of(secret) for secret in replica.secrets]
    store.answer.clear()
    first = asyncio.ensure_future(lookup.read(digests[:3]))
    await eventually(lambda: len(store.asked) == 1)
    others = [asyncio.ensure_future(lookup.read(digests[low : low + 3])) for low in (3, 5, 7)]
    await asyncio.sleep(0)
    assert store.asked == [digests[:3]]
    store.answer.set()
    assert [found and found.digest for found in (await first).values()] == digests[:3]
    for low, other in zip((3, 5, 7), others, strict=True):
        read = await other
        wanted = digests[low : low + 3]
        assert [found and found.digest for found in map(read.get, wanted)] == wanted
    assert store.asked == [digests[:3], digests[3:10]]


async def test_a_change_that_comes_during_a_read_is_not_undone_by_it() -> None:
    replica = Replica(20, limit=1)
    secret, key = replica.secrets[0], replica.keys[0]
    reading = await replica.begin_to_read(secret)
    replica.cache.put(replace(key, revoked_at_ms=5, change_number=30))
    # Another change takes the only place.
    replica.cache.put(replace(replica.keys[1], change_number=31))
    replica.store.answer.set()
    with pytest.raises(MeshError, match="revoked"):
        await reading
    with pytest.raises(MeshError, match="revoked"):
        replica.cache.verify(secret, 0)


async def test_keys_that_are_all_loaded_during_a_read_are_read_again() -> None:
    replica = Replica(20, limit=1)
    secret, key = replica.secrets[0], replica.keys[0]
    reading = await replica.begin_to_read(secret)
    revoked = replica.store.keys[key.digest] = replace(key, revoked_at_ms=5, change_number=30)
    replica.cache.load([revoked, *replica.keys[1:]])
    replica.store.answer.set()
    with pytest.raises(MeshError, match="revoked"):
        await reading
    assert replica.store.asked == [[key.digest]] * 2


async def test_a_revocation_that_the_store_has_lost_outlives_loading() -> None:
    replica = Replica(20, limit=2)
    secret, key = replica.secrets[0], replica.keys[0]
    replica.cache.put(replace(key, revoked_at_ms=5, change_number=30))
    replica.cache.load(replica.keys)
    with pytest.raises(MeshError, match="revoked"):
        replica.cache.verify(secret, 0)


async def test_who_waits_is_served_though_the_one_who_reads_for_both_has_gone() -> None:
    replica = Replica(20, limit=1)
    store = replica.store
    store.answer.clear()
    busy, first, second = (asyncio.ensure_future(replica.verify(secret)) for secret in replica.secrets[:3])
    await eventually(lambda: len(store.asked) == 1)
    # Only who waits already is answered.
    store.answer.set()
    store.answer.clear()
    assert (await busy).key_id == replica.keys[0].id
    await eventually(lambda: len(store.asked) == 2)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    store.answer.set()
    assert (await second).key_id == replica.keys[2].id
    both = [replica.keys[1].digest, replica.keys[2].digest]
    assert store.asked[1:] == [both, both]


@pytest.mark.parametrize("error", [MeshError(Code.UNAVAILABLE, "the database does not answer"), ZeroDivisionError()])
async def test_a_store_that_is_away_refuses_only_what_is_not_in_memory(error: Exception) -> None:
    replica = Replica(20, limit=1)
    replica.store.error = error
    with pytest.raises(MeshError, match="cannot be looked up") as caught:
        await replica.verify(replica.secrets[0])
    assert (caught.value.code, caught.value.retry_after) == (Code.UNAVAILABLE, 1.0)
    assert replica.held(replica.secrets[-1])
    replica.store.error = None
    assert (await replica.verify(replica.secrets[0])).key_id == replica.keys[0].id


async def test_not_too_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.auth.key_cache.lookup._MOST_WAITING", 2)
    replica = Replica(20, limit=1)
    reading = [await replica.begin_to_read(replica.secrets[0])]
    reading += [asyncio.ensure_future(replica.verify(secret)) for secret in replica.secrets[1:4]]
    await asyncio.gather(reading[3], return_exceptions=True)
    assert isinstance(reading[3].exception(), MeshError)
    replica.store.answer.set()
    assert [(await each).key_id for each in reading[:3]] == [key.id for key in replica.keys[:3]]


async def test_a_long_list_is_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.auth.key_cache.lookup._BATCH", 4)
    replica = Replica(20, limit=1)
    read = await replica.lookup.read([key.digest for key in replica.keys[:10]])
    assert [found and found.key_id for found in read.values()] == [key.id for key in replica.keys[:10]]
    assert [len(asked) for asked in replica.store.asked] == [4, 4, 2]


async def test_strangers_reach_the_store_with_few_of_their_keys_and_with_each_once() -> None:
    replica = Replica(5000, limit=1000)
    strangers = [f"sk-stranger-{number}" for number in range(20_000)]
    for _ in range(2):
        for secret in strangers:
            with pytest.raises(MeshError, match="Incorrect"):
                await replica.verify(secret)
    asked = [digest for digests in replica.store.asked for digest in digests]
    assert len(asked) == len(set(asked)) < 0.002 * len(strangers)


async def test_an_owner_of_many_keys_drives_no_key_out_that_is_in_use() -> None:
    replica = Replica(5000, limit=1000)
    neighbours, hostile = replica.secrets[:50], replica.secrets[50:]
    for secret in neighbours:
        await replica.verify(secret)
    replica.store.asked.clear()
    for number, secret in enumerate(hostile):
        await replica.verify(secret)
        if number % 50 == 0:
            assert all(replica.held(neighbour) for neighbour in neighbours)
    # The neighbours needed the store no more.
    assert not {digest_of(secret) for secret in neighbours} & {
        digest for asked in replica.store.asked for digest in asked
    }
    assert len(replica.cache) == 1000

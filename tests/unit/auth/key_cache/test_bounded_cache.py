"""A cache that holds few keys answers as a dictionary of all of them does, whatever happens in which order."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Collection

import pytest

from services.auth.accounts import Account, Mark
from services.auth.authenticate_stream import Authenticator
from services.auth.changes import ChangeFollower, Changes
from services.auth.key_cache import KeyCache, KeyLookup
from services.auth.key_cache.credential import credential_of
from services.auth.keys import ApiKey
from services.auth.labels import new_id
from services.auth.last_used import LastUsed
from services.auth.store.store import AuthStore
from services.common.errors import MeshError
from tests.unit.auth.keys_for_tests import api_key
from tests.unit.auth.manual_clock import ManualClock

LIMIT = 3
KEYS_IN_A_FRAME = 3
# So many keys are used; those that are older only fill the filter.
IN_USE = 8
# A key that was deleted may still be known as one that ended.
ENDED = ("Incorrect", "was revoked", "expired")


class HeldStore:
    """A real store whose answers to reads come when the test lets them go, though they were given before."""

    def __init__(self, store: AuthStore) -> None:
        self.store = store
        self.let_go = asyncio.Event()
        self.let_go.set()

    async def find_keys(self, digests: Collection[bytes]) -> list[ApiKey]:
        found = await self.store.find_keys(digests)
        await self.let_go.wait()
        return found

    async def load_keys(self, after: str = "", limit: int = 0) -> tuple[int, list[ApiKey]]:
        loaded = await self.store.load_keys(after, limit)
        await self.let_go.wait()
        return loaded

    async def changed_since(self, number: int) -> Changes:
        return await self.store.changed_since(number)


class World:
    """A replica that holds few keys, and what it should know of all of them."""

    def __init__(self, store: AuthStore, clock: ManualClock, chance: random.Random) -> None:
        self.store, self.clock, self.chance = store, clock, chance
        self.held = HeldStore(store)
        self.cache = KeyCache(LIMIT)
        self.authenticator = Authenticator(
            self.cache, KeyLookup(self.cache, self.held), LastUsed(store, 60.0), clock=clock
        )
        self.follower = ChangeFollower(self.held, self.cache, interval=1.0, max_stale=30.0, clock=clock)
        self.model: dict[str, ApiKey] = {}
        self.secrets: dict[str, str] = {}
        # Of these keys, a change was made elsewhere that the replica has not been told of.
        self.untold: set[str] = set()
        # States of keys as they once were, which may be told again at any time.
        self.old_news: list[ApiKey] = []
        # What was sent and is no key, as yet.
        self.strangers: list[str] = []
        self.later: list[asyncio.Task[object]] = []
        self.accounts: list[str] = []

    @property
    def now_ms(self) -> int:
        return round(self.clock() * 1000)

    async def open_account(self) -> None:
        self.accounts.append(new_id("acct", self.chance.randbytes))
        await self.store.insert_account(Account(self.accounts[-1], "", 1))

    def changed(self, *keys: ApiKey) -> None:
        """Takes changes into the model, and tells the replica of them unless another one has made them."""
        told = self.chance.random() < 0.5
        for key in keys:
            self.model[self.secrets[key.id]] = key
            self.old_news.append(key)
            if told:
                self.cache.put(key)
                self.untold.discard(key.id)
            else:
                self.untold.add(key.id)

    async def create(self) -> None:
        secret = self.chance.choice(self.strangers) if self.strangers else f"sk-x-{self.chance.getrandbits(64)}"
        self.strangers.clear()
        # Some are like those that were made by hand.
        key_id = self.chance.choice((new_id("key", self.chance.randbytes), f"key_{self.chance.getrandbits(64)}"))
        key = api_key(
            secret,
            id=key_id,
            account_id=self.chance.choice(self.accounts),
            requests_per_minute=self.chance.choice((0, 60)),
            monthly_credit_cap=self.chance.choice((0, 7)),
            expires_at_ms=self.chance.choice((0, self.now_ms + self.chance.randrange(1, 100_000))),
        )
        self.secrets[key_id] = secret
        self.changed(await self.store.insert_key(key))

    async def revoke(self) -> None:
        if keys := list(self.model.values())[-IN_USE:]:
            self.changed(*await self.store.revoke_key(self.chance.choice(keys).id, self.now_ms))

    async def mark(self) -> None:
        mark: Mark = self.chance.choice(("suspended_at_ms", "closed_at_ms"))
        _, keys = await self.store.set_mark(self.chance.choice(self.accounts), mark, self.chance.choice((0, 5)))
        self.changed(*keys)

    async def pass_time(self) -> None:
        self.clock.advance(self.chance.randrange(10))

    async def hear_old_news(self) -> None:
        if self.old_news:
            self.cache.put(self.chance.choice(self.old_news[-2 * IN_USE :]))

    async def prune(self) -> None:
        await self.cache.prune(self.now_ms)
        await self.store.delete_ended(self.now_ms)
        for secret, key in list(self.model.items()):
            if not key.works(self.now_ms):
                del self.model[secret]
                self.untold.discard(key.id)
                self.old_news = [old for old in self.old_news if old.id != key.id]

    async def catch_up(self) -> None:
        await self.let_go()
        await self.follower.catch_up()
        self.untold.clear()

    async def load(self) -> None:
        """Loads all keys while others change."""
        await self.let_go()
        self.held.let_go.clear()
        self.later.append(asyncio.ensure_future(self.follower.load()))
        await asyncio.sleep(0)

    async def read(self) -> None:
        """Reads keys while they change."""
        self.held.let_go.clear()
        for secret in self.some_secrets():
            self.later.append(asyncio.ensure_future(self.authenticator.authenticate(secret)))
        for change in (self.revoke, self.mark, self.load):
            if self.chance.random() < 0.2:
                await change()

    async def let_go(self) -> None:
        self.held.let_go.set()
        await asyncio.gather(*self.later, return_exceptions=True)
        self.later.clear()

    def some_secrets(self) -> list[str]:
        secrets = list(self.secrets.values())[-IN_USE:]
        return self.chance.choices(secrets, k=KEYS_IN_A_FRAME) if secrets else []

    async def verify(self) -> None:
        await self.let_go()
        self.strangers.append(f"sk-x-{self.chance.getrandbits(64)}")
        for secret in [*self.some_secrets(), self.strangers[-1]]:
            key = self.model.get(secret)
            if key is not None and key.id in self.untold:
                continue
            refused = expected(key, self.now_ms)
            if refused:
                with pytest.raises(MeshError, match="|".join(refused)):
                    await self.authenticator.authenticate(secret)
            else:
                assert key is not None
                assert await self.authenticator.authenticate(secret) == credential_of(key, None)
        assert len(self.cache) <= LIMIT


def expected(key: ApiKey | None, now_ms: int) -> tuple[str, ...]:
    """Why a key is refused; nothing if it is let in."""
    if key is None:
        return ENDED
    if key.revoked_at_ms:
        return ("was revoked",)
    if not key.works(now_ms):
        return ("expired",)
    return (re.escape(key.refusal),) if key.refusal else ()


@pytest.mark.parametrize("seed", range(3))
async def test_it_answers_as_a_dictionary_does(store: AuthStore, clock: ManualClock, seed: int) -> None:
    chance = random.Random(seed)
    world = World(store, clock, chance)
    await world.open_account()
    await world.open_account()
    steps = {
        world.create: 6,
        world.revoke: 1,
        world.mark: 1,
        world.pass_time: 1,
        world.hear_old_news: 3,
        world.prune: 0.2,
        world.catch_up: 2,
        world.load: 0.5,
        world.read: 4,
        world.verify: 6,
    }
    for step in chance.choices(list(steps), list(steps.values()), k=400):
        await step()
    await world.catch_up()
    await world.verify()
    assert len(world.secrets) > 3 * LIMIT

"""Sessions on a real store, with a clock that only the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.auth.accounts import Account, Accounts
from services.auth.key_cache import KeyCache
from services.auth.keys import ApiKey, digest_of
from services.auth.sessions.session import token_digest
from services.auth.sessions.sessions import SessionLimits, Sessions
from services.auth.store.sessions import SessionStore
from services.auth.store.store import MIGRATIONS, AuthStore
from services.common.clock import to_ms
from services.common.database.base import Database
from services.common.database.migrations import migrate
from services.common.errors import Code, MeshError
from tests.unit.auth.keys_for_tests import api_key
from tests.unit.auth.manual_clock import ManualClock

LIFETIME, IDLE, MOST = 3600.0, 600.0, 3
SECRET, OTHER_SECRET, PLAIN_SECRET = "sk-tiermesh-manages1", "sk-tiermesh-manages2", "sk-tiermesh-chats111"


class World:
    """An account with a key that manages it, another one, and one that may only be used."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.clock = clock
        self.keys = KeyCache()
        self.auth_store = AuthStore(database)
        self.store = SessionStore(database)
        limits = SessionLimits(LIFETIME, IDLE, MOST)
        self.sessions = Sessions(
            self.store, lambda secret: self.keys.verify(secret, to_ms(clock())), limits, clock=clock
        )

    async def fill(self) -> None:
        self.account = await Accounts(self.auth_store, KeyCache().put, clock=self.clock).create("Zoë <b>")
        self.key = await self.add(SECRET, "key_1", ("chat", "keys"))
        await self.add(OTHER_SECRET, "key_2", ("keys",))
        await self.add(PLAIN_SECRET, "key_3", ())

    async def add(self, secret: str, key_id: str, endpoints: tuple[str, ...], account: Account | None = None) -> ApiKey:
        key = api_key(secret, id=key_id, endpoints=endpoints, account_id=(account or self.account).id)
        kept = await self.auth_store.insert_key(replace(key, digest=digest_of(secret)))
        self.keys.put(kept)
        return kept

    async def ended(self, token: str) -> bool:
        """Whether a token signs nobody in any more; any other failure is a failure of the test."""
        try:
            await self.sessions.find(token)
        except MeshError as error:
            if error.code is not Code.UNAUTHENTICATED:
                raise
            return True
        return False


def _written(database_file: Path) -> bytes:
    """Returns what is in the files of a database, its journal too."""
    return b"".join(path.read_bytes() for path in database_file.parent.glob(f"{database_file.name}*"))


@pytest.fixture
def database_file(tmp_path: Path) -> Path:
    return tmp_path / "auth.db"


@pytest.fixture
async def world(database_file: Path, clock: ManualClock) -> AsyncIterator[World]:
    database = Database(f"sqlite:///{database_file}")
    await migrate(database, MIGRATIONS)
    world = World(database, clock)
    await world.fill()
    yield world
    await database.close()


async def test_a_session_is_found_by_its_token_alone(world: World) -> None:
    token, begun = await world.sessions.create(SECRET, "Firefox on Linux")
    found = await world.sessions.find(token)
    assert found == begun
    assert (found.session.account_id, found.account_name, found.session.key_id) == (
        world.account.id,
        "Zoë <b>",
        "key_1",
    )
    assert found.session.label == "Firefox on Linux"
    for wrong in ("", token[:-1], token + "A", "A" * 1000, found.session.id):
        assert await world.ended(wrong)


async def test_no_two_tokens_are_alike_and_only_digests_are_kept(world: World, database_file: Path) -> None:
    tokens = [(await world.sessions.create(SECRET, ""))[0] for _ in range(MOST)]
    assert len(set(tokens)) == MOST
    written = _written(database_file)
    assert all(token.encode() not in written for token in tokens)
    assert token_digest(tokens[0]) in written


@pytest.mark.parametrize(
    ("secret", "code"),
    [
        (PLAIN_SECRET, Code.PERMISSION_DENIED),
        ("sk-tiermesh-unknown", Code.UNAUTHENTICATED),
        ("", Code.UNAUTHENTICATED),
    ],
)
async def test_a_key_that_may_not_manage_does_not_sign_in(world: World, secret: str, code: Code) -> None:
    with pytest.raises(MeshError) as caught:
        await world.sessions.create(secret, "")
    assert caught.value.code is code
    assert await world.sessions.list(world.account.id) == []


async def test_it_ends_by_its_age_even_if_it_is_used(world: World) -> None:
    token, _ = await world.sessions.create(SECRET, "")
    for _ in range(int(LIFETIME / IDLE * 2) - 1):
        world.clock.advance(IDLE / 2)
        assert not await world.ended(token)
    world.clock.advance(IDLE / 2)
    assert await world.ended(token)
    assert await world.sessions.list(world.account.id) == []


async def test_it_ends_when_it_is_not_used(world: World) -> None:
    token, _ = await world.sessions.create(SECRET, "")
    world.clock.advance(IDLE - 1)
    assert not await world.ended(token)
    world.clock.advance(IDLE - 1)
    assert not await world.ended(token)
    world.clock.advance(IDLE)
    assert await world.ended(token)


async def test_it_ends_with_its_key(world: World) -> None:
    token, _ = await world.sessions.create(SECRET, "")
    other, _ = await world.sessions.create(OTHER_SECRET, "")
    await world.auth_store.revoke_key("key_1", to_ms(world.clock()))
    assert await world.ended(token)
    assert not await world.ended(other)


async def test_it_ends_when_its_key_expires_or_is_forgotten(world: World) -> None:
    token, _ = await world.sessions.create(SECRET, "")
    await world.auth_store.replace_key(
        replace(world.key, expires_at_ms=to_ms(world.clock()) + 1000),
        replace(world.key, id="key_9", digest=digest_of("sk-tiermesh-successor")),
    )
    assert not await world.ended(token)
    world.clock.advance(1)
    assert await world.ended(token)
    await world.auth_store.delete_ended(to_ms(world.clock()))
    assert await world.ended(token)


async def test_one_is_ended_or_all_but_one_of_this_account_alone(world: World) -> None:
    stranger = await Accounts(world.auth_store, KeyCache().put, clock=world.clock).create("stranger")
    await world.add("sk-tiermesh-stranger", "key_4", ("keys",), stranger)
    strange, _ = await world.sessions.create("sk-tiermesh-stranger", "")
    first, found = await world.sessions.create(SECRET, "")
    second, kept = await world.sessions.create(SECRET, "")
    third, _ = await world.sessions.create(OTHER_SECRET, "")
    assert await world.sessions.end(stranger.id, found.session.id) == 0
    assert await world.sessions.end(world.account.id, found.session.id) == 1
    assert [await world.ended(token) for token in (first, second, third, strange)] == [True, False, False, False]
    assert await world.sessions.end(world.account.id, except_session_id=kept.session.id) == 1
    assert [await world.ended(token) for token in (second, third, strange)] == [False, True, False]
    assert await world.sessions.end(world.account.id) == 1
    assert [await world.ended(token) for token in (second, strange)] == [True, False]


async def test_one_too_many_ends_the_oldest(world: World) -> None:
    tokens = []
    for _ in range(MOST + 1):
        tokens.append((await world.sessions.create(SECRET, ""))[0])
        world.clock.advance(1)
    assert [await world.ended(token) for token in tokens] == [True, *[False] * MOST]
    assert len(await world.sessions.list(world.account.id)) == MOST


async def test_ended_ones_are_forgotten_when_somebody_signs_in(world: World) -> None:
    await world.sessions.create(SECRET, "")
    world.clock.advance(LIFETIME)
    _, found = await world.sessions.create(OTHER_SECRET, "")
    assert await world.store.list_sessions(world.account.id) == [found]


async def test_showing_the_key_once_more_is_noted(world: World) -> None:
    token, begun = await world.sessions.create(SECRET, "")
    world.clock.advance(300)
    confirmed = await world.sessions.confirm(token, SECRET)
    assert confirmed.session.confirmed_at_ms == begun.session.confirmed_at_ms + 300_000
    assert await world.sessions.find(token) == confirmed


async def test_only_the_key_of_the_session_confirms_it(world: World) -> None:
    token, begun = await world.sessions.create(SECRET, "")
    for secret, code in ((OTHER_SECRET, Code.PERMISSION_DENIED), ("sk-x", Code.UNAUTHENTICATED)):
        with pytest.raises(MeshError) as caught:
            await world.sessions.confirm(token, secret)
        assert caught.value.code is code
    assert (await world.sessions.find(token)).session.confirmed_at_ms == begun.session.confirmed_at_ms
    with pytest.raises(MeshError):
        await world.sessions.confirm("unknown", SECRET)

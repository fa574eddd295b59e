"""The key of a session: it is the same wherever it is asked for, nothing stores it, and it ends with the session."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from services.auth.accounts import Accounts
from services.auth.issuing.issuer import check_rotation
from services.auth.keys import digest_of
from services.auth.sessions.session_keys import SaltedKey
from services.auth.store.session_keys import SessionKeyStore
from services.auth.store.tables import sessions
from services.common.clock import to_ms
from services.common.errors import Code, MeshError
from tests.unit.auth.sessions.world import CAP, IDLE, LIFETIME, MOST, OTHER_SECRET, SECRET, World

STAYS = "sk-tiermesh-stays1111"


async def refusal(world: World, token: str, keys: int = 1000) -> Code:
    with pytest.raises(MeshError) as caught:
        await world.replica(keys).get(token)
    return caught.value.code


async def test_every_replica_makes_the_same_key_and_each_session_has_its_own(world: World) -> None:
    token, found = await world.sessions.create(SECRET, "")
    secret, key = await world.session_keys.get(token)
    assert await world.replica().get(token) == (secret, key)
    assert (key.session_id, key.created_by, key.endpoints) == (found.session.id, "key_1", ("chat",))
    assert (key.monthly_credit_cap, key.requests_per_minute, key.name) == (CAP, 60, "Playground")
    assert world.works(secret)
    other, _ = await world.session_keys.get((await world.sessions.create(SECRET, ""))[0])
    assert other != secret


async def test_of_many_that_ask_at_once_all_get_one_key(world: World) -> None:
    token, _ = await world.sessions.create(SECRET, "")
    got = await asyncio.gather(*(world.replica().get(token) for _ in range(8)))
    assert len({secret for secret, _ in got}) == 1
    assert len(await world.auth_store.list_keys(world.account.id, with_session_keys=True)) == 4


async def test_neither_the_cookie_nor_the_database_is_enough_to_make_it(world: World, database_file: Path) -> None:
    token, _ = await world.sessions.create(SECRET, "")
    secret, _ = await world.session_keys.get(token)
    salts = await world.database.read(lambda connection: connection.execute(sa.select(sessions.c.key_salt)).scalars())
    written = b"".join(path.read_bytes() for path in database_file.parent.glob(f"{database_file.name}*"))
    assert secret.encode() not in written
    assert [len(salt) for salt in salts] == [32]
    # With another salt, the same token makes another key.
    await world.database.transaction(
        lambda connection: connection.execute(sessions.update().values(key_salt=b"\1" * 32))
    )
    assert (await world.replica().get(token))[0] != secret


async def test_it_is_no_key_for_people(world: World) -> None:
    token, _ = await world.sessions.create(SECRET, "")
    secret, key = await world.session_keys.get(token)
    assert key not in await world.auth_store.list_keys(world.account.id)
    with pytest.raises(MeshError) as caught:
        check_rotation(key, to_ms(world.clock()))
    assert caught.value.code is Code.CONFLICT
    with pytest.raises(MeshError) as caught:
        await world.sessions.create(secret, "")
    assert caught.value.code is Code.PERMISSION_DENIED


@pytest.mark.parametrize("how", ["sign out", "end others", "too many", "too old", "revoke", "revoke with descendants"])
async def test_it_ends_with_its_session(world: World, how: str) -> None:
    token, found = await world.sessions.create(SECRET, "")
    secret, _ = await world.session_keys.get(token)
    # The session of another key goes on when the first key is revoked.
    await world.add(STAYS, "key_6", ("chat", "keys"))
    revoking = how.startswith("revoke")
    kept = (await world.session_keys.get((await world.sessions.create(STAYS, ""))[0]))[0] if revoking else ""
    now_ms = to_ms(world.clock())
    if how == "sign out":
        assert await world.sessions.end(world.account.id, found.session.id) == 1
    elif how == "end others":
        assert await world.sessions.end(world.account.id) == 1
    elif how == "too many":
        for _ in range(MOST):
            world.clock.advance(1)
            await world.sessions.create(SECRET, "")
    elif how == "too old":
        world.clock.advance(LIFETIME)
        await world.sessions.create(SECRET, "")
    else:
        for key in await world.auth_store.revoke_key("key_1", now_ms, descendants=how.endswith("descendants")):
            world.keys.put(key)
    assert not world.works(secret)
    assert not kept or world.works(kept)
    assert await refusal(world, token) is Code.UNAUTHENTICATED
    # A replica that starts now knows it too.
    _, keys = await world.auth_store.load_keys()
    [ended] = [key for key in keys if key.digest == digest_of(secret)]
    assert not ended.works(to_ms(world.clock()))


async def test_it_expires_when_the_session_is_not_used_and_lives_as_long_as_it_is(world: World) -> None:
    token, found = await world.sessions.create(SECRET, "")
    secret, key = await world.session_keys.get(token)
    assert key.expires_at_ms == found.session.created_at_ms + IDLE * 1000
    for _ in range(int(LIFETIME / IDLE * 2) - 1):
        world.clock.advance(IDLE / 2)
        assert (await world.session_keys.get(token))[0] == secret
        assert world.works(secret)
    world.clock.advance(IDLE / 2)
    assert not world.works(secret)
    assert await refusal(world, token) is Code.UNAUTHENTICATED


async def test_another_one_is_made_where_it_has_expired_and_the_session_has_not(world: World) -> None:
    token, _ = await world.sessions.create(SECRET, "")
    secret, _ = await world.session_keys.get(token)
    world.clock.advance(IDLE - 1)
    assert not await world.ended(token)
    world.clock.advance(IDLE - 1)
    another, _ = await world.session_keys.get(token)
    assert another != secret
    assert [world.works(each) for each in (secret, another)] == [False, True]
    assert await world.sessions.end(world.account.id) == 1
    assert not world.works(another)


async def test_it_ends_when_the_key_of_the_session_is_rotated_away(world: World) -> None:
    token, _ = await world.sessions.create(SECRET, "")
    secret, _ = await world.session_keys.get(token)
    end_ms = to_ms(world.clock()) + 60_000
    await world.auth_store.replace_key(
        replace(world.key, expires_at_ms=end_ms), replace(world.key, id="key_9", digest=digest_of("sk-x-successor"))
    )
    for _ in range(2):
        # Neither what is kept of it nor a later use brings it back.
        _, keys = await world.auth_store.load_keys()
        [kept] = [key for key in keys if key.digest == digest_of(secret)]
        assert kept.expires_at_ms == end_ms
        await world.session_keys.get(token)
    world.clock.advance(60)
    assert await refusal(world, token) is Code.UNAUTHENTICATED


async def test_a_revoked_one_is_not_replaced(world: World) -> None:
    token, _ = await world.sessions.create(SECRET, "")
    _, key = await world.session_keys.get(token)
    await world.auth_store.revoke_key(key.id, to_ms(world.clock()))
    assert await refusal(world, token) is Code.UNAUTHENTICATED
    assert not await world.ended(token)


async def test_it_has_no_right_that_the_key_of_the_session_lacks(world: World) -> None:
    narrow = ("chat", "keys")
    await world.add("sk-tiermesh-narrow11", "key_5", narrow, monthly_credit_cap=7, requests_per_minute=3, models=("m",))
    token, _ = await world.sessions.create("sk-tiermesh-narrow11", "")
    _, key = await world.session_keys.get(token)
    assert (key.monthly_credit_cap, key.requests_per_minute, key.models) == (7, 3, ("m",))
    assert [ancestor.key_id for ancestor in key.ancestors] == ["key_5"]
    # OTHER_SECRET can manage keys and nothing else.
    other, _ = await world.sessions.create(OTHER_SECRET, "")
    assert await refusal(world, other) is Code.PERMISSION_DENIED


async def test_it_counts_among_the_keys_of_the_account(world: World) -> None:
    token, _ = await world.sessions.create(SECRET, "")
    assert await refusal(world, token, keys=3) is Code.CONFLICT


async def test_it_is_refused_while_the_account_is_suspended(world: World) -> None:
    token, _ = await world.sessions.create(SECRET, "")
    secret, key = await world.session_keys.get(token)
    fresh, _ = await world.sessions.create(SECRET, "")
    accounts = Accounts(world.auth_store, world.keys.put, clock=world.clock)
    await accounts.suspend(world.account.id)
    with pytest.raises(MeshError) as caught:
        world.keys.verify(secret, to_ms(world.clock()))
    assert caught.value.code is Code.PERMISSION_DENIED
    # Neither the session that has a key nor the one that has none yet gets one.
    assert [await refusal(world, each) for each in (token, fresh)] == [Code.UNAUTHENTICATED] * 2
    # A key that was being made meanwhile is made as the account now is.
    late = replace(key, id="key_9", digest=digest_of("sk-x-late"))
    store = SessionKeyStore(world.database)
    world.clock.advance(IDLE)
    made, _ = await store.insert_session_key(
        SaltedKey(replace(late, created_at_ms=to_ms(world.clock())), b"\1" * 32), lambda _: None
    )
    assert (made.id, bool(made.suspended_at_ms)) == ("key_9", True)
    await accounts.resume(world.account.id)
    assert not (await world.auth_store.get_key("key_9")).suspended_at_ms

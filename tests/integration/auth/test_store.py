"""The store's SQL on real databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from services.auth.accounts import Account
from services.auth.issuing.key_store import Standing
from services.auth.keys import ApiKey
from services.auth.lineage import Ancestor
from services.auth.store.store import MIGRATIONS, AuthStore
from services.common.database.base import Database
from services.common.errors import Code, MeshError
from tests.unit.auth.keys_for_tests import api_key

ACCOUNT = Account("acct_1", "a customer", 1)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    await database.open(migrations=MIGRATIONS)
    yield database
    await database.close()


@pytest.fixture
async def store(database: Database) -> AuthStore:
    store = AuthStore(database)
    await store.insert_account(ACCOUNT)
    return store


async def test_accounts_come_back_oldest_first(store: AuthStore) -> None:
    later = [Account(f"acct_{9 - number}", "Zoë №1", 2 + number) for number in range(3)]
    for account in later:
        await store.insert_account(account)
    assert await store.list_accounts() == [ACCOUNT, *later]


async def test_what_is_written_twice_is_there_once(store: AuthStore) -> None:
    await store.insert_account(ACCOUNT)
    for _ in range(2):
        await store.insert_key(api_key())
    assert await store.list_accounts() == [ACCOUNT]
    assert await store.list_keys() == [api_key(change_number=1)]


async def test_every_field_of_a_key_comes_back(store: AuthStore) -> None:
    key = api_key(
        requests_per_minute=2**32 - 1,
        created_at_ms=2,
        expires_at_ms=2**62,
        revoked_at_ms=4,
        last_used_at_ms=5,
        name="N" * 200,
        models=("tiermesh-pro", "tiermesh-max"),
        endpoints=("chat", "keys"),
        monthly_credit_cap=2**53 - 1,
        change_number=1,
        created_by="key_9",
        origin="key_0",
        ancestors=(Ancestor("key_7", 2**53 - 1, 2**32 - 1), Ancestor("key_8", 0, 0)),
    )
    await store.insert_key(key)
    assert await store.list_keys() == [key]
    assert await store.get_key(key.id) == key


async def test_keys_are_listed_by_account_or_all(store: AuthStore) -> None:
    await store.insert_account(Account("acct_2", "", 2))
    first = api_key("sk-x-1", id="key_9", created_at_ms=1)
    second = api_key("sk-x-2", id="key_1", created_at_ms=2, account_id="acct_2")
    second, first = [await store.insert_key(key) for key in (second, first)]
    assert await store.list_keys() == [first, second]
    assert await store.list_keys("acct_2") == [second]
    assert await store.list_keys("acct_3") == []


async def test_a_key_needs_an_account(store: AuthStore) -> None:
    with pytest.raises(MeshError) as caught:
        await store.insert_key(api_key(account_id="acct_unknown"))
    assert (caught.value.code, caught.value.param) == (Code.NOT_FOUND, "account_id")


async def test_a_digest_belongs_to_one_key(store: AuthStore) -> None:
    await store.insert_key(api_key(id="key_1"))
    with pytest.raises(sa.exc.IntegrityError):
        await store.insert_key(api_key(id="key_2"))


async def test_a_revocation_keeps_its_first_time(store: AuthStore) -> None:
    key = api_key()
    await store.insert_key(key)
    for now_ms in (10, 20):
        assert await store.revoke_key(key.id, now_ms) == [replace(key, revoked_at_ms=10, change_number=2)]
    with pytest.raises(MeshError) as caught:
        await store.revoke_key("key_unknown", 10)
    assert (caught.value.code, caught.value.param) == (Code.NOT_FOUND, "key_id")


async def test_the_last_use_never_goes_back(store: AuthStore) -> None:
    for number in range(3):
        await store.insert_key(api_key(f"sk-x-{number}", id=f"key_{number}"))
    await store.set_last_used({"key_0": 10, "key_1": 10, "key_unknown": 10})
    await store.set_last_used({"key_0": 5, "key_1": 20})
    assert [key.last_used_at_ms for key in await store.list_keys()] == [10, 20, 0]


async def test_many_writers_do_not_hold_each_other_up(store: AuthStore) -> None:
    keys = [api_key(f"sk-x-{number}", id=f"key_{number:03}") for number in range(50)]
    await asyncio.gather(*(store.insert_key(key) for key in keys))
    times = [{key.id: moment for key in (keys if moment % 2 else reversed(keys))} for moment in range(1, 21)]
    await asyncio.gather(*(store.set_last_used(each) for each in times))
    assert {key.last_used_at_ms for key in await store.list_keys()} == {20}


async def test_a_key_of_another_account_does_not_exist(store: AuthStore) -> None:
    key = await store.insert_key(api_key())
    with pytest.raises(MeshError) as caught:
        await store.revoke_key(key.id, 10, "acct_2")
    assert caught.value.code is Code.NOT_FOUND
    assert await store.list_keys() == [key]
    assert (await store.revoke_key(key.id, 10, "acct_1"))[0].revoked_at_ms == 10


async def test_a_key_has_one_successor(store: AuthStore) -> None:
    old = await store.insert_key(api_key())
    ending = replace(old, expires_at_ms=99)
    new = api_key("sk-x-2", id="key_2", created_at_ms=2)
    # The same change twice, as after a connection that broke during the commit.
    for _ in range(2):
        kept = await store.replace_key(ending, new)
        assert kept == (replace(ending, replaced_by="key_2", change_number=2), replace(new, change_number=2))
    assert await store.list_keys() == list(kept)
    with pytest.raises(MeshError) as caught:
        await store.replace_key(ending, api_key("sk-x-3", id="key_3"))
    assert caught.value.code is Code.CONFLICT
    assert await store.list_keys() == list(kept)


async def test_changes_are_numbered_in_the_order_in_which_they_become_visible(store: AuthStore) -> None:
    assert await store.load_keys() == (0, [])
    keys = [await store.insert_key(api_key(f"sk-x-{number}", id=f"key_{number}")) for number in range(3)]
    assert await store.load_keys() == (3, keys)
    (revoked,) = await store.revoke_key("key_0", 10)
    assert await store.changed_since(3) == (4, 0, [revoked])
    assert await store.changed_since(2) == (4, 0, [keys[2], revoked])
    # What changes nothing about verification is no change.
    await store.revoke_key("key_0", 20)
    await store.set_last_used({"key_1": 10})
    assert await store.changed_since(4) == (4, 0, [])


async def test_no_change_is_missed_while_many_are_made(store: AuthStore) -> None:
    keys = [await store.insert_key(api_key(f"sk-x-{number}", id=f"key_{number:03}")) for number in range(60)]
    seen: list[str] = []
    number = len(keys)
    revoking = [asyncio.create_task(store.revoke_key(key.id, 10)) for key in keys]
    while len(seen) < len(keys):
        number, _, changed = await store.changed_since(number)
        seen += [key.id for key in changed]
    await asyncio.gather(*revoking)
    assert sorted(seen) == [key.id for key in keys]


LINE = (Ancestor("key_1", 0, 0),)


async def test_descendants_are_those_of_the_key_s_line(store: AuthStore) -> None:
    await store.insert_account(Account("acct_2", "", 2))
    keys: list[dict[str, Any]] = [
        {"id": "key_1"},
        {"id": "child", "ancestors": LINE},
        {"id": "grandchild", "ancestors": (*LINE, Ancestor("child", 5, 5))},
        {"id": "dead", "ancestors": LINE, "revoked_at_ms": 3},
        {"id": "key_10", "ancestors": (Ancestor("key_11", 0, 0),)},
        {"id": "foreign", "account_id": "acct_2", "ancestors": LINE},
    ]
    for number, fields in enumerate(keys):
        await store.insert_key(api_key(f"sk-x-{number}", created_at_ms=number, **fields))
    assert [key.id for key in await store.revoke_key("child", 10, descendants=True)] == ["child", "grandchild"]
    last = (await store.changed_since(0)).last
    revoked = await store.revoke_key("key_1", 20, descendants=True)
    assert [(key.id, key.revoked_at_ms) for key in revoked] == [("key_1", 20)]
    # Other replicas learn of all of them.
    assert (await store.changed_since(last)).keys == revoked
    assert [key.id for key in await store.list_keys() if not key.revoked_at_ms] == ["key_10", "foreign"]


async def test_a_refused_revocation_changes_nothing(store: AuthStore) -> None:
    key = await store.insert_key(api_key())
    asked: list[tuple[str, ApiKey | None]] = []

    def refuse(target: ApiKey, revoker: ApiKey | None) -> None:
        asked.append((target.id, revoker))
        raise MeshError(Code.PERMISSION_DENIED, "no")

    for revoker in (key.id, "key_unknown"):
        with pytest.raises(MeshError, match="no"):
            await store.revoke_key(key.id, 10, descendants=True, revoker_key_id=revoker, permission=refuse)
    assert asked == [(key.id, key), (key.id, None)]
    assert await store.list_keys() == [key]


async def test_no_key_survives_that_its_maker_makes_while_all_are_revoked(store: AuthStore) -> None:
    await store.insert_key(api_key())

    def works(standing: Standing) -> None:
        if standing.creator is None or standing.creator.revoked_at_ms:
            raise MeshError(Code.NOT_FOUND, "gone")

    made = [api_key(f"sk-x-{n}", id=f"key_x{n}", created_by="key_1", ancestors=LINE) for n in range(30)]
    making = [store.insert_key(key, works) for key in made]
    outcomes = await asyncio.gather(
        *making[:10], store.revoke_key("key_1", 10, descendants=True), *making[10:], return_exceptions=True
    )
    assert {str(outcome) for outcome in outcomes if isinstance(outcome, Exception)} <= {"gone"}
    assert all(key.revoked_at_ms for key in await store.list_keys())


async def test_what_is_admitted_is_counted_exactly(store: AuthStore) -> None:
    await store.insert_key(api_key("sk-x-dead", id="dead", revoked_at_ms=1))
    await store.insert_key(api_key("sk-x-expired", id="expired", expires_at_ms=1))
    seen: list[Standing] = []

    def at_most_five(standing: Standing) -> None:
        seen.append(standing)
        if standing.living >= 5:
            raise MeshError(Code.CONFLICT, "enough")

    making = [store.insert_key(api_key(f"sk-x-{n}", id=f"key_{n}"), at_most_five) for n in range(20)]
    outcomes = await asyncio.gather(*making, return_exceptions=True)
    assert sum(isinstance(outcome, ApiKey) for outcome in outcomes) == 5
    assert {standing.dead for standing in seen} == {2}


async def test_keys_come_in_pages(store: AuthStore) -> None:
    await store.insert_account(Account("acct_2", "", 2))
    keys = [
        await store.insert_key(
            api_key(f"sk-x-{n}", id=f"key_{9 - n}", created_at_ms=n // 3, account_id=f"acct_{n % 2 + 1}")
        )
        for n in range(10)
    ]
    for account_id in ("", "acct_1", "acct_2"):
        everything = await store.list_keys(account_id)
        assert len(everything) == (5 if account_id else len(keys))
        pages: list[ApiKey] = []
        while page := await store.list_keys(account_id, limit=3, after_key_id=pages[-1].id if pages else ""):
            assert len(page) <= 3
            pages += page
        assert pages == everything
    for after, account_id in (("key_unknown", ""), ("key_9", "acct_2"), ("\0", "")):
        with pytest.raises(MeshError) as caught:
            await store.list_keys(account_id, limit=3, after_key_id=after)
        assert (caught.value.code, caught.value.param) == (Code.INVALID_REQUEST, "after")


async def test_ended_keys_are_deleted_and_it_is_noted_how_far(store: AuthStore) -> None:
    keys = [await store.insert_key(api_key(f"sk-x-{n}", id=f"key_{n}", expires_at_ms=n)) for n in range(4)]
    await store.revoke_key("key_0", 50)
    assert await store.delete_ended(0) == 0
    assert await store.changed_since(5) == (5, 0, [])
    assert await store.delete_ended(2) == 2
    assert await store.changed_since(2) == (5, 3, [keys[3], (await store.get_key("key_0"))])
    # The number never goes back.
    assert await store.delete_ended(49) == 1
    assert await store.delete_ended(50) == 1
    assert await store.changed_since(0) == (5, 5, [])
    assert await store.delete_ended(10**15) == 0

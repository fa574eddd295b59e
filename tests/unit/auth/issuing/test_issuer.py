from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from services.auth.accounts import Account, Accounts
from services.auth.issuing.bounds import KeyBounds
from services.auth.issuing.issuer import KeyIssuer
from services.auth.issuing.rights import Wish
from services.auth.key_cache import KeyCache
from services.auth.keys import ApiKey, digest_of
from services.auth.lineage import Ancestor
from services.auth.store.store import AuthStore
from services.common.catalog import load_catalog
from services.common.errors import Code, MeshError
from services.common.settings import DEFAULT_CATALOG
from tests.unit.auth.manual_clock import ManualClock


@pytest.fixture
async def account(store: AuthStore, clock: ManualClock) -> Account:
    return await Accounts(store, KeyCache().put, clock=clock).create("customer")


@pytest.fixture
def changes() -> list[ApiKey]:
    return []


@pytest.fixture
def issuer(store: AuthStore, clock: ManualClock, changes: list[ApiKey]) -> KeyIssuer:
    return KeyIssuer(
        store,
        changes.append,
        load_catalog(DEFAULT_CATALOG),
        prefix="tiermesh",
        default_requests_per_minute=60,
        bounds=KeyBounds(5, 7),
        clock=clock,
    )


async def test_a_new_key_is_stored_by_its_digest_and_told(
    issuer: KeyIssuer, account: Account, changes: list[ApiKey]
) -> None:
    secret, key = await issuer.create(account.id, Wish("laptop"))
    assert changes == [key]
    assert await issuer.list() == [key]
    assert key.digest == digest_of(secret)
    assert secret.startswith(key.hint)
    assert (key.requests_per_minute, key.expires_at_ms, key.created_at_ms) == (60, 0, 1_800_000_000_000)
    assert secret not in repr(key)


async def test_a_limit_of_its_own_and_an_expiry_are_kept(issuer: KeyIssuer, account: Account) -> None:
    _, unlimited = await issuer.create(account.id, Wish(requests_per_minute=0))
    _, key = await issuer.create(account.id, Wish(requests_per_minute=2**32 - 1, expires_at_ms=1_800_000_000_001))
    assert unlimited.requests_per_minute == 0
    assert key in await issuer.list(account.id)
    assert await issuer.list("acct_other") == []


@pytest.mark.parametrize(
    ("account_id", "name", "expires_at_ms", "code", "param"),
    [
        ("acct_unknown", "", 0, Code.NOT_FOUND, "account_id"),
        ("", "", 0, Code.NOT_FOUND, "account_id"),
        ("", "x" * 201, 0, Code.INVALID_REQUEST, "name"),
        ("", "", 1_800_000_000_000, Code.INVALID_REQUEST, "expires_at_ms"),
    ],
)
async def test_what_cannot_be_is_refused(
    issuer: KeyIssuer, changes: list[ApiKey], account_id: str, name: str, expires_at_ms: int, code: Code, param: str
) -> None:
    with pytest.raises(MeshError) as caught:
        await issuer.create(account_id, Wish(name, expires_at_ms=expires_at_ms))
    assert (caught.value.code, caught.value.param) == (code, param)
    assert changes == []


async def test_revoking_twice_keeps_the_first_time(
    issuer: KeyIssuer, account: Account, changes: list[ApiKey], clock: ManualClock
) -> None:
    _, key = await issuer.create(account.id, Wish())
    clock.advance(1)
    (first,) = await issuer.revoke(key.id)
    clock.advance(1)
    assert await issuer.revoke(key.id) == [first]
    assert first == replace(key, revoked_at_ms=1_800_000_001_000, change_number=key.change_number + 1)
    # Telling again is harmless, and mends what a lost answer may have left undone.
    assert changes == [key, first, first]


async def test_a_key_that_never_was_cannot_be_revoked(issuer: KeyIssuer, changes: list[ApiKey]) -> None:
    with pytest.raises(MeshError) as caught:
        await issuer.revoke("key_unknown")
    assert caught.value.code is Code.NOT_FOUND
    assert changes == []


async def test_a_caller_who_hangs_up_cannot_split_a_revocation(
    issuer: KeyIssuer, account: Account, changes: list[ApiKey]
) -> None:
    _, key = await issuer.create(account.id, Wish())
    revoking = asyncio.create_task(issuer.revoke(key.id))
    await asyncio.sleep(0)
    revoking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await revoking
    await issuer.drain(10)
    assert [change.revoked_at_ms > 0 for change in changes] == [False, True]
    assert await issuer.list() == [changes[-1]]


async def test_a_rotated_key_works_until_the_overlap_ends(
    issuer: KeyIssuer, account: Account, changes: list[ApiKey], clock: ManualClock
) -> None:
    wish = Wish("ci", ("tiermesh-pro",), ("chat",), 7, 100)
    secret, old = await issuer.create(account.id, wish)
    clock.advance(10)
    new_secret, new, ending = await issuer.rotate(old.id, 3600)
    assert (new.name, new.models, new.endpoints, new.requests_per_minute, new.monthly_credit_cap) == (
        ("ci", ("tiermesh-pro",), ("chat",), 7, 100)
    )
    assert (new.expires_at_ms, new.created_at_ms, new.last_used_at_ms) == (0, 1_800_000_010_000, 0)
    assert (ending.expires_at_ms, ending.replaced_by) == (1_800_003_610_000, new.id)
    assert changes[1:] == [ending, new] == await issuer.list()
    cache = KeyCache()
    cache.load(changes)
    cache.verify(new_secret, 1_800_003_610_000)
    cache.verify(secret, 1_800_003_609_999)
    with pytest.raises(MeshError, match="expired"):
        cache.verify(secret, 1_800_003_610_000)


async def test_an_overlap_prolongs_nothing_and_the_successor_expires_with_the_old_key(
    issuer: KeyIssuer, account: Account
) -> None:
    _, old = await issuer.create(account.id, Wish(expires_at_ms=1_800_000_001_000))
    _, new, ending = await issuer.rotate(old.id)
    assert new.expires_at_ms == ending.expires_at_ms == 1_800_000_001_000


async def test_what_does_not_work_or_was_rotated_is_not_rotated(
    issuer: KeyIssuer, account: Account, clock: ManualClock
) -> None:
    _, rotated = await issuer.create(account.id, Wish())
    _, successor, _ = await issuer.rotate(rotated.id)
    _, revoked = await issuer.create(account.id, Wish())
    await issuer.revoke(revoked.id)
    _, expired = await issuer.create(account.id, Wish(expires_at_ms=1_800_000_000_001))
    clock.advance(1)
    for key, reason in ((rotated, successor.id), (revoked, "revoked"), (expired, "expired")):
        with pytest.raises(MeshError, match=reason) as caught:
            await issuer.rotate(key.id)
        assert caught.value.code is Code.CONFLICT
    with pytest.raises(MeshError) as caught:
        await issuer.rotate("key_unknown")
    assert caught.value.code is Code.NOT_FOUND


async def test_of_two_rotations_at_once_one_wins(issuer: KeyIssuer, account: Account) -> None:
    _, key = await issuer.create(account.id, Wish())
    outcomes = await asyncio.gather(issuer.rotate(key.id), issuer.rotate(key.id), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(MeshError) == 1
    assert len(await issuer.list()) == 2


async def test_a_key_makes_keys_of_its_own_account_up_to_a_number(
    issuer: KeyIssuer, account: Account, store: AuthStore
) -> None:
    _, creator = await issuer.create(account.id, Wish(endpoints=("chat", "keys"), requests_per_minute=5))
    made = [(await issuer.create(account.id, Wish(), creator_key_id=creator.id))[1] for _ in range(4)]
    assert {(key.endpoints, key.requests_per_minute) for key in made} == {(("chat",), 5)}
    with pytest.raises(MeshError) as caught:
        await issuer.create(account.id, Wish(), creator_key_id=creator.id)
    assert caught.value.code is Code.CONFLICT
    await issuer.revoke(made[0].id)
    await issuer.create(account.id, Wish(), creator_key_id=creator.id)
    other = await Accounts(store, KeyCache().put).create("other")
    for account_id, creator_id in ((other.id, creator.id), (account.id, made[0].id)):
        with pytest.raises(MeshError) as caught:
            await issuer.create(account_id, Wish(), creator_key_id=creator_id)
        assert caught.value.code is Code.NOT_FOUND


async def test_only_the_own_account_s_keys_can_be_revoked_by_it(issuer: KeyIssuer, account: Account) -> None:
    _, key = await issuer.create(account.id, Wish())
    with pytest.raises(MeshError) as caught:
        await issuer.revoke(key.id, "acct_other")
    assert caught.value.code is Code.NOT_FOUND
    assert (await issuer.revoke(key.id, account.id))[0].revoked_at_ms > 0


MANAGEMENT = Wish(endpoints=("chat", "keys"))


async def test_a_key_tells_who_made_it_and_keeps_the_limits_above_it(issuer: KeyIssuer, account: Account) -> None:
    _, root = await issuer.create(account.id, replace(MANAGEMENT, requests_per_minute=7, monthly_credit_cap=100))
    _, child = await issuer.create(account.id, replace(MANAGEMENT, monthly_credit_cap=40), creator_key_id=root.id)
    _, grandchild = await issuer.create(account.id, Wish(), creator_key_id=child.id)
    assert (root.created_by, child.created_by, grandchild.created_by) == ("", root.id, child.id)
    assert grandchild.ancestors == (Ancestor(root.id, 100, 7), Ancestor(child.id, 40, 7))
    assert grandchild.caps == ((root.id, 100), (child.id, 40))
    assert grandchild.rates == root.rates == ((root.id, 7),)


async def test_a_rotated_key_counts_on_and_so_do_the_keys_that_it_makes(issuer: KeyIssuer, account: Account) -> None:
    _, root = await issuer.create(account.id, replace(MANAGEMENT, monthly_credit_cap=100))
    _, child = await issuer.create(account.id, MANAGEMENT, creator_key_id=root.id)
    _, second, _ = await issuer.rotate(root.id)
    _, third, _ = await issuer.rotate(second.id)
    assert third.caps == second.caps == root.caps == ((root.id, 100),)
    assert (third.rates, third.origin) == (root.rates, root.id)
    _, late = await issuer.create(account.id, Wish(), creator_key_id=third.id)
    assert (late.created_by, late.caps) == (third.id, root.caps)
    _, rotated_child, _ = await issuer.rotate(child.id)
    assert (rotated_child.created_by, rotated_child.caps) == (root.id, root.caps)


async def test_descendants_are_revoked_with_a_key_if_asked(
    issuer: KeyIssuer, account: Account, changes: list[ApiKey], clock: ManualClock
) -> None:
    _, root = await issuer.create(account.id, MANAGEMENT)
    _, stranger = await issuer.create(account.id, MANAGEMENT)
    _, child = await issuer.create(account.id, MANAGEMENT, creator_key_id=root.id)
    _, grandchild = await issuer.create(account.id, Wish(), creator_key_id=child.id)
    assert [key.id for key in await issuer.revoke(child.id)] == [child.id]
    _, second, _ = await issuer.rotate(root.id)
    changes.clear()
    clock.advance(1)
    # What its rotations made are its descendants, but not those rotations, which are keys in use.
    _, late = await issuer.create(account.id, Wish(), creator_key_id=second.id)
    revoked = await issuer.revoke(root.id, descendants=True)
    assert [key.id for key in revoked] == [root.id, grandchild.id, late.id]
    assert all(key.revoked_at_ms for key in revoked)
    assert changes[1:] == revoked
    working = {key.id for key in await issuer.list() if not key.revoked_at_ms}
    assert working == {stranger.id, second.id}
    assert await issuer.revoke(root.id, descendants=True) == [revoked[0]]


async def test_a_key_of_a_line_is_never_left_by_a_revocation_of_all(issuer: KeyIssuer, account: Account) -> None:
    """Whichever comes first: a key that is being made is revoked as well, or not made."""
    _, root = await issuer.create(account.id, MANAGEMENT)
    making = [issuer.create(account.id, Wish(), creator_key_id=root.id) for _ in range(3)]
    outcomes = await asyncio.gather(
        making[0], issuer.revoke(root.id, descendants=True), *making[1:], return_exceptions=True
    )
    for outcome in outcomes:
        assert not isinstance(outcome, Exception) or "no longer works" in str(outcome)
    assert all(key.revoked_at_ms for key in await issuer.list())


async def test_a_key_that_asks_for_a_revocation_must_work_and_be_the_account_s(
    issuer: KeyIssuer, account: Account, store: AuthStore
) -> None:
    other = await Accounts(store, KeyCache().put).create("other")
    _, target = await issuer.create(account.id, Wish())
    _, strange = await issuer.create(other.id, MANAGEMENT)
    _, dead = await issuer.create(account.id, MANAGEMENT)
    await issuer.revoke(dead.id)
    for revoker in (strange.id, dead.id, "key_unknown"):
        with pytest.raises(MeshError, match="no longer works"):
            await issuer.revoke(target.id, account.id, revoker_key_id=revoker)
    _, weak = await issuer.create(account.id, replace(MANAGEMENT, models=("tiermesh-pro",)))
    with pytest.raises(MeshError, match="models"):
        await issuer.revoke(target.id, account.id, revoker_key_id=weak.id, descendants=True)
    assert not (await store.get_key(target.id)).revoked_at_ms


async def test_dead_keys_are_bounded_until_they_are_pruned(
    issuer: KeyIssuer, account: Account, store: AuthStore, clock: ManualClock
) -> None:
    _, root = await issuer.create(account.id, MANAGEMENT)
    for _ in range(7):
        _, key = await issuer.create(account.id, Wish(), creator_key_id=root.id)
        await issuer.revoke(key.id, account.id, revoker_key_id=root.id)
    with pytest.raises(MeshError, match="7 revoked and expired keys") as caught:
        await issuer.create(account.id, Wish(), creator_key_id=root.id)
    assert caught.value.code is Code.CONFLICT
    assert len(await issuer.list()) == 1 + 7
    # An operator is not bound by it.
    await issuer.create(account.id, Wish())
    clock.advance(1)
    assert await store.delete_ended(int(clock.now * 1000)) == 7
    await issuer.create(account.id, Wish(), creator_key_id=root.id)


async def test_of_keys_made_at_once_no_more_than_allowed_are_made(issuer: KeyIssuer, account: Account) -> None:
    _, root = await issuer.create(account.id, MANAGEMENT)
    outcomes = await asyncio.gather(
        *(issuer.create(account.id, Wish(), creator_key_id=root.id) for _ in range(20)), return_exceptions=True
    )
    assert sum(isinstance(outcome, tuple) for outcome in outcomes) == 4
    assert len(await issuer.list()) == 5

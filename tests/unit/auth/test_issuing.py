from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from services.auth.accounts import Account, Accounts
from services.auth.issuing import KeyIssuer
from services.auth.keys import ApiKey, digest_of
from services.auth.store import AuthStore
from services.common.errors import Code, MeshError
from tests.unit.auth.manual_clock import ManualClock


@pytest.fixture
async def account(store: AuthStore, clock: ManualClock) -> Account:
    return await Accounts(store, clock=clock).create("customer")


@pytest.fixture
def changes() -> list[ApiKey]:
    return []


@pytest.fixture
def issuer(store: AuthStore, clock: ManualClock, changes: list[ApiKey]) -> KeyIssuer:
    return KeyIssuer(store, changes.append, prefix="tiermesh", default_requests_per_minute=60, clock=clock)


async def test_a_new_key_is_stored_by_its_digest_and_told(
    issuer: KeyIssuer, account: Account, changes: list[ApiKey]
) -> None:
    secret, key = await issuer.create(account.id, "laptop")
    assert changes == [key]
    assert await issuer.list() == [key]
    assert key.digest == digest_of(secret)
    assert secret.startswith(key.hint)
    assert (key.requests_per_minute, key.expires_at_ms, key.created_at_ms) == (60, 0, 1_800_000_000_000)
    assert secret not in repr(key)


async def test_a_limit_of_its_own_and_an_expiry_are_kept(issuer: KeyIssuer, account: Account) -> None:
    _, unlimited = await issuer.create(account.id, "", requests_per_minute=0)
    _, key = await issuer.create(account.id, "", requests_per_minute=2**32 - 1, expires_at_ms=1_800_000_000_001)
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
        await issuer.create(account_id, name, expires_at_ms=expires_at_ms)
    assert (caught.value.code, caught.value.param) == (code, param)
    assert changes == []


async def test_revoking_twice_keeps_the_first_time(
    issuer: KeyIssuer, account: Account, changes: list[ApiKey], clock: ManualClock
) -> None:
    _, key = await issuer.create(account.id, "")
    clock.advance(1)
    first = await issuer.revoke(key.id)
    clock.advance(1)
    assert await issuer.revoke(key.id) == first == replace(key, revoked_at_ms=1_800_000_001_000)
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
    _, key = await issuer.create(account.id, "")
    revoking = asyncio.create_task(issuer.revoke(key.id))
    await asyncio.sleep(0)
    revoking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await revoking
    await issuer.drain(10)
    assert [change.revoked_at_ms > 0 for change in changes] == [False, True]
    assert await issuer.list() == [changes[-1]]

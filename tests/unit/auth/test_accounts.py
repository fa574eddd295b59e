from __future__ import annotations

import pytest

from services.auth.accounts import Accounts
from services.auth.key_cache import KeyCache
from services.auth.store.store import AuthStore
from services.common.errors import MeshError
from tests.unit.auth.manual_clock import ManualClock


async def test_accounts_are_listed_oldest_first(store: AuthStore, clock: ManualClock) -> None:
    accounts = Accounts(store, KeyCache().put, clock=clock)
    made = []
    for name in ("zoe", "adam", ""):
        made.append(await accounts.create(name))
        clock.advance(1)
    assert await accounts.list() == made
    assert [each.name for each in made] == ["zoe", "adam", ""]
    assert made[0].id.startswith("acct_")
    assert made[0].created_at_ms == 1_800_000_000_000


async def test_a_bad_name_opens_nothing(store: AuthStore) -> None:
    accounts = Accounts(store, KeyCache().put)
    with pytest.raises(MeshError):
        await accounts.create("x" * 201)
    assert await accounts.list() == []

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from services.auth.accounts import Account
from services.auth.key_cache import KeyCache
from services.auth.pruning import Pruner
from services.auth.store.store import AuthStore
from services.common.errors import Code, MeshError
from tests.support.waiting import eventually
from tests.unit.auth.keys_for_tests import api_key
from tests.unit.auth.manual_clock import START, ManualClock

RETENTION = 100.0
START_MS = int(START * 1000)


class Failing:
    """A store that is away."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.asked = 0

    async def delete_ended(self, before_ms: int) -> int:
        self.asked += 1
        raise self.error


async def test_what_ended_long_ago_is_forgotten_by_store_and_memory(store: AuthStore, clock: ManualClock) -> None:
    await store.insert_account(Account("acct_1", "", 1))
    ends = {"revoked": {"revoked_at_ms": START_MS}, "expired": {"expires_at_ms": START_MS + 1}, "living": {}}
    ends["expires later"] = {"expires_at_ms": START_MS + 1_000_000}
    ends["revoked before it expires"] = {"revoked_at_ms": START_MS, "expires_at_ms": START_MS + 1_000_000}
    keys = KeyCache()
    for name, fields in ends.items():
        keys.put(await store.insert_key(api_key(f"sk-x-{name}", id=name, **fields)))
    pruner = Pruner(store, keys, RETENTION, clock=clock)
    for passed, left in ((99.999, set(ends)), (100, set(ends) - {"revoked", "revoked before it expires"})):
        clock.now = START + passed
        await pruner.prune()
        assert {key.id for key in await store.list_keys()} == left
        assert len(keys) == len(left)
    clock.advance(1)
    await pruner.prune()
    assert {key.id for key in await store.list_keys()} == {"living", "expires later"}
    with pytest.raises(MeshError, match="Incorrect API key"):
        keys.verify("sk-x-revoked", START_MS)
    keys.verify("sk-x-living", START_MS)


@pytest.mark.parametrize("error", [MeshError(Code.UNAVAILABLE, "away"), ZeroDivisionError()])
async def test_memory_is_bounded_without_the_database_and_the_loop_goes_on(
    clock: ManualClock, error: Exception
) -> None:
    keys = KeyCache()
    keys.load([replace(api_key(), revoked_at_ms=1)])
    failing = Failing(error)
    with capture_logs() as logs:
        task = asyncio.create_task(Pruner(failing, keys, 0.001, clock=clock).run())
        await eventually(lambda: failing.asked >= 2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(keys) == 0
    assert logs[0]["event"] in {"dead_keys_not_pruned", "pruning_failed"}

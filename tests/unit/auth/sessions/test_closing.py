"""Closing an account, on a real store: all of it happens, once, or nothing does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.auth.accounts import Accounts
from services.auth.closing.closing import Closing
from services.auth.keys import digest_of
from services.auth.operators.actions import Action, ActionFilter
from services.auth.store.closing import ClosingStore
from services.auth.store.operators import OperatorStore
from services.common.clock import to_ms
from services.common.errors import Code, MeshError
from services.common.scopes import ENDPOINTS
from tests.unit.auth.sessions.world import SECRET, World

WHOLE = "sk-tiermesh-everything"


async def test_sessions_and_their_keys_end_for_good_and_other_keys_do_not(world: World) -> None:
    key = await world.add(WHOLE, "key_4", ENDPOINTS)
    token, _ = await world.sessions.create(WHOLE, "")
    secret, _ = await world.session_keys.get(token)
    closing = Closing(ClosingStore(world.database), world.sessions, world.keys.put, clock=world.clock)
    closed = await closing.close(token)
    assert closed.closed_at_ms == to_ms(world.clock())
    # A key that was being made meanwhile is made as the account now is.
    late = await world.auth_store.insert_key(replace(key, id="key_9", digest=digest_of("sk-x-late")))
    assert late.closed_at_ms == closed.closed_at_ms
    await Accounts(world.auth_store, world.keys.put, clock=world.clock).reopen(world.account.id)
    assert world.works(WHOLE)
    assert not (await world.auth_store.get_key("key_9")).closed_at_ms
    assert not world.works(secret)
    assert await world.ended(token)


async def test_an_account_is_closed_once_however_often_the_transaction_runs(world: World) -> None:
    await world.add(WHOLE, "key_4", ENDPOINTS)
    await world.sessions.create(WHOLE, "")
    action = Action("act_" + "0" * 24, 7, "", "the owner", "close_account", world.account.id, "")
    asked: list[int] = []
    store = ClosingStore(world.database)
    for _ in range(2):
        account, keys = await store.close_account(action, lambda keys: asked.append(len(keys)))
        assert (account.closed_at_ms, {key.closed_at_ms for key in keys}) == (7, {7})
    assert asked == [4]
    [recorded] = await OperatorStore(world.database).list_actions(ActionFilter(), 0, 10)
    assert (recorded.action, recorded.outcome and recorded.outcome.outcome) == (action, "done")


async def test_a_closing_that_is_refused_changes_nothing(world: World) -> None:
    token, _ = await world.sessions.create(SECRET, "")
    secret, _ = await world.session_keys.get(token)
    closing = Closing(ClosingStore(world.database), world.sessions, world.keys.put, clock=world.clock)
    # SECRET may use less than the others.
    with pytest.raises(MeshError) as caught:
        await closing.close(token)
    assert caught.value.code is Code.PERMISSION_DENIED
    assert not await world.ended(token)
    assert world.works(secret)
    assert await OperatorStore(world.database).list_actions(ActionFilter(), 0, 10) == []

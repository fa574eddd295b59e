"""Operators, their sessions and the record of their actions, over real gRPC on both databases."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from services.auth.store.store import MIGRATIONS
from services.common.database.base import Database
from services.common.errors import Code, MeshError
from services.common.rpc.interceptors import call_unary
from tests.integration.auth.auth_client import AuthClient
from tests.integration.auth.conftest import auth_process
from tiermesh.auth.v1 import operators_pb2

_SECONDS = 10.0


async def ask(client: AuthClient, method: str, **fields: Any) -> Any:
    request = getattr(operators_pb2, f"{method}Request")(**fields)
    return await call_unary(getattr(client.operators, method)(request, timeout=_SECONDS, wait_for_ready=True))


async def refused(client: AuthClient, method: str, **fields: Any) -> Code:
    with pytest.raises(MeshError) as caught:
        await ask(client, method, **fields)
    return caught.value.code


async def new_operator(client: AuthClient) -> operators_pb2.CreateOperatorResponse:
    created = await ask(client, "CreateOperator", name=f"operator {secrets.token_hex(4)}")
    assert isinstance(created, operators_pb2.CreateOperatorResponse)
    return created


def action_id() -> str:
    return f"act_{secrets.token_hex(12)}"


async def test_a_session_lives_from_its_beginning_to_its_end(shared_client: AuthClient) -> None:
    client = shared_client
    created = await new_operator(client)
    begun = await ask(client, "CreateOperatorSession", operator_key=created.operator_key, label="Firefox")
    session, token = begun.session, begun.session_token
    assert (session.operator_id, session.operator_name) == (created.operator.id, created.operator.name)
    assert (await ask(client, "GetOperatorSession", session_token=token)).session == session
    confirmed = await ask(client, "ConfirmOperatorSession", session_token=token, operator_key=created.operator_key)
    assert confirmed.session.confirmed_at_ms >= session.confirmed_at_ms == session.created_at_ms
    other = await new_operator(client)
    code = await refused(client, "ConfirmOperatorSession", session_token=token, operator_key=other.operator_key)
    assert code is Code.PERMISSION_DENIED
    for _ in range(2):
        await ask(client, "EndOperatorSession", session_token=token)
        assert await refused(client, "GetOperatorSession", session_token=token) is Code.UNAUTHENTICATED


async def test_an_operator_who_is_removed_is_signed_out_and_stays_out(shared_client: AuthClient) -> None:
    client = shared_client
    created = await new_operator(client)
    begun = await ask(client, "CreateOperatorSession", operator_key=created.operator_key)
    removed = [(await ask(client, "RemoveOperator", operator=created.operator.name)).operator for _ in range(2)]
    assert removed[0].removed_at_ms == removed[1].removed_at_ms > 0
    assert removed[0] in (await ask(client, "ListOperators")).operators
    assert await refused(client, "GetOperatorSession", session_token=begun.session_token) is Code.UNAUTHENTICATED
    code = await refused(client, "CreateOperatorSession", operator_key=created.operator_key)
    assert code is Code.UNAUTHENTICATED
    # Otherwise the record would not tell the two apart.
    assert await refused(client, "CreateOperator", name=created.operator.name) is Code.CONFLICT


async def test_api_keys_and_other_text_sign_no_operator_in(shared_client: AuthClient) -> None:
    client = shared_client
    account = await client.create_account()
    owner = await client.create_key(account.id, endpoints=["chat", "keys"], requests_per_minute=0)
    created = await new_operator(client)
    for key in (owner.api_key, "", "op-tiermesh-" + "x" * 43, created.operator_key + " ", "\0", "x" * 9999):
        assert await refused(client, "CreateOperatorSession", operator_key=key) is Code.UNAUTHENTICATED
    assert (await client.refusal(created.operator_key)).code is Code.UNAUTHENTICATED


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\0b", "a\nb"])
async def test_an_operator_has_a_name_that_can_be_shown(shared_client: AuthClient, name: str) -> None:
    assert await refused(shared_client, "CreateOperator", name=name) is Code.INVALID_REQUEST


async def test_what_is_done_is_recorded_with_who_does_it_and_what_becomes_of_it(shared_client: AuthClient) -> None:
    client = shared_client
    created = await new_operator(client)
    token = (await ask(client, "CreateOperatorSession", operator_key=created.operator_key)).session_token
    subject, first, second = f"acct_{secrets.token_hex(12)}", action_id(), action_id()
    begin = {"session_token": token, "action": "grant_credits", "subject": subject, "detail": "10 credits.\nFor\0fun"}
    for _ in range(2):
        await ask(client, "BeginAction", action_id=first, **begin)
    [begun] = (await ask(client, "ListActions", subject=subject)).actions
    assert (begun.id, begun.operator_id, begun.operator_name) == (first, created.operator.id, created.operator.name)
    assert (begun.detail, begun.outcome, begun.ended_at_ms) == ("10 credits. For fun", "", 0)
    for outcome in ("done", "refused"):
        await ask(client, "EndAction", action_id=first, outcome=outcome, message="as it was")
    await ask(client, "BeginCommand", action_id=second, user="command line: ada", action="revoke_key", subject=subject)
    recorded = (await ask(client, "ListActions", subject=subject)).actions
    assert [(each.id, each.outcome, each.message) for each in recorded] == [
        (second, "", ""),
        (first, "done", "as it was"),
    ]
    assert recorded[1].ended_at_ms >= recorded[1].at_ms > 0


async def test_nobody_is_recorded_who_is_not_signed_in(shared_client: AuthClient) -> None:
    client = shared_client
    created = await new_operator(client)
    token = (await ask(client, "CreateOperatorSession", operator_key=created.operator_key)).session_token
    await ask(client, "EndOperatorSession", session_token=token)
    for wrong in (token, "", "guess"):
        code = await refused(client, "BeginAction", action_id=action_id(), session_token=wrong, action="x")
        assert code is Code.UNAUTHENTICATED
    assert await refused(client, "EndAction", action_id=action_id(), outcome="done") is Code.NOT_FOUND
    assert await refused(client, "EndAction", action_id="\0", outcome="done") is Code.NOT_FOUND
    assert await refused(client, "EndAction", action_id=action_id(), outcome="fine") is Code.INVALID_REQUEST
    for wrong in ("", "act_1", "x" * 999):
        assert await refused(client, "BeginCommand", action_id=wrong, action="x") is Code.INVALID_REQUEST


async def test_the_record_is_read_a_page_at_a_time_and_by_what_is_wanted(shared_client: AuthClient) -> None:
    client = shared_client
    user, made = f"command line: {secrets.token_hex(4)}", [action_id() for _ in range(5)]
    for number, each in enumerate(made):
        action = "create_key" if number % 2 else "revoke_key"
        await ask(client, "BeginCommand", action_id=each, user=user, action=action)
    found, token = [], ""
    while True:
        page = await ask(client, "ListActions", operator_name=user, page_size=2, page_token=token)
        found += [each.id for each in page.actions]
        token = page.next_page_token
        if not token:
            break
    assert found == made[::-1]
    some = (await ask(client, "ListActions", operator_name=user, action="create_key")).actions
    assert [each.id for each in some] == [made[3], made[1]]
    assert await refused(client, "ListActions", page_token="-1") is Code.INVALID_REQUEST
    assert await refused(client, "ListActions", subject="\0") is Code.NOT_FOUND


@pytest.fixture
async def recorded(tmp_path: Path, database_url: str) -> AsyncIterator[Database]:
    """A database in which an action and its outcome are recorded."""
    async with auth_process(tmp_path, database_url) as process, AuthClient(process.address) as client:
        begun = action_id()
        await ask(client, "BeginCommand", action_id=begun, user="ada", action="x")
        await ask(client, "EndAction", action_id=begun, outcome="done")
    database = Database(database_url)
    await database.open(migrations=MIGRATIONS)
    yield database
    await database.close()


async def test_the_record_cannot_be_changed(recorded: Database) -> None:
    statements = [
        f"{change} {rest}"
        for table, column in (("operator_actions", "detail"), ("operator_action_outcomes", "outcome"))
        for change, rest in ((f"UPDATE {table}", f"SET {column} = 'other'"), (f"DELETE FROM {table}", ""))
    ]
    if recorded.dialect == "postgresql":
        statements.append("TRUNCATE operator_action_outcomes")
    for statement in statements:
        with pytest.raises(DatabaseError, match="append-only"):
            await recorded.transaction(partial(sa.Connection.execute, statement=sa.text(statement)))
    for table in ("operator_actions", "operator_action_outcomes"):
        count = sa.select(sa.func.count()).select_from(sa.table(table))
        assert await recorded.read(partial(sa.Connection.scalar, statement=count)) == 1

"""Accounts that their owners close, over real gRPC on both databases."""

from __future__ import annotations

from typing import Any

import pytest

from services.common.errors import Code, MeshError
from services.common.rpc.interceptors import call_unary
from services.common.scopes import ENDPOINTS
from tests.integration.auth.auth_client import AuthClient
from tests.integration.auth.sign_in_client import BROWSER, PARTY, SignIn
from tests.integration.auth.test_suspension import ask, code_of
from tests.support.authenticator import Authenticator
from tiermesh.auth.v1 import operators_pb2

_SECONDS = 10.0


async def signed_in(client: AuthClient, secret: str) -> str:
    """Returns the token of a session."""
    return str((await ask(client, "CreateSession", api_key=secret)).session_token)


async def refused(client: AuthClient, method: str, **fields: Any) -> MeshError:
    with pytest.raises(MeshError) as caught:
        await ask(client, method, **fields)
    return caught.value


async def record_of(client: AuthClient, account_id: str) -> list[tuple[str, str, str, str]]:
    """Returns the lines of the record about an account: who, what, how, and what became of it."""
    asked = operators_pb2.ListActionsRequest(subject=account_id)
    listed = await call_unary(client.operators.ListActions(asked, timeout=_SECONDS, wait_for_ready=True))
    return [(each.operator_name, each.action, each.detail, each.outcome) for each in listed.actions]


async def test_a_closed_account_lets_nobody_in_until_an_operator_reopens_it(shared_client: AuthClient) -> None:
    client = shared_client
    account, other = await client.create_account(), await client.create_account()
    manager = await client.create_key(account.id, endpoints=ENDPOINTS, requests_per_minute=0)
    key, bystander = await client.create_key(account.id), await client.create_key(other.id)
    token, elsewhere = await signed_in(client, manager.api_key), await signed_in(client, manager.api_key)
    of_session = (await ask(client, "GetSessionKey", session_token=elsewhere)).api_key
    closed = (await ask(client, "CloseAccount", session_token=token)).account
    assert closed.closed_at_ms >= account.created_at_ms
    assert (await ask(client, "GetAccount", account_id=account.id)).account == closed
    made_meanwhile, rotated = await client.create_key(account.id), await client.rotate_key(key.key.id)
    keys = [each.api_key for each in (key, manager, made_meanwhile, rotated)]
    assert [await code_of(client, each) for each in keys] == [Code.PERMISSION_DENIED] * 4
    assert "is closed" in (await client.refusal(key.api_key)).message
    assert await code_of(client, of_session) is Code.UNAUTHENTICATED
    assert await code_of(client, bystander.api_key) is None
    again = await refused(client, "CreateSession", api_key=manager.api_key)
    assert (again.code, "is closed" in again.message) == (Code.PERMISSION_DENIED, True)
    # Nobody who is signed in can close it a second time.
    for method in ("GetSession", "GetSessionKey", "CloseAccount"):
        for each in (token, elsewhere):
            assert (await refused(client, method, session_token=each)).code is Code.UNAUTHENTICATED, method
    detail = f"Signed in with {manager.key.id}."
    assert await record_of(client, account.id) == [("the owner", "close_account", detail, "done")]
    listed = (await ask(client, "ListAccounts", closed=True)).accounts
    assert closed in listed
    assert all(each.closed_at_ms for each in listed)
    reopened = [(await ask(client, "ReopenAccount", account_id=account.id)).account for _ in range(2)]
    assert reopened == [account, account]
    assert [await code_of(client, each) for each in keys] == [None] * 4
    # What had ended stays so.
    assert await code_of(client, of_session) is Code.UNAUTHENTICATED
    for each in (token, elsewhere):
        assert (await refused(client, "GetSession", session_token=each)).code is Code.UNAUTHENTICATED
    assert await signed_in(client, manager.api_key)


async def test_closed_and_suspended_are_told_and_undone_apart(shared_client: AuthClient) -> None:
    client = shared_client
    account = await client.create_account()
    key = await client.create_key(account.id, endpoints=ENDPOINTS, requests_per_minute=0)
    token = await signed_in(client, key.api_key)
    await client.suspend(account.id)
    # Who is suspended is not signed in, so nobody leaves that way.
    assert (await refused(client, "CloseAccount", session_token=token)).code is Code.UNAUTHENTICATED
    await client.resume(account.id)
    await ask(client, "CloseAccount", session_token=await signed_in(client, key.api_key))
    await client.suspend(account.id)
    assert "is closed" in (await client.refusal(key.api_key)).message
    reopened = (await ask(client, "ReopenAccount", account_id=account.id)).account
    assert (reopened.closed_at_ms, bool(reopened.suspended_at_ms)) == (0, True)
    assert "is suspended" in (await client.refusal(key.api_key)).message
    assert await client.resume(account.id) == account
    assert await code_of(client, key.api_key) is None


@pytest.mark.parametrize(
    "limits", [{"requests_per_minute": 5}, {"monthly_credit_cap": 7}, {"models": ["tiermesh-pro"]}], ids=str
)
async def test_a_key_that_may_not_revoke_every_other_one_cannot_close_the_account(
    shared_client: AuthClient, limits: dict[str, Any]
) -> None:
    client = shared_client
    account = await client.create_account()
    whole = await client.create_key(account.id, endpoints=ENDPOINTS, requests_per_minute=0)
    fields = {"requests_per_minute": 0, **limits}
    apart = await client.create_key(account.id, endpoints=ENDPOINTS, **fields)
    child = await client.create_key(account.id, endpoints=ENDPOINTS, creator_key_id=whole.key.id, **fields)
    for key in (apart, child):
        token = await signed_in(client, key.api_key)
        answer = await refused(client, "CloseAccount", session_token=token)
        assert (answer.code, "may not revoke every key" in answer.message) == (Code.PERMISSION_DENIED, True)
        assert await code_of(client, whole.api_key) is None
        # The refusal has taken nothing away, and has left no line behind that anybody could write for ever.
        assert (await ask(client, "GetSession", session_token=token)).session.account_id == account.id
    assert await record_of(client, account.id) == []
    # Once the key with more rights is gone, nothing is in the way.
    await client.revoke_key(whole.key.id)
    assert (
        await ask(client, "CloseAccount", session_token=await signed_in(client, apart.api_key))
    ).account.closed_at_ms


async def test_passkeys_and_recovery_codes_of_a_closed_account_are_refused_and_kept(
    shared_client: AuthClient, sign_in: SignIn
) -> None:
    client, authenticator = shared_client, Authenticator(PARTY.origin)
    options = await sign_in.options("SIGN_UP", account_name="closed")
    opened = await sign_in.ask(
        "CreateAccountWithPasskey", browser_token=BROWSER, credential_json=authenticator.create(options)
    )
    account_id, token = opened.session.account_id, opened.session_token
    code = (await sign_in.ask("CreateRecoveryCode", session_token=token)).recovery_code
    signed = {"browser_token": BROWSER, "credential_json": authenticator.get(await sign_in.options("SIGN_IN"))}
    # A passkey of the whole account may close it.
    await ask(client, "CloseAccount", session_token=token)
    for method, shown in (
        ("CreateSessionWithPasskey", signed),
        ("CreateSessionWithRecoveryCode", {"recovery_code": code}),
    ):
        with pytest.raises(MeshError) as caught:
            await sign_in.ask(method, **shown)
        assert (caught.value.code, "is closed" in caught.value.message) == (Code.PERMISSION_DENIED, True), method
    await ask(client, "ReopenAccount", account_id=account_id)
    recovered = await sign_in.ask("CreateSessionWithRecoveryCode", recovery_code=code)
    assert recovered.session.account_id == account_id


@pytest.mark.parametrize("account_id", ["", "acct_" + "0" * 24, "\0"])
async def test_an_account_that_does_not_exist_cannot_be_reopened(shared_client: AuthClient, account_id: str) -> None:
    assert (await refused(shared_client, "ReopenAccount", account_id=account_id)).code is Code.NOT_FOUND


@pytest.mark.parametrize("method", ["CloseAccount", "RenameAccount"])
@pytest.mark.parametrize("token", ["", "x" * 43, "\0", "x" * 5000])
async def test_only_a_session_closes_or_renames_its_account(shared_client: AuthClient, token: str, method: str) -> None:
    assert (await refused(shared_client, method, session_token=token)).code is Code.UNAUTHENTICATED

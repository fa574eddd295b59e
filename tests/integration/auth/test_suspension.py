"""Suspended accounts, over real gRPC on both databases; tests/integration/auth/test_closing.py has closed ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.common.errors import Code, MeshError
from services.common.rpc.interceptors import call_unary
from tests.integration.auth.auth_client import AuthClient
from tests.integration.auth.conftest import auth_process
from tests.integration.auth.sign_in_client import BROWSER, PARTY, SignIn
from tests.support.authenticator import Authenticator
from tiermesh.auth.v1 import auth_pb2, sign_in_pb2

_SECONDS = 10.0


async def ask(client: AuthClient, method: str, **fields: Any) -> Any:
    request = getattr(auth_pb2, f"{method}Request")(**fields)
    return await call_unary(getattr(client.stub, method)(request, timeout=_SECONDS, wait_for_ready=True))


async def code_of(client: AuthClient, secret: str) -> Code | None:
    reply = await client.authenticate(secret)
    return MeshError.from_proto(reply.error).code if reply.HasField("error") else None


async def test_every_key_of_a_suspended_account_is_refused_until_it_is_resumed(shared_client: AuthClient) -> None:
    client = shared_client
    account, other = await client.create_account(), await client.create_account()
    key, manager = await client.create_key(account.id), await client.create_key(account.id, endpoints=["chat", "keys"])
    bystander = await client.create_key(other.id)
    session = await ask(client, "CreateSession", api_key=manager.api_key)
    suspended = [await client.suspend(account.id) for _ in range(2)]
    assert suspended[0] == suspended[1]
    assert suspended[0].suspended_at_ms >= account.created_at_ms
    assert (await ask(client, "GetAccount", account_id=account.id)).account == suspended[0]
    made_meanwhile = await client.create_key(account.id)
    rotated = await client.rotate_key(key.key.id)
    keys = (key, manager, made_meanwhile, rotated)
    assert [await code_of(client, each.api_key) for each in keys] == [Code.PERMISSION_DENIED] * 4
    assert "suspended" in (await client.refusal(key.api_key)).message
    assert await code_of(client, bystander.api_key) is None
    # What is wrong with the key itself comes first: nobody else is told about the account.
    revoked = await client.create_key(account.id)
    await client.revoke_key(revoked.key.id)
    assert await code_of(client, revoked.api_key) is Code.UNAUTHENTICATED
    with pytest.raises(MeshError) as ended:
        await ask(client, "GetSession", session_token=session.session_token)
    assert ended.value.code is Code.UNAUTHENTICATED
    with pytest.raises(MeshError) as refused:
        await ask(client, "CreateSession", api_key=manager.api_key)
    assert refused.value.code is Code.PERMISSION_DENIED
    resumed = [await client.resume(account.id) for _ in range(2)]
    assert resumed == [account, account]
    assert [await code_of(client, each.api_key) for each in keys] == [None] * 4


async def test_a_suspension_and_a_closing_outlive_the_process(tmp_path: Path, database_url: str) -> None:
    async with auth_process(tmp_path, database_url) as process, AuthClient(process.address) as client:
        account = await client.create_account()
        key = await client.create_key(account.id)
        closed = await client.create_key((await client.create_account()).id, endpoints=["keys"])
        session = await ask(client, "CreateSession", api_key=closed.api_key)
        await client.suspend(account.id)
        await ask(client, "CloseAccount", session_token=session.session_token)
    async with auth_process(tmp_path, database_url) as process, AuthClient(process.address) as client:
        for each in (key, closed):
            assert await code_of(client, each.api_key) is Code.PERMISSION_DENIED
        await client.resume(account.id)
        await ask(client, "ReopenAccount", account_id=closed.key.account_id)
        for each in (key, closed):
            assert await code_of(client, each.api_key) is None


@pytest.mark.parametrize("account_id", ["", "acct_" + "0" * 24, "\0"])
async def test_an_account_that_does_not_exist_cannot_be_suspended(shared_client: AuthClient, account_id: str) -> None:
    for method in ("SuspendAccount", "ResumeAccount", "GetAccount"):
        with pytest.raises(MeshError) as caught:
            await ask(shared_client, method, account_id=account_id)
        assert caught.value.code is Code.NOT_FOUND


async def test_accounts_are_found_by_name_and_by_ids(shared_client: AuthClient) -> None:
    client = shared_client
    names = ["Zebra 100%_a", "a zeBRA 100%_b", "zebra 100xxb", "another"]
    made = [await client.create_account(name) for name in names]
    key = await client.create_key(made[3].id)

    async def found(search: str, **fields: Any) -> list[str]:
        listed = await ask(client, "ListAccounts", search=search, **fields)
        return [account.id for account in listed.accounts if account in made]

    assert await found("zebra 100") == [account.id for account in made[:3]]
    assert await found("100%_", newest_first=True) == [made[1].id, made[0].id]
    assert await found(made[2].id) == [made[2].id]
    assert await found(key.key.id) == [made[3].id]
    for nothing in ("\0", "key_" + "0" * 24, "no such name"):
        assert await found(nothing) == []


async def test_accounts_come_a_page_at_a_time(shared_client: AuthClient) -> None:
    client = shared_client
    made = [(await client.create_account(f"paged {number}")).id for number in range(5)]
    found, after = [], ""
    while True:
        page = await ask(
            client, "ListAccounts", search="paged ", page_size=2, after_account_id=after, newest_first=True
        )
        found += [account.id for account in page.accounts]
        if not page.has_more:
            break
        after = found[-1]
    assert sorted(found) == sorted(made)
    with pytest.raises(MeshError) as caught:
        await ask(client, "ListAccounts", after_account_id="acct_" + "0" * 24)
    assert caught.value.code is Code.INVALID_REQUEST


async def test_passkeys_and_recovery_codes_of_a_suspended_account_are_refused_as_its_keys_are(
    shared_client: AuthClient, sign_in: SignIn
) -> None:
    client, authenticator = shared_client, Authenticator(PARTY.origin)
    options = await sign_in.options("SIGN_UP", account_name="suspended")
    opened = await sign_in.ask(
        "CreateAccountWithPasskey", browser_token=BROWSER, credential_json=authenticator.create(options)
    )
    account_id, token = opened.session.account_id, opened.session_token
    key = await client.create_key(account_id)
    code = (await sign_in.ask("CreateRecoveryCode", session_token=token)).recovery_code
    challenges = {purpose: await sign_in.options(purpose, token) for purpose in ("CONFIRM", "ADD")}

    async def signed() -> dict[str, str]:
        return {"browser_token": BROWSER, "credential_json": authenticator.get(await sign_in.options("SIGN_IN"))}

    await client.suspend(account_id)
    answer = await client.refusal(key.api_key)
    assert answer.code is Code.PERMISSION_DENIED
    for method, shown in (
        ("CreateSessionWithPasskey", await signed()),
        ("CreateSessionWithRecoveryCode", {"recovery_code": code}),
    ):
        with pytest.raises(MeshError) as refused:
            await sign_in.ask(method, **shown)
        assert (refused.value.code, refused.value.message) == (answer.code, answer.message), method
    # What its session had begun ends with it.
    assert {
        method: await sign_in.refused(method, **fields)
        for method, fields in {
            "ConfirmSessionWithPasskey": {
                "browser_token": token,
                "credential_json": authenticator.get(challenges["CONFIRM"]),
            },
            "AddPasskey": {
                "browser_token": token,
                "credential_json": Authenticator(PARTY.origin).create(challenges["ADD"]),
            },
            "CreateRecoveryCode": {"session_token": token},
            "CreatePasskeyChallenge": {
                "purpose": sign_in_pb2.PASSKEY_PURPOSE_ADD,
                "relying_party": PARTY,
                "browser_token": token,
            },
        }.items()
    } == dict.fromkeys(
        ("ConfirmSessionWithPasskey", "AddPasskey", "CreateRecoveryCode", "CreatePasskeyChallenge"),
        Code.UNAUTHENTICATED,
    )
    # Neither was used up by the refusal.
    await client.resume(account_id)
    entered = await sign_in.ask("CreateSessionWithPasskey", **(await signed()))
    recovered = await sign_in.ask("CreateSessionWithRecoveryCode", recovery_code=code)
    assert {entered.session.account_id, recovered.session.account_id} == {account_id}


async def test_only_those_who_could_get_in_are_told_of_a_suspension(shared_client: AuthClient, sign_in: SignIn) -> None:
    client, authenticator, stranger = shared_client, Authenticator(PARTY.origin), Authenticator(PARTY.origin)
    options = await sign_in.options("SIGN_UP", account_name="suspended")
    opened = await sign_in.ask(
        "CreateAccountWithPasskey", browser_token=BROWSER, credential_json=authenticator.create(options)
    )
    stranger.create(options)
    code = (await sign_in.ask("CreateRecoveryCode", session_token=opened.session_token)).recovery_code
    await client.suspend(opened.session.account_id)
    for key in await client.list_keys(opened.session.account_id):
        await client.revoke_key(key.id)
    assert await sign_in.refused("CreateSessionWithRecoveryCode", recovery_code=code) is Code.UNAUTHENTICATED
    for each in (authenticator, stranger):
        credential = each.get(await sign_in.options("SIGN_IN"))
        assert await sign_in.refused("CreateSessionWithPasskey", browser_token=BROWSER, credential_json=credential) is (
            Code.UNAUTHENTICATED
        )

"""Passkeys and recovery codes over real gRPC on both databases."""

from __future__ import annotations

import asyncio

import pytest

from services.common.errors import Code, MeshError
from services.common.rpc.interceptors import call_unary
from tests.integration.auth.auth_client import AuthClient
from tests.integration.auth.sign_in_client import BROWSER, PARTY, SignIn
from tests.integration.auth.test_sessions import managing_key
from tests.support.authenticator import Authenticator
from tests.support.wallet import SoftwareWallet
from tiermesh.auth.v1 import auth_pb2

_SECONDS = 10.0


async def test_a_passkey_opens_an_account_signs_in_confirms_and_is_removed(
    sign_in: SignIn, shared_client: AuthClient
) -> None:
    authenticator, other = Authenticator(PARTY.origin), Authenticator(PARTY.origin)
    options = await sign_in.options("SIGN_UP", account_name="Zoë & <b>")
    made = {"browser_token": BROWSER, "credential_json": authenticator.create(options)}
    opened = await sign_in.ask("CreateAccountWithPasskey", **made, label="Firefox")
    session = opened.session
    assert (session.account_name, session.key_hint, session.key_name) == ("Zoë & <b>", "passkey", "Firefox")
    assert await sign_in.refused("CreateAccountWithPasskey", **made) is Code.CONFLICT
    token = opened.session_token
    confirmed = await sign_in.ask(
        "ConfirmSessionWithPasskey",
        browser_token=token,
        credential_json=authenticator.get(await sign_in.options("CONFIRM", token)),
    )
    assert confirmed.session.confirmed_at_ms >= session.confirmed_at_ms
    added = await sign_in.ask(
        "AddPasskey",
        browser_token=token,
        credential_json=other.create(await sign_in.options("ADD", token)),
        name="phone",
    )
    assert (added.passkey.name, added.session_token) == ("phone", "")
    signed = {"browser_token": BROWSER, "credential_json": other.get(await sign_in.options("SIGN_IN"))}
    entered = await sign_in.ask("CreateSessionWithPasskey", **signed)
    assert entered.session.key_id == added.passkey.key_id
    assert await sign_in.refused("CreateSessionWithPasskey", **signed) is Code.CONFLICT
    listed = await sign_in.ask("ListSignInMethods", account_id=session.account_id)
    assert [each.name for each in listed.passkeys] == ["Firefox", "phone"]
    # Removing is revoking: operators see both among the keys, and nobody removes the last one by himself.
    keys = {key.id: key for key in await shared_client.list_keys(session.account_id)}
    assert {key.hint for key in keys.values()} == {"passkey"}
    revoke = auth_pb2.RevokeKeyRequest(
        key_id=session.key_id, account_id=session.account_id, revoker_key_id=added.passkey.key_id
    )
    await call_unary(shared_client.stub.RevokeKey(revoke, timeout=_SECONDS))
    revoke.key_id = added.passkey.key_id
    with pytest.raises(MeshError) as caught:
        await call_unary(shared_client.stub.RevokeKey(revoke, timeout=_SECONDS))
    assert caught.value.code is Code.CONFLICT
    options = await sign_in.options("SIGN_IN")
    assert await sign_in.refused(
        "CreateSessionWithPasskey", browser_token=BROWSER, credential_json=authenticator.get(options)
    ) is (Code.UNAUTHENTICATED)


async def test_a_wallet_opens_an_account_signs_in_confirms_and_is_free_when_it_is_removed(
    sign_in: SignIn, shared_client: AuthClient
) -> None:
    wallet, other = SoftwareWallet(), SoftwareWallet()
    made = await sign_in.signed("SIGN_UP", wallet, account_name="Zoë & <b>")
    opened = await sign_in.ask("CreateAccountWithWallet", **made, label="Firefox")
    session, token = opened.session, opened.session_token
    assert (session.account_name, session.key_hint, session.key_name) == ("Zoë & <b>", "wallet", "Firefox")
    assert await sign_in.refused("CreateAccountWithWallet", **made) is Code.CONFLICT
    confirmed = await sign_in.ask("ConfirmSessionWithWallet", **await sign_in.signed("CONFIRM", wallet, token))
    assert confirmed.session.confirmed_at_ms >= session.confirmed_at_ms
    added = await sign_in.ask("AddWallet", **await sign_in.signed("ADD", other, token), name="ledger")
    assert (added.wallet.name, added.wallet.address, added.session_token) == ("ledger", other.address, "")
    signed = await sign_in.signed("SIGN_IN", other)
    answers = await asyncio.gather(
        *(sign_in.ask("CreateSessionWithWallet", **signed) for _ in range(4)), return_exceptions=True
    )
    [entered] = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert entered.session.key_id == added.wallet.key_id
    listed = await sign_in.ask("ListSignInMethods", account_id=session.account_id)
    assert [(each.name, each.address) for each in listed.wallets] == [
        ("Firefox", wallet.address),
        ("ledger", other.address),
    ]
    keys = {key.id: key for key in await shared_client.list_keys(session.account_id)}
    assert {key.hint for key in keys.values()} == {"wallet"}
    revoke = auth_pb2.RevokeKeyRequest(
        key_id=session.key_id, account_id=session.account_id, revoker_key_id=added.wallet.key_id
    )
    await call_unary(shared_client.stub.RevokeKey(revoke, timeout=_SECONDS))
    assert await sign_in.refused("CreateSessionWithWallet", **await sign_in.signed("SIGN_IN", wallet)) is (
        Code.UNAUTHENTICATED
    )
    again = await sign_in.ask("CreateAccountWithWallet", **await sign_in.signed("SIGN_UP", wallet, account_name="two"))
    assert again.session.account_id != session.account_id
    # Of two who open an account with one wallet at once, one does.
    third = SoftwareWallet()
    browsers = [await sign_in.signed("SIGN_UP", third, f"browser {number}") for number in range(3)]
    answers = await asyncio.gather(
        *(sign_in.ask("CreateAccountWithWallet", **each) for each in browsers), return_exceptions=True
    )
    refusals = [answer.code for answer in answers if isinstance(answer, MeshError)]
    assert refusals == [Code.CONFLICT, Code.CONFLICT]


async def test_of_two_answers_to_one_challenge_at_once_one_signs_in(sign_in: SignIn) -> None:
    authenticator = Authenticator(PARTY.origin)
    options = await sign_in.options("SIGN_UP", account_name="two at once")
    await sign_in.ask("CreateAccountWithPasskey", browser_token=BROWSER, credential_json=authenticator.create(options))
    signed = authenticator.get(await sign_in.options("SIGN_IN"))
    attempts = [
        sign_in.ask("CreateSessionWithPasskey", browser_token=BROWSER, credential_json=signed) for _ in range(8)
    ]
    answers = await asyncio.gather(*attempts, return_exceptions=True)
    refusals = [answer for answer in answers if isinstance(answer, MeshError)]
    assert len(refusals) == 7
    assert {error.code for error in refusals} == {Code.CONFLICT}


async def test_a_recovery_code_works_once_and_leads_to_a_passkey(sign_in: SignIn, shared_client: AuthClient) -> None:
    account = await shared_client.create_account("forgetful")
    key = await managing_key(shared_client, account.id)
    begun = await call_unary(
        shared_client.stub.CreateSession(auth_pb2.CreateSessionRequest(api_key=key.api_key), timeout=_SECONDS)
    )
    code = (await sign_in.ask("CreateRecoveryCode", session_token=begun.session_token)).recovery_code
    listed = await sign_in.ask("ListSignInMethods", account_id=account.id)
    assert listed.recovery_code_created_at_ms >= begun.session.created_at_ms
    await shared_client.revoke_key(key.key.id)
    answers = await asyncio.gather(
        *(sign_in.ask("CreateSessionWithRecoveryCode", recovery_code=code.lower()) for _ in range(4)),
        return_exceptions=True,
    )
    [recovered] = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert recovered.session.key_hint == "recovery code"
    authenticator = Authenticator(PARTY.origin)
    token = recovered.session_token
    added = await sign_in.ask(
        "AddPasskey", browser_token=token, credential_json=authenticator.create(await sign_in.options("ADD", token))
    )
    asked = auth_pb2.GetSessionRequest(session_token=added.session_token)
    found = await call_unary(shared_client.stub.GetSession(asked, timeout=_SECONDS))
    assert (found.session.account_id, found.session.key_hint) == (account.id, "passkey")


@pytest.mark.parametrize("text", ["", "\0", "x" * 300, "é\N{PILE OF POO}", "'; DROP TABLE challenges; --"])
async def test_text_that_is_nothing_is_refused(sign_in: SignIn, text: str) -> None:
    assert await sign_in.refused("CreateSessionWithRecoveryCode", recovery_code=text) is Code.UNAUTHENTICATED
    assert await sign_in.refused("CreateRecoveryCode", session_token=text) is Code.UNAUTHENTICATED
    assert await sign_in.refused("CreatePasskeyChallenge", purpose=0, browser_token=text) is Code.INVALID_REQUEST
    assert await sign_in.refused("AddPasskey", browser_token=text, credential_json=text) is Code.UNAUTHENTICATED
    for method in ("CreateAccountWithWallet", "CreateSessionWithWallet"):
        assert await sign_in.refused(method, browser_token=text, nonce=text, signature=text) is Code.INVALID_REQUEST
    for method in ("CreateAccountWithPasskey", "CreateSessionWithPasskey"):
        assert await sign_in.refused(method, browser_token=text, credential_json=text) is Code.INVALID_REQUEST
    listed = await sign_in.ask("ListSignInMethods", account_id="acct_" + "0" * 24)
    assert (len(listed.passkeys), listed.recovery_code_created_at_ms) == (0, 0)

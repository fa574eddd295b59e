"""Sessions and the further calls of the console, over real gRPC on both databases."""

from __future__ import annotations

from typing import Any

import pytest

from services.common.errors import Code, MeshError
from services.common.rpc.interceptors import call_unary
from tests.integration.auth.auth_client import AuthClient
from tiermesh.auth.v1 import auth_pb2

_SECONDS = 10.0


async def ask(client: AuthClient, method: str, request: Any) -> Any:
    return await call_unary(getattr(client.stub, method)(request, timeout=_SECONDS))


async def refused(client: AuthClient, method: str, request: Any) -> Code:
    with pytest.raises(MeshError) as caught:
        await ask(client, method, request)
    return caught.value.code


async def managing_key(client: AuthClient, account_id: str) -> auth_pb2.CreateKeyResponse:
    return await client.create_key(account_id, endpoints=["chat", "keys"], requests_per_minute=0)


async def test_a_session_lives_from_its_beginning_to_its_end(shared_client: AuthClient) -> None:
    client = shared_client
    account = await client.create_account("a customer")
    key = await managing_key(client, account.id)
    begun = await ask(client, "CreateSession", auth_pb2.CreateSessionRequest(api_key=key.api_key, label="Firefox"))
    session, asked = begun.session, auth_pb2.GetSessionRequest(session_token=begun.session_token)
    assert (session.account_id, session.account_name, session.key_id) == (account.id, "a customer", key.key.id)
    assert (await ask(client, "GetSession", asked)).session == session
    assert session.confirmed_at_ms == session.created_at_ms < session.expires_at_ms
    confirm = auth_pb2.ConfirmSessionRequest(session_token=begun.session_token, api_key=key.api_key)
    assert (await ask(client, "ConfirmSession", confirm)).session.confirmed_at_ms >= session.confirmed_at_ms
    listed = (await ask(client, "ListSessions", auth_pb2.ListSessionsRequest(account_id=account.id))).sessions
    assert [each.id for each in listed] == [session.id]
    end = auth_pb2.EndSessionsRequest(account_id=account.id, session_id=session.id)
    assert [(await ask(client, "EndSessions", end)).ended for _ in range(2)] == [1, 0]
    assert await refused(client, "GetSession", asked) is Code.UNAUTHENTICATED


async def test_the_key_of_a_session_works_at_once_until_the_session_ends(shared_client: AuthClient) -> None:
    client = shared_client
    account = await client.create_account()
    key = await managing_key(client, account.id)
    begun = await ask(client, "CreateSession", auth_pb2.CreateSessionRequest(api_key=key.api_key))
    asked = auth_pb2.GetSessionKeyRequest(session_token=begun.session_token)
    made = await ask(client, "GetSessionKey", asked)
    assert (made.key.session_id, list(made.key.endpoints)) == (begun.session.id, ["chat"])
    reply = await client.authenticate(made.api_key)
    assert (reply.key_id, reply.account_id) == (made.key.id, account.id)
    assert [each.id for each in await client.list_keys(account.id)] == [key.key.id]
    listed = auth_pb2.ListKeysRequest(account_id=account.id, with_session_keys=True)
    assert {each.id for each in (await ask(client, "ListKeys", listed)).keys} == {key.key.id, made.key.id}
    await ask(client, "EndSessions", auth_pb2.EndSessionsRequest(account_id=account.id))
    assert (await client.refusal(made.api_key)).code is Code.UNAUTHENTICATED
    assert await refused(client, "GetSessionKey", asked) is Code.UNAUTHENTICATED


async def test_a_session_ends_with_its_key_and_none_begins_without_the_scope(shared_client: AuthClient) -> None:
    client = shared_client
    account = await client.create_account()
    key, plain = await managing_key(client, account.id), await client.create_key(account.id)
    begun = await ask(client, "CreateSession", auth_pb2.CreateSessionRequest(api_key=key.api_key))
    await client.revoke_key(key.key.id)
    asked = auth_pb2.GetSessionRequest(session_token=begun.session_token)
    assert await refused(client, "GetSession", asked) is Code.UNAUTHENTICATED
    create = auth_pb2.CreateSessionRequest(api_key=plain.api_key)
    assert await refused(client, "CreateSession", create) is Code.PERMISSION_DENIED


@pytest.mark.parametrize("text", ["\0", "x" * 300, "é", "'; DROP TABLE sessions; --"])
async def test_text_that_is_no_token_or_id_is_refused(shared_client: AuthClient, text: str) -> None:
    client = shared_client
    account = await client.create_account()
    asked = auth_pb2.GetSessionRequest(session_token=text)
    assert await refused(client, "GetSession", asked) is Code.UNAUTHENTICATED
    end = auth_pb2.EndSessionsRequest(account_id=account.id, session_id=text)
    assert (await ask(client, "EndSessions", end)).ended == 0
    key = auth_pb2.GetKeyRequest(account_id=account.id, key_id=text)
    assert await refused(client, "GetKey", key) is Code.NOT_FOUND


async def test_a_key_is_described_to_its_own_account_alone(shared_client: AuthClient) -> None:
    client = shared_client
    account, other = await client.create_account(), await client.create_account()
    key = (await client.create_key(account.id)).key
    asked = auth_pb2.GetKeyRequest(account_id=account.id, key_id=key.id)
    assert (await ask(client, "GetKey", asked)).key == key
    asked.account_id = other.id
    assert await refused(client, "GetKey", asked) is Code.NOT_FOUND
    rotate = auth_pb2.RotateKeyRequest(account_id=other.id, key_id=key.id)
    assert await refused(client, "RotateKey", rotate) is Code.NOT_FOUND


async def test_pages_of_keys_come_newest_first(shared_client: AuthClient) -> None:
    client = shared_client
    account = await client.create_account()
    made = [(await client.create_key(account.id)).key.id for _ in range(5)]
    asked = auth_pb2.ListKeysRequest(account_id=account.id, page_size=2, newest_first=True)
    found: list[str] = []
    while True:
        page = await ask(client, "ListKeys", asked)
        found += [key.id for key in page.keys]
        if not page.has_more:
            break
        asked.after_key_id = found[-1]
    assert sorted(found) == sorted(made)
    # Keys of one millisecond are ordered by their ids.
    oldest = await client.list_keys(account.id)
    assert [key.id for key in oldest] == found[::-1]


async def test_a_key_rotates_what_it_has_made_and_not_what_escapes_its_limits(shared_client: AuthClient) -> None:
    client = shared_client
    account = await client.create_account()
    manager = await client.create_key(account.id, endpoints=["chat", "keys"], requests_per_minute=50)
    made = await client.create_key(account.id, creator_key_id=manager.key.id)
    stranger = await client.create_key(account.id, endpoints=["chat"], requests_per_minute=10)
    rotate = auth_pb2.RotateKeyRequest(account_id=account.id, key_id=made.key.id, rotator_key_id=manager.key.id)
    rotated = await ask(client, "RotateKey", rotate)
    assert (await client.authenticate(rotated.api_key)).account_id == account.id
    rotate.key_id = stranger.key.id
    assert await refused(client, "RotateKey", rotate) is Code.PERMISSION_DENIED
    await client.revoke_key(manager.key.id)
    rotate.key_id = rotated.key.id
    assert await refused(client, "RotateKey", rotate) is Code.NOT_FOUND

"""The keys of sessions that a passkey or a recovery code has begun."""

from __future__ import annotations

import pytest

from services.auth.issuing.rights import Wish
from services.common.errors import Code, MeshError
from tests.support.authenticator import Authenticator
from tests.unit.auth.sign_in.conftest import World


async def test_it_has_the_limits_of_the_passkey_and_counts_against_the_same(
    world: World, authenticator: Authenticator
) -> None:
    _, first, token = await world.owner(monthly_credit_cap=7, requests_per_minute=3)
    passkey = await world.add(token, authenticator)
    secret, key = await world.session_keys.get(await world.sign_in(authenticator))
    assert world.lets_in(secret)
    assert (key.endpoints, key.monthly_credit_cap, key.requests_per_minute) == (("chat",), 7, 3)
    assert (key.created_by, [ancestor.key_id for ancestor in key.ancestors]) == (passkey.id, [first.id])


async def test_there_is_none_without_the_scope(world: World, authenticator: Authenticator) -> None:
    account, _, _ = await world.owner()
    secret, _ = await world.issuer.create(account.id, Wish("manages", endpoints=("keys",)))
    token, _ = await world.sessions.create(secret, "Firefox")
    await world.add(token, authenticator)
    with pytest.raises(MeshError, match="lacks the scope 'chat'") as caught:
        await world.session_keys.get(await world.sign_in(authenticator))
    assert caught.value.code is Code.PERMISSION_DENIED


@pytest.mark.parametrize("descendants", [False, True])
async def test_it_ends_with_the_passkey(world: World, authenticator: Authenticator, descendants: bool) -> None:
    account, first, token = await world.owner()
    passkey = await world.add(token, authenticator)
    entered = await world.sign_in(authenticator)
    secret, key = await world.session_keys.get(entered)
    await world.issuer.revoke(passkey.id, account.id, descendants=descendants, revoker_key_id=first.id)
    assert not world.lets_in(secret)
    assert (await world.store.get_key(key.id)).revoked_at_ms
    with pytest.raises(MeshError) as caught:
        await world.session_keys.get(entered)
    assert caught.value.code is Code.UNAUTHENTICATED


async def test_it_goes_on_when_the_passkey_revokes_the_key_that_added_it(
    world: World, authenticator: Authenticator
) -> None:
    account, first, token = await world.owner()
    passkey = await world.add(token, authenticator)
    lost, _ = await world.session_keys.get(token)
    entered = await world.sign_in(authenticator)
    secret, _ = await world.session_keys.get(entered)
    await world.issuer.revoke(first.id, account.id, descendants=True, revoker_key_id=passkey.id)
    assert (world.lets_in(lost), world.lets_in(secret)) == (False, True)
    assert (await world.session_keys.get(entered))[0] == secret


async def test_a_recovery_code_gets_none(world: World) -> None:
    account, _, token = await world.owner()
    recovered, _ = await world.recovery_codes.sign_in(await world.recovery_codes.create(token), "Firefox")
    with pytest.raises(MeshError, match="recovery code") as caught:
        await world.session_keys.get(recovered)
    assert caught.value.code is Code.PERMISSION_DENIED
    assert not any(key.session_id for key in await world.store.list_keys(account.id, with_session_keys=True))

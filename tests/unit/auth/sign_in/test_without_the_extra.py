"""Without the library that checks passkeys, there are none, and all else works."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from services.auth.sign_in.challenge import Challenges
from services.auth.sign_in.choice import open_passkeys, open_wallets
from services.auth.sign_in.passkeys import Passkeys
from services.auth.sign_in.service import SignInService
from services.auth.sign_in.wallets import Wallets
from services.common.errors import Code, MeshError
from tests.unit.auth.sign_in.conftest import World
from tiermesh.auth.v1 import sign_in_pb2

CONTEXT = cast("Any", None)


async def test_there_are_passkeys_if_their_library_is_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = world.methods, Challenges(world.methods), world.sessions, world.enrolment, lambda _key, _ms: None
    find = open_passkeys(*parts)
    assert find is not None
    found = await asyncio.gather(find(), find())
    # Who asks while the library is loaded gets the same.
    assert isinstance(found[0], Passkeys)
    assert found[0] is found[1] is await find()
    monkeypatch.setattr("services.auth.sign_in.choice.LIBRARY", "no_such_library")
    assert open_passkeys(*parts) is None


@pytest.mark.parametrize(
    ("libraries", "expected"), [(("coincurve", "eth_hash"), Wallets), (("coincurve", "no_such_library"), type(None))]
)
async def test_wallets_sign_in_if_their_libraries_are_there(
    world: World, monkeypatch: pytest.MonkeyPatch, libraries: tuple[str, ...], expected: type[object]
) -> None:
    monkeypatch.setattr("services.common.ethereum.signatures._LIBRARIES", libraries)
    found = open_wallets(
        world.methods, Challenges(world.methods), world.sessions, world.enrolment, lambda _key, _ms: None
    )
    assert isinstance(found, expected)


async def test_without_it_codes_work_and_passkeys_are_refused_with_advice(world: World) -> None:
    service = SignInService(None, None, world.recovery_codes)
    account, _, token = await world.owner()
    asked = sign_in_pb2.CreatePasskeyChallengeRequest(purpose=sign_in_pb2.PASSKEY_PURPOSE_SIGN_IN)
    with pytest.raises(MeshError, match="extra 'passkeys'") as caught:
        await service.CreatePasskeyChallenge(asked, CONTEXT)
    assert caught.value.code is Code.INVALID_REQUEST
    with pytest.raises(MeshError, match="extra 'payments'"):
        await service.CreateWalletChallenge(
            sign_in_pb2.CreateWalletChallengeRequest(purpose=sign_in_pb2.PASSKEY_PURPOSE_SIGN_IN), CONTEXT
        )
    code = await service.CreateRecoveryCode(sign_in_pb2.CreateRecoveryCodeRequest(session_token=token), CONTEXT)
    listed = await service.ListSignInMethods(sign_in_pb2.ListSignInMethodsRequest(account_id=account.id), CONTEXT)
    assert (list(listed.passkeys), listed.recovery_code_created_at_ms > 0) == ([], True)
    signed_in = await service.CreateSessionWithRecoveryCode(
        sign_in_pb2.CreateSessionWithRecoveryCodeRequest(recovery_code=code.recovery_code), CONTEXT
    )
    assert signed_in.session.account_id == account.id

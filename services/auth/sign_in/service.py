"""The gRPC face of signing in without an API key: translate, call, translate back."""

# ruff: noqa: D102, N802 - the contract names the methods and documents them.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import grpc

from services.auth.keys import ApiKey
from services.auth.sessions.proto import to_proto as session_to_proto
from services.auth.sign_in.challenge import RelyingParty
from services.auth.sign_in.choice import FindPasskeys
from services.auth.sign_in.passkey import FoundPasskey
from services.auth.sign_in.recovery_code import RecoveryCodes
from services.auth.sign_in.wallet import FoundWallet
from services.auth.sign_in.wallets import Signed, Site, Wallets, nonce_and_message
from services.common.errors import Code, MeshError
from services.common.ethereum.addresses import with_checksum
from services.common.ethereum.signatures import EXTRA
from services.common.extras import how_to_install
from tiermesh.auth.v1 import sign_in_pb2, sign_in_pb2_grpc

if TYPE_CHECKING:
    # Importing it needs the extra.
    from services.auth.sign_in.passkeys import Passkeys

SERVICE_NAME = sign_in_pb2.DESCRIPTOR.services_by_name["SignInService"].full_name
METHODS = tuple(method.name for method in sign_in_pb2.DESCRIPTOR.services_by_name["SignInService"].methods)

Context = grpc.aio.ServicerContext[Any, Any]


class SignInService(sign_in_pb2_grpc.SignInServiceServicer):
    """Answers every rpc of tiermesh.auth.v1.SignInService."""

    def __init__(self, passkeys: FindPasskeys | None, wallets: Wallets | None, recovery_codes: RecoveryCodes) -> None:
        """Without `passkeys` or `wallets`, those who ask for them are told how to install what they need."""
        self._find_passkeys = passkeys
        self._found_wallets = wallets
        self._recovery_codes = recovery_codes

    async def _passkeys(self) -> Passkeys:
        if self._find_passkeys is None:
            message = f"There are no passkeys at this installation; {how_to_install('passkeys')}."
            raise MeshError(Code.INVALID_REQUEST, message)
        return await self._find_passkeys()

    @property
    def _wallets(self) -> Wallets:
        if self._found_wallets is None:
            message = f"No wallet signs in to this installation; {how_to_install(EXTRA)}."
            raise MeshError(Code.INVALID_REQUEST, message)
        return self._found_wallets

    async def CreatePasskeyChallenge(
        self, request: sign_in_pb2.CreatePasskeyChallengeRequest, context: Context
    ) -> sign_in_pb2.CreatePasskeyChallengeResponse:
        del context
        party, token = RelyingParty(request.relying_party.id, request.relying_party.origin), request.browser_token
        match request.purpose:
            case sign_in_pb2.PASSKEY_PURPOSE_SIGN_IN:
                options = await (await self._passkeys()).begin_sign_in(party, token)
            case sign_in_pb2.PASSKEY_PURPOSE_CONFIRM:
                options = await (await self._passkeys()).begin_confirmation(party, token)
            case sign_in_pb2.PASSKEY_PURPOSE_ADD:
                options = await (await self._passkeys()).begin_adding(party, token)
            case sign_in_pb2.PASSKEY_PURPOSE_SIGN_UP:
                options = await (await self._passkeys()).begin_sign_up(party, token, request.account_name)
            case _:
                raise _without_purpose()
        return sign_in_pb2.CreatePasskeyChallengeResponse(options_json=options)

    async def CreateAccountWithPasskey(
        self, request: sign_in_pb2.CreateAccountWithPasskeyRequest, context: Context
    ) -> sign_in_pb2.CreateAccountWithPasskeyResponse:
        del context
        token, found = await (await self._passkeys()).sign_up(
            request.browser_token, request.credential_json, request.label
        )
        return sign_in_pb2.CreateAccountWithPasskeyResponse(session_token=token, session=session_to_proto(found))

    async def AddPasskey(
        self, request: sign_in_pb2.AddPasskeyRequest, context: Context
    ) -> sign_in_pb2.AddPasskeyResponse:
        del context
        added, token = await (await self._passkeys()).add(request.browser_token, request.credential_json, request.name)
        return sign_in_pb2.AddPasskeyResponse(passkey=_passkey(added), session_token=token)

    async def CreateSessionWithPasskey(
        self, request: sign_in_pb2.CreateSessionWithPasskeyRequest, context: Context
    ) -> sign_in_pb2.CreateSessionWithPasskeyResponse:
        del context
        token, found = await (await self._passkeys()).sign_in(
            request.browser_token, request.credential_json, request.label
        )
        return sign_in_pb2.CreateSessionWithPasskeyResponse(session_token=token, session=session_to_proto(found))

    async def ConfirmSessionWithPasskey(
        self, request: sign_in_pb2.ConfirmSessionWithPasskeyRequest, context: Context
    ) -> sign_in_pb2.ConfirmSessionWithPasskeyResponse:
        del context
        found = await (await self._passkeys()).confirm(request.browser_token, request.credential_json)
        return sign_in_pb2.ConfirmSessionWithPasskeyResponse(session=session_to_proto(found))

    async def CreateWalletChallenge(
        self, request: sign_in_pb2.CreateWalletChallengeRequest, context: Context
    ) -> sign_in_pb2.CreateWalletChallengeResponse:
        del context
        asked = Site(request.origin, request.chain_id), request.browser_token, request.address
        match request.purpose:
            case sign_in_pb2.PASSKEY_PURPOSE_SIGN_IN:
                challenge = await self._wallets.begin_sign_in(*asked)
            case sign_in_pb2.PASSKEY_PURPOSE_CONFIRM:
                challenge = await self._wallets.begin_confirmation(*asked)
            case sign_in_pb2.PASSKEY_PURPOSE_ADD:
                challenge = await self._wallets.begin_adding(*asked)
            case sign_in_pb2.PASSKEY_PURPOSE_SIGN_UP:
                challenge = await self._wallets.begin_sign_up(*asked, request.account_name)
            case _:
                raise _without_purpose()
        nonce, message = nonce_and_message(challenge)
        return sign_in_pb2.CreateWalletChallengeResponse(nonce=nonce, message=message)

    async def CreateAccountWithWallet(
        self, request: sign_in_pb2.CreateAccountWithWalletRequest, context: Context
    ) -> sign_in_pb2.CreateAccountWithWalletResponse:
        del context
        token, found = await self._wallets.sign_up(request.browser_token, _signed(request), request.label)
        return sign_in_pb2.CreateAccountWithWalletResponse(session_token=token, session=session_to_proto(found))

    async def AddWallet(self, request: sign_in_pb2.AddWalletRequest, context: Context) -> sign_in_pb2.AddWalletResponse:
        del context
        added, token = await self._wallets.add(request.browser_token, _signed(request), request.name)
        return sign_in_pb2.AddWalletResponse(wallet=_wallet(added), session_token=token)

    async def CreateSessionWithWallet(
        self, request: sign_in_pb2.CreateSessionWithWalletRequest, context: Context
    ) -> sign_in_pb2.CreateSessionWithWalletResponse:
        del context
        token, found = await self._wallets.sign_in(request.browser_token, _signed(request), request.label)
        return sign_in_pb2.CreateSessionWithWalletResponse(session_token=token, session=session_to_proto(found))

    async def ConfirmSessionWithWallet(
        self, request: sign_in_pb2.ConfirmSessionWithWalletRequest, context: Context
    ) -> sign_in_pb2.ConfirmSessionWithWalletResponse:
        del context
        found = await self._wallets.confirm(request.browser_token, _signed(request))
        return sign_in_pb2.ConfirmSessionWithWalletResponse(session=session_to_proto(found))

    async def CreateRecoveryCode(
        self, request: sign_in_pb2.CreateRecoveryCodeRequest, context: Context
    ) -> sign_in_pb2.CreateRecoveryCodeResponse:
        del context
        code = await self._recovery_codes.create(request.session_token)
        return sign_in_pb2.CreateRecoveryCodeResponse(recovery_code=code)

    async def CreateSessionWithRecoveryCode(
        self, request: sign_in_pb2.CreateSessionWithRecoveryCodeRequest, context: Context
    ) -> sign_in_pb2.CreateSessionWithRecoveryCodeResponse:
        del context
        token, found = await self._recovery_codes.sign_in(request.recovery_code, request.label)
        return sign_in_pb2.CreateSessionWithRecoveryCodeResponse(session_token=token, session=session_to_proto(found))

    async def ListSignInMethods(
        self, request: sign_in_pb2.ListSignInMethodsRequest, context: Context
    ) -> sign_in_pb2.ListSignInMethodsResponse:
        del context
        found = await (await self._find_passkeys()).list(request.account_id) if self._find_passkeys is not None else ()
        wallets = await self._found_wallets.list(request.account_id) if self._found_wallets is not None else ()
        created_at_ms = await self._recovery_codes.created_at_ms(request.account_id)
        return sign_in_pb2.ListSignInMethodsResponse(
            passkeys=[_passkey(each) for each in found],
            wallets=[_wallet(each) for each in wallets],
            recovery_code_created_at_ms=created_at_ms,
        )


class _WithSignature(Protocol):
    """A request that completes a challenge of a wallet."""

    nonce: str
    signature: str


def _signed(request: _WithSignature) -> Signed:
    return Signed(request.nonce, request.signature)


def _without_purpose() -> MeshError:
    return MeshError(Code.INVALID_REQUEST, "A challenge needs a purpose.", param="purpose")


def _passkey(found: FoundPasskey) -> sign_in_pb2.Passkey:
    message = sign_in_pb2.Passkey(key_id=found.passkey.key_id, synced=found.passkey.synced)
    _describe(message, found.key)
    return message


def _wallet(found: FoundWallet) -> sign_in_pb2.Wallet:
    message = sign_in_pb2.Wallet(key_id=found.wallet.key_id, address=with_checksum(found.wallet.address))
    _describe(message, found.key)
    return message


def _describe(message: sign_in_pb2.Passkey | sign_in_pb2.Wallet, key: ApiKey | None) -> None:
    """Adds what is known by the key that it stands on."""
    if key is not None:
        message.name = key.name
        message.created_at_ms = key.created_at_ms
        message.last_used_at_ms = key.last_used_at_ms
        message.expires_at_ms = key.expires_at_ms

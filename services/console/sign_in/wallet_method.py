"""Signing in with an Ethereum wallet: a browser's extension or app that signs a message of ours.

Auth needs an extra for that, which is installed there if it is installed here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from services.common.ethereum import signatures
from services.common.rpc.replicas import SignInReplicas
from services.console.http.browser_sessions import name_of_browser
from services.console.sign_in.ceremony import answered
from services.console.sign_in.hints import WALLET_HINT
from services.console.sign_in.method import Purpose
from services.console.visit import Visit
from tiermesh.auth.v1 import sign_in_pb2


class WalletMethod:
    """Wallets whose message names the chain with the number `chain_id`; as `SignInMethod`."""

    name = WALLET_HINT

    def __init__(self, replicas: SignInReplicas, chain_id: int) -> None:
        self._replicas = replicas
        self._chain_id = chain_id

    async def options(self, purpose: Purpose, visit: Visit, *, account_name: str = "") -> Mapping[str, Any]:
        """Returns the message for the wallet whose address the browser has sent."""
        asked = sign_in_pb2.CreateWalletChallengeRequest(
            purpose=purpose,
            # It is one of ours, or the form would not have been taken.
            origin=visit.request.headers["Origin"],
            chain_id=self._chain_id,
            browser_token=visit.cookie,
            address=answered(visit, "address", "Wallets"),
            account_name=account_name,
        )
        made = await self._replicas.call(lambda stub: stub.CreateWalletChallenge, asked)
        return {"message": made.message, "nonce": made.nonce}

    async def sign_up(self, visit: Visit) -> tuple[str, str]:
        """Opens an account with its first wallet."""
        asked = sign_in_pb2.CreateAccountWithWalletRequest(**_signed(visit), label=name_of_browser(visit.request))
        made = await self._replicas.call(lambda stub: stub.CreateAccountWithWallet, asked)
        return made.session_token, made.session.account_id

    async def sign_in(self, visit: Visit) -> str:
        """Begins a session by a wallet and returns its token."""
        asked = sign_in_pb2.CreateSessionWithWalletRequest(**_signed(visit), label=name_of_browser(visit.request))
        return (await self._replicas.call(lambda stub: stub.CreateSessionWithWallet, asked)).session_token

    async def confirm(self, visit: Visit) -> None:
        """Has the wallet of a session sign once more."""
        asked = sign_in_pb2.ConfirmSessionWithWalletRequest(**_signed(visit))
        await self._replicas.call(lambda stub: stub.ConfirmSessionWithWallet, asked)

    async def add(self, visit: Visit, name: str) -> str:
        """Adds a wallet; returns the token of a new session if a recovery code has begun this one."""
        asked = sign_in_pb2.AddWalletRequest(**_signed(visit), name=name)
        return (await self._replicas.call(lambda stub: stub.AddWallet, asked)).session_token

    async def key_ids(self, account_id: str) -> Collection[str]:
        """Returns the keys that the wallets of an account stand on."""
        asked = sign_in_pb2.ListSignInMethodsRequest(account_id=account_id)
        found = await self._replicas.call(lambda stub: stub.ListSignInMethods, asked)
        return {wallet.key_id for wallet in found.wallets}


def why_no_wallets(chain_id: int, *, installed: bool | None = None) -> str:
    """Returns why no wallet signs in; empty if wallets do."""
    if not chain_id:
        return "the operator of this service has turned wallets off"
    if not (signatures.installed() if installed is None else installed):
        return "the operator of this service has not installed what they need"
    return ""


def _signed(visit: Visit) -> dict[str, str]:
    """Returns what the wallet has answered."""
    return {
        "browser_token": visit.cookie,
        "nonce": answered(visit, "nonce", "Wallets"),
        "signature": answered(visit, "signature", "Wallets"),
    }

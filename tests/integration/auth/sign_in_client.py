"""Calls what signs in without an API key, as the console does."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from services.common.errors import Code, MeshError
from services.common.rpc.interceptors import call_unary
from tests.support.wallet import SoftwareWallet
from tiermesh.auth.v1 import sign_in_pb2
from tiermesh.auth.v1.sign_in_pb2_grpc import SignInServiceStub

_SECONDS = 10.0
PARTY = sign_in_pb2.RelyingParty(id="console.example.org", origin="https://console.example.org")
BROWSER = "what only this browser has"


class SignIn:
    """Calls SignInService as the console does."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(address)
        self._stub = SignInServiceStub(self.channel)

    async def ask(self, method: str, **fields: Any) -> Any:
        request = getattr(sign_in_pb2, f"{method}Request")(**fields)
        return await call_unary(getattr(self._stub, method)(request, timeout=_SECONDS, wait_for_ready=True))

    async def refused(self, method: str, **fields: Any) -> Code:
        with pytest.raises(MeshError) as caught:
            await self.ask(method, **fields)
        return caught.value.code

    async def options(self, purpose: str, browser_token: str = BROWSER, **fields: Any) -> str:
        value = sign_in_pb2.PasskeyPurpose.Value(f"PASSKEY_PURPOSE_{purpose}")
        made = await self.ask(
            "CreatePasskeyChallenge", purpose=value, relying_party=PARTY, browser_token=browser_token, **fields
        )
        return str(made.options_json)

    async def signed(
        self, purpose: str, wallet: SoftwareWallet, browser_token: str = BROWSER, **fields: Any
    ) -> dict[str, str]:
        """Returns what completes a challenge of a wallet, once the wallet has signed it."""
        made = await self.ask(
            "CreateWalletChallenge",
            purpose=sign_in_pb2.PasskeyPurpose.Value(f"PASSKEY_PURPOSE_{purpose}"),
            origin=PARTY.origin,
            chain_id=1,
            browser_token=browser_token,
            address=wallet.address,
            **fields,
        )
        return {"browser_token": browser_token, "nonce": made.nonce, "signature": wallet.sign(made.message)}

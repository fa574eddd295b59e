"""Signing in with a passkey."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from services.common.rpc.replicas import SignInReplicas
from services.console.http.browser_sessions import name_of_browser
from services.console.sign_in.ceremony import answered
from services.console.sign_in.hints import PASSKEY_HINT
from services.console.sign_in.method import Purpose
from services.console.sign_in.relying_party import RelyingParty
from services.console.visit import Visit
from tiermesh.auth.v1 import sign_in_pb2


class PasskeyMethod:
    """Passkeys of one relying party; as `SignInMethod`."""

    name = PASSKEY_HINT

    def __init__(self, replicas: SignInReplicas, relying_party: RelyingParty) -> None:
        self._replicas = replicas
        self._relying_party = relying_party

    async def options(self, purpose: Purpose, visit: Visit, *, account_name: str = "") -> Mapping[str, Any]:
        """Returns the options for the browser."""
        asked = sign_in_pb2.CreatePasskeyChallengeRequest(
            purpose=purpose,
            relying_party=self._relying_party.to_proto(),
            browser_token=visit.cookie,
            account_name=account_name,
        )
        made = await self._replicas.call(lambda stub: stub.CreatePasskeyChallenge, asked)
        return {"publicKey": json.loads(made.options_json)}

    async def sign_up(self, visit: Visit) -> tuple[str, str]:
        """Opens an account with its first passkey."""
        asked = sign_in_pb2.CreateAccountWithPasskeyRequest(
            browser_token=visit.cookie, credential_json=_credential(visit), label=name_of_browser(visit.request)
        )
        made = await self._replicas.call(lambda stub: stub.CreateAccountWithPasskey, asked)
        return made.session_token, made.session.account_id

    async def sign_in(self, visit: Visit) -> str:
        """Begins a session by a passkey and returns its token."""
        asked = sign_in_pb2.CreateSessionWithPasskeyRequest(
            browser_token=visit.cookie, credential_json=_credential(visit), label=name_of_browser(visit.request)
        )
        return (await self._replicas.call(lambda stub: stub.CreateSessionWithPasskey, asked)).session_token

    async def confirm(self, visit: Visit) -> None:
        """Shows the passkey of a session once more."""
        asked = sign_in_pb2.ConfirmSessionWithPasskeyRequest(
            browser_token=visit.cookie, credential_json=_credential(visit)
        )
        await self._replicas.call(lambda stub: stub.ConfirmSessionWithPasskey, asked)

    async def add(self, visit: Visit, name: str) -> str:
        """Adds a passkey; returns the token of a new session if a recovery code has begun this one."""
        asked = sign_in_pb2.AddPasskeyRequest(browser_token=visit.cookie, credential_json=_credential(visit), name=name)
        return (await self._replicas.call(lambda stub: stub.AddPasskey, asked)).session_token

    async def key_ids(self, account_id: str) -> Collection[str]:
        """Returns the keys that the passkeys of an account stand on."""
        asked = sign_in_pb2.ListSignInMethodsRequest(account_id=account_id)
        found = await self._replicas.call(lambda stub: stub.ListSignInMethods, asked)
        return {passkey.key_id for passkey in found.passkeys}


def _credential(visit: Visit) -> str:
    """Returns what the authenticator has answered."""
    return answered(visit, "credential", "Passkeys")

"""What the console asks of auth about passkeys and recovery codes."""

from __future__ import annotations

from services.common.rpc.replicas import SignInReplicas
from services.console.sign_in.relying_party import RelyingParty
from tiermesh.auth.v1 import sign_in_pb2


class SignInMethods:
    """Passes on what browsers and people send. Every method raises MeshError, UNAVAILABLE if no replica answers.

    The token of a browser is that of its session if it has one, and otherwise the text that ties forms to it.
    """

    def __init__(self, replicas: SignInReplicas, relying_party: RelyingParty | None) -> None:
        """Without a relying party, there are no passkeys."""
        self._replicas = replicas
        self.relying_party = relying_party

    async def options(
        self, purpose: sign_in_pb2.PasskeyPurpose.ValueType, browser_token: str, *, account_name: str = ""
    ) -> str:
        """Returns the options for the browser, as JSON."""
        asked = sign_in_pb2.CreatePasskeyChallengeRequest(
            purpose=purpose,
            relying_party=None if self.relying_party is None else self.relying_party.to_proto(),
            browser_token=browser_token,
            account_name=account_name,
        )
        return (await self._replicas.call(lambda stub: stub.CreatePasskeyChallenge, asked)).options_json

    async def sign_up(self, browser_token: str, credential: str, label: str) -> tuple[str, str]:
        """Opens an account with its first passkey; returns the token of its first session, and the account's ID."""
        asked = sign_in_pb2.CreateAccountWithPasskeyRequest(
            browser_token=browser_token, credential_json=credential, label=label
        )
        made = await self._replicas.call(lambda stub: stub.CreateAccountWithPasskey, asked)
        return made.session_token, made.session.account_id

    async def sign_in(self, browser_token: str, credential: str, label: str) -> str:
        """Begins a session by a passkey and returns its token."""
        asked = sign_in_pb2.CreateSessionWithPasskeyRequest(
            browser_token=browser_token, credential_json=credential, label=label
        )
        return (await self._replicas.call(lambda stub: stub.CreateSessionWithPasskey, asked)).session_token

    async def confirm(self, session_token: str, credential: str) -> None:
        """Shows the passkey of a session once more."""
        asked = sign_in_pb2.ConfirmSessionWithPasskeyRequest(browser_token=session_token, credential_json=credential)
        await self._replicas.call(lambda stub: stub.ConfirmSessionWithPasskey, asked)

    async def add(self, session_token: str, credential: str, name: str) -> str:
        """Adds a passkey; returns the token of a new session if a recovery code has begun this one."""
        asked = sign_in_pb2.AddPasskeyRequest(browser_token=session_token, credential_json=credential, name=name)
        return (await self._replicas.call(lambda stub: stub.AddPasskey, asked)).session_token

    async def list(self, account_id: str) -> sign_in_pb2.ListSignInMethodsResponse:
        """Returns the passkeys of an account, and whether it has a recovery code."""
        asked = sign_in_pb2.ListSignInMethodsRequest(account_id=account_id)
        return await self._replicas.call(lambda stub: stub.ListSignInMethods, asked)

    async def new_recovery_code(self, session_token: str) -> str:
        """Makes the recovery code of an account in place of the one before."""
        asked = sign_in_pb2.CreateRecoveryCodeRequest(session_token=session_token)
        return (await self._replicas.call(lambda stub: stub.CreateRecoveryCode, asked)).recovery_code

    async def recover(self, code: str, label: str) -> str:
        """Begins a short session by a recovery code and returns its token."""
        asked = sign_in_pb2.CreateSessionWithRecoveryCodeRequest(recovery_code=code, label=label)
        return (await self._replicas.call(lambda stub: stub.CreateSessionWithRecoveryCode, asked)).session_token

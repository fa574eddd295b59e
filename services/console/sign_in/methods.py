"""What the console asks of auth about all that signs in to an account, and about recovery codes."""

from __future__ import annotations

from services.common.rpc.replicas import SignInReplicas
from services.console.sign_in.relying_party import RelyingParty
from tiermesh.auth.v1 import sign_in_pb2


class SignInMethods:
    """Passes on what people send. Every method raises MeshError, UNAVAILABLE if no replica answers."""

    def __init__(self, replicas: SignInReplicas, relying_party: RelyingParty | None) -> None:
        """Without a relying party, there are no passkeys."""
        self._replicas = replicas
        self.relying_party = relying_party

    async def list(self, account_id: str) -> sign_in_pb2.ListSignInMethodsResponse:
        """Returns the passkeys and wallets of an account, and whether it has a recovery code."""
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

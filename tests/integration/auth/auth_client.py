"""Calls the auth service as edges and commands do."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from services.common.batch import BatchClient
from services.common.errors import MeshError
from services.common.rpc.channels import channel_opener
from services.common.rpc.interceptors import call_unary
from services.common.settings import TlsSettings
from tiermesh.auth.v1 import auth_pb2
from tiermesh.auth.v1.auth_pb2_grpc import AuthServiceStub
from tiermesh.auth.v1.operators_pb2_grpc import OperatorServiceStub

_SECONDS = 10.0


class AuthClient:
    """Both kinds of call: management over a channel, Authenticate over a batch stream."""

    def __init__(self, *addresses: str) -> None:
        """Management goes to the first address."""
        open_channel = channel_opener(TlsSettings())
        self._channel = open_channel(addresses[0])
        self.stub = AuthServiceStub(self._channel)
        self.operators = OperatorServiceStub(self._channel)
        self.stream: BatchClient[auth_pb2.AuthenticateCall, auth_pb2.AuthenticateReply] = BatchClient(
            "auth.authenticate",
            addresses,
            open_channel=open_channel,
            open_stream=lambda channel: AuthServiceStub(channel).Authenticate(),
            new_frame=auth_pb2.AuthenticateRequest,
            retry=True,
        )

    async def __aenter__(self) -> Self:
        self.stream.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stream.close()
        await self._channel.close()

    async def create_account(self, name: str = "customer") -> auth_pb2.Account:
        request = auth_pb2.CreateAccountRequest(name=name)
        return (await call_unary(self.stub.CreateAccount(request, timeout=_SECONDS, wait_for_ready=True))).account

    async def create_key(self, account_id: str, **fields: Any) -> auth_pb2.CreateKeyResponse:
        request = auth_pb2.CreateKeyRequest(account_id=account_id, **fields)
        return await call_unary(self.stub.CreateKey(request, timeout=_SECONDS, wait_for_ready=True))

    async def list_keys(self, account_id: str = "") -> list[auth_pb2.ApiKey]:
        request = auth_pb2.ListKeysRequest(account_id=account_id)
        return list((await call_unary(self.stub.ListKeys(request, timeout=_SECONDS, wait_for_ready=True))).keys)

    async def list_accounts(self) -> list[auth_pb2.Account]:
        request = auth_pb2.ListAccountsRequest()
        return list((await call_unary(self.stub.ListAccounts(request, timeout=_SECONDS, wait_for_ready=True))).accounts)

    async def revoke_key(self, key_id: str, account_id: str = "") -> auth_pb2.ApiKey:
        request = auth_pb2.RevokeKeyRequest(key_id=key_id, account_id=account_id)
        return (await call_unary(self.stub.RevokeKey(request, timeout=_SECONDS, wait_for_ready=True))).key

    async def rotate_key(self, key_id: str, overlap_seconds: int | None = None) -> auth_pb2.RotateKeyResponse:
        request = auth_pb2.RotateKeyRequest(key_id=key_id, overlap_seconds=overlap_seconds)
        return await call_unary(self.stub.RotateKey(request, timeout=_SECONDS, wait_for_ready=True))

    async def suspend(self, account_id: str) -> auth_pb2.Account:
        request = auth_pb2.SuspendAccountRequest(account_id=account_id)
        return (await call_unary(self.stub.SuspendAccount(request, timeout=_SECONDS, wait_for_ready=True))).account

    async def resume(self, account_id: str) -> auth_pb2.Account:
        request = auth_pb2.ResumeAccountRequest(account_id=account_id)
        return (await call_unary(self.stub.ResumeAccount(request, timeout=_SECONDS, wait_for_ready=True))).account

    async def authenticate(self, secret: str, timeout: float = _SECONDS) -> auth_pb2.AuthenticateReply:
        return await self.stream.request(auth_pb2.AuthenticateCall(api_key=secret), timeout)

    async def refusal(self, secret: str) -> MeshError:
        """Authenticates and expects to be refused."""
        reply = await self.authenticate(secret)
        assert reply.HasField("error"), "the key was accepted"
        return MeshError.from_proto(reply.error)

"""The gRPC face of the auth service: translate, call, translate back."""

# ruff: noqa: D102, N802 - the contract names the methods and documents them.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from services.auth.accounts import Account, AccountQuery, Accounts
from services.auth.authenticate_stream import STALE, AuthenticateServer
from services.auth.closing.closing import Closing
from services.auth.issuing.issuer import DEFAULT_OVERLAP_SECONDS, KeyIssuer
from services.auth.issuing.rights import Wish
from services.auth.keys import ApiKey
from services.auth.sessions.proto import to_proto as session_to_proto
from services.auth.sessions.session_keys import SessionKeys
from services.auth.sessions.sessions import Sessions
from services.auth.sign_in.service import METHODS as SIGN_IN_METHODS
from tiermesh.auth.v1 import auth_pb2, auth_pb2_grpc

SERVICE_NAME = auth_pb2.DESCRIPTOR.services_by_name["AuthService"].full_name

# What a role may call, if it is not everything. The console signs people in by sessions, and shows no list of accounts.
# Only the operators' console signs operators in and acts for them; nobody but the commands makes operators.
LIMITED_CALLERS = {
    "edge": ("Authenticate", "CreateKey", "ListKeys", "RevokeKey"),
    "console": (
        *("CreateAccount", "CreateKey", "GetKey", "ListKeys", "RevokeKey", "RotateKey"),
        *("CreateSession", "GetSession", "ConfirmSession", "ListSessions", "EndSessions", "GetSessionKey"),
        # Of the account of a session that it shows, and of no other.
        *("RenameAccount", "CloseAccount"),
        *SIGN_IN_METHODS,
    ),
    "operator-console": (
        *("CreateAccount", "GetAccount", "ListAccounts", "SuspendAccount", "ResumeAccount", "ReopenAccount"),
        *("CreateKey", "GetKey", "ListKeys", "RevokeKey"),
        *("CreateOperatorSession", "GetOperatorSession", "ConfirmOperatorSession", "EndOperatorSession"),
        *("BeginAction", "EndAction", "ListActions"),
    ),
}
# How many keys a page has at most.
_MAX_PAGE = 1000

Context = grpc.aio.ServicerContext[Any, Any]


class AuthService(auth_pb2_grpc.AuthServiceServicer):
    """Answers every rpc of tiermesh.auth.v1.AuthService."""

    def __init__(
        self,
        accounts: Accounts,
        issuer: KeyIssuer,
        sessions: Sessions,
        session_keys: SessionKeys,
        closing: Closing,
        authenticate: AuthenticateServer,
        fresh: Callable[[], bool],
    ) -> None:
        self._accounts = accounts
        self._issuer = issuer
        self._sessions = sessions
        self._session_keys = session_keys
        self._closing = closing
        self._authenticate = authenticate
        self._fresh = fresh

    # The generated type knows generators only; grpc.aio also takes a method that reads and writes the context.
    async def Authenticate(self, request_iterator: object, context: Context) -> None:  # type: ignore[override]
        del request_iterator
        if not self._fresh():
            await context.abort(grpc.StatusCode.UNAVAILABLE, STALE)
        await self._authenticate.serve(context)

    async def CreateAccount(
        self, request: auth_pb2.CreateAccountRequest, context: Context
    ) -> auth_pb2.CreateAccountResponse:
        del context
        account = await self._accounts.create(request.name)
        return auth_pb2.CreateAccountResponse(account=_account(account))

    async def ListAccounts(
        self, request: auth_pb2.ListAccountsRequest, context: Context
    ) -> auth_pb2.ListAccountsResponse:
        del context
        size = min(request.page_size, _MAX_PAGE)
        # One more tells whether another page follows.
        limit = size + 1 if size else 0
        query = AccountQuery(request.search, limit, request.after_account_id, request.newest_first, request.closed)
        found = await self._accounts.list(query)
        shown = found[:size] if size else found
        return auth_pb2.ListAccountsResponse(
            accounts=[_account(each) for each in shown], has_more=len(found) > len(shown)
        )

    async def GetAccount(self, request: auth_pb2.GetAccountRequest, context: Context) -> auth_pb2.GetAccountResponse:
        del context
        return auth_pb2.GetAccountResponse(account=_account(await self._accounts.get(request.account_id)))

    async def SuspendAccount(
        self, request: auth_pb2.SuspendAccountRequest, context: Context
    ) -> auth_pb2.SuspendAccountResponse:
        del context
        return auth_pb2.SuspendAccountResponse(account=_account(await self._accounts.suspend(request.account_id)))

    async def ResumeAccount(
        self, request: auth_pb2.ResumeAccountRequest, context: Context
    ) -> auth_pb2.ResumeAccountResponse:
        del context
        return auth_pb2.ResumeAccountResponse(account=_account(await self._accounts.resume(request.account_id)))

    async def RenameAccount(
        self, request: auth_pb2.RenameAccountRequest, context: Context
    ) -> auth_pb2.RenameAccountResponse:
        del context
        found = await self._sessions.find(request.session_token)
        account = await self._accounts.rename(found.session.account_id, request.name)
        return auth_pb2.RenameAccountResponse(account=_account(account))

    async def CloseAccount(
        self, request: auth_pb2.CloseAccountRequest, context: Context
    ) -> auth_pb2.CloseAccountResponse:
        del context
        return auth_pb2.CloseAccountResponse(account=_account(await self._closing.close(request.session_token)))

    async def ReopenAccount(
        self, request: auth_pb2.ReopenAccountRequest, context: Context
    ) -> auth_pb2.ReopenAccountResponse:
        del context
        return auth_pb2.ReopenAccountResponse(account=_account(await self._accounts.reopen(request.account_id)))

    async def CreateKey(self, request: auth_pb2.CreateKeyRequest, context: Context) -> auth_pb2.CreateKeyResponse:
        del context
        secret, key = await self._issuer.create(
            request.account_id, _wish(request), creator_key_id=request.creator_key_id
        )
        return auth_pb2.CreateKeyResponse(api_key=secret, key=_api_key(key))

    async def ListKeys(self, request: auth_pb2.ListKeysRequest, context: Context) -> auth_pb2.ListKeysResponse:
        del context
        size = min(request.page_size or _MAX_PAGE, _MAX_PAGE)
        # One more tells whether another page follows.
        keys = await self._issuer.list(
            request.account_id,
            limit=size + 1,
            after_key_id=request.after_key_id,
            newest_first=request.newest_first,
            with_session_keys=request.with_session_keys,
        )
        return auth_pb2.ListKeysResponse(keys=[_api_key(each) for each in keys[:size]], has_more=len(keys) > size)

    async def GetKey(self, request: auth_pb2.GetKeyRequest, context: Context) -> auth_pb2.GetKeyResponse:
        del context
        return auth_pb2.GetKeyResponse(key=_api_key(await self._issuer.get(request.key_id, request.account_id)))

    async def RevokeKey(self, request: auth_pb2.RevokeKeyRequest, context: Context) -> auth_pb2.RevokeKeyResponse:
        del context
        key, *descendants = await self._issuer.revoke(
            request.key_id,
            request.account_id,
            descendants=request.descendants,
            revoker_key_id=request.revoker_key_id,
        )
        return auth_pb2.RevokeKeyResponse(
            key=_api_key(key), descendants=[_api_key(each) for each in descendants if not each.session_id]
        )

    async def RotateKey(self, request: auth_pb2.RotateKeyRequest, context: Context) -> auth_pb2.RotateKeyResponse:
        del context
        overlap = request.overlap_seconds if request.HasField("overlap_seconds") else DEFAULT_OVERLAP_SECONDS
        secret, key, old = await self._issuer.rotate(
            request.key_id, overlap, account_id=request.account_id, rotator_key_id=request.rotator_key_id
        )
        return auth_pb2.RotateKeyResponse(api_key=secret, key=_api_key(key), old_key=_api_key(old))

    async def CreateSession(
        self, request: auth_pb2.CreateSessionRequest, context: Context
    ) -> auth_pb2.CreateSessionResponse:
        del context
        token, found = await self._sessions.create(request.api_key, request.label)
        return auth_pb2.CreateSessionResponse(session_token=token, session=session_to_proto(found))

    async def GetSession(self, request: auth_pb2.GetSessionRequest, context: Context) -> auth_pb2.GetSessionResponse:
        del context
        return auth_pb2.GetSessionResponse(session=session_to_proto(await self._sessions.find(request.session_token)))

    async def ConfirmSession(
        self, request: auth_pb2.ConfirmSessionRequest, context: Context
    ) -> auth_pb2.ConfirmSessionResponse:
        del context
        found = await self._sessions.confirm(request.session_token, request.api_key)
        return auth_pb2.ConfirmSessionResponse(session=session_to_proto(found))

    async def ListSessions(
        self, request: auth_pb2.ListSessionsRequest, context: Context
    ) -> auth_pb2.ListSessionsResponse:
        del context
        found = await self._sessions.list(request.account_id)
        return auth_pb2.ListSessionsResponse(sessions=[session_to_proto(each) for each in found])

    async def EndSessions(self, request: auth_pb2.EndSessionsRequest, context: Context) -> auth_pb2.EndSessionsResponse:
        del context
        ended = await self._sessions.end(request.account_id, request.session_id, request.except_session_id)
        return auth_pb2.EndSessionsResponse(ended=ended)

    async def GetSessionKey(
        self, request: auth_pb2.GetSessionKeyRequest, context: Context
    ) -> auth_pb2.GetSessionKeyResponse:
        del context
        secret, key = await self._session_keys.get(request.session_token)
        return auth_pb2.GetSessionKeyResponse(api_key=secret, key=_api_key(key))


def _wish(request: auth_pb2.CreateKeyRequest) -> Wish:
    return Wish(
        name=request.name,
        models=tuple(request.models),
        endpoints=tuple(request.endpoints),
        requests_per_minute=request.requests_per_minute if request.HasField("requests_per_minute") else None,
        monthly_credit_cap=request.monthly_credit_cap if request.HasField("monthly_credit_cap") else None,
        expires_at_ms=request.expires_at_ms,
    )


def _account(account: Account) -> auth_pb2.Account:
    return auth_pb2.Account(
        id=account.id,
        name=account.name,
        created_at_ms=account.created_at_ms,
        suspended_at_ms=account.suspended_at_ms,
        closed_at_ms=account.closed_at_ms,
    )


def _api_key(key: ApiKey) -> auth_pb2.ApiKey:
    return auth_pb2.ApiKey(
        id=key.id,
        account_id=key.account_id,
        name=key.name,
        hint=key.hint,
        requests_per_minute=key.requests_per_minute,
        created_at_ms=key.created_at_ms,
        expires_at_ms=key.expires_at_ms,
        revoked_at_ms=key.revoked_at_ms,
        last_used_at_ms=key.last_used_at_ms,
        models=key.models,
        endpoints=key.endpoints,
        monthly_credit_cap=key.monthly_credit_cap,
        replaced_by=key.replaced_by,
        created_by=key.created_by,
        session_id=key.session_id,
    )

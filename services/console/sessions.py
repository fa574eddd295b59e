"""Signs owners in and out: the cookie that ties a browser to a session of auth."""

from __future__ import annotations

from services.common.rpc.replicas import AuthReplicas
from services.console.http.browser_sessions import BrowserSessions
from services.console.http.origin import Origin
from services.console.visit import Visit
from tiermesh.auth.v1 import auth_pb2


class Sessions(BrowserSessions):
    """The sessions of owners."""

    def __init__(self, auth: AuthReplicas, origin: Origin) -> None:
        super().__init__(origin)
        self._auth = auth

    async def get(self, token: str) -> auth_pb2.Session:
        """Returns the session of a token; raises MeshError UNAUTHENTICATED if it has ended."""
        asked = auth_pb2.GetSessionRequest(session_token=token)
        return (await self._auth.call(lambda stub: stub.GetSession, asked)).session

    async def create(self, secret: str, label: str) -> tuple[str, auth_pb2.Session]:
        """Begins a session by an API key and returns its token with it; raises MeshError."""
        asked = auth_pb2.CreateSessionRequest(api_key=secret, label=label)
        begun = await self._auth.call(lambda stub: stub.CreateSession, asked)
        return begun.session_token, begun.session

    async def confirm(self, token: str, secret: str) -> None:
        """Shows the key of a session once more; raises MeshError."""
        asked = auth_pb2.ConfirmSessionRequest(session_token=token, api_key=secret)
        await self._auth.call(lambda stub: stub.ConfirmSession, asked)

    async def key(self, token: str) -> str:
        """Returns the API key that belongs to a session and ends with it.

        Raises MeshError UNAUTHENTICATED if the session has ended, PERMISSION_DENIED if it can have none.
        """
        asked = auth_pb2.GetSessionKeyRequest(session_token=token)
        return (await self._auth.call(lambda stub: stub.GetSessionKey, asked)).api_key

    async def end_own(self, visit: Visit) -> None:
        """Ends the session of a visit."""
        await self.end(visit.owner.account_id, visit.owner.id)

    async def rename_account(self, visit: Visit, name: str) -> None:
        """Gives the account of a visit another name; raises MeshError INVALID_REQUEST for one that cannot be shown."""
        asked = auth_pb2.RenameAccountRequest(session_token=visit.cookie, name=name)
        await self._auth.call(lambda stub: stub.RenameAccount, asked)

    async def close_account(self, visit: Visit) -> None:
        """Closes the account of a visit, and ends all its sessions; raises MeshError PERMISSION_DENIED."""
        await self._auth.call(lambda stub: stub.CloseAccount, auth_pb2.CloseAccountRequest(session_token=visit.cookie))

    async def list(self, account_id: str) -> list[auth_pb2.Session]:
        """Returns the sessions of an account, newest first."""
        asked = auth_pb2.ListSessionsRequest(account_id=account_id)
        return list((await self._auth.call(lambda stub: stub.ListSessions, asked)).sessions)

    async def end(self, account_id: str, session_id: str = "", *, except_session_id: str = "") -> None:
        """Ends one session of an account, or all but one."""
        asked = auth_pb2.EndSessionsRequest(
            account_id=account_id, session_id=session_id, except_session_id=except_session_id
        )
        await self._auth.call(lambda stub: stub.EndSessions, asked)

"""Signs people in and out: the cookie that ties a browser to a session of auth."""

from __future__ import annotations

import secrets

from aiohttp import web

from services.common.errors import Code, MeshError
from services.common.rpc.replicas import AuthReplicas
from services.console.http.origin import Origin
from tiermesh.auth.v1 import auth_pb2

# Nothing longer is a token.
_MAX_COOKIE_LENGTH = 200
# What browsers are called in the list of sessions; the first that is found counts.
_BROWSERS = ("Firefox", "Edg", "OPR", "Chrome", "Safari")
_SYSTEMS = ("Android", "iPhone", "iPad", "Windows", "Mac OS", "CrOS", "Linux")
_NAMES = {"Edg": "Edge", "OPR": "Opera", "Mac OS": "macOS", "CrOS": "ChromeOS"}


class Sessions:
    """Finds the session of a browser, and begins and ends it."""

    def __init__(self, auth: AuthReplicas, origin: Origin) -> None:
        self._auth = auth
        self._origin = origin
        self._session_cookie = origin.cookie("session")
        # It ties the form for signing in to the browser, before there is a session.
        self._form_cookie = origin.cookie("form")

    async def find(self, request: web.Request) -> tuple[str, auth_pb2.Session] | None:
        """Returns the token and the session of a browser, None if there is none that works."""
        token = request.cookies.get(self._session_cookie, "")
        if not token or len(token) > _MAX_COOKIE_LENGTH:
            return None
        asked = auth_pb2.GetSessionRequest(session_token=token)
        try:
            return token, (await self._auth.call(lambda stub: stub.GetSession, asked)).session
        except MeshError as error:
            if error.code is Code.UNAUTHENTICATED:
                return None
            raise

    def form_cookie(self, request: web.Request) -> str:
        """Returns what ties forms to a browser that is not signed in; some new random text if it has nothing yet."""
        cookie = request.cookies.get(self._form_cookie, "")
        return cookie if 0 < len(cookie) <= _MAX_COOKIE_LENGTH else secrets.token_urlsafe(32)

    def keep_form_cookie(self, response: web.StreamResponse, cookie: str) -> None:
        """Has the browser keep that text."""
        self._set(response, self._form_cookie, cookie)

    async def begin(self, request: web.Request, api_key: str, response: web.StreamResponse) -> None:
        """Signs in with a key and gives the browser a new token, whatever it had before; raises MeshError."""
        token, _ = await self.create(request, api_key)
        self.hand_out(response, token)

    async def create(self, request: web.Request, api_key: str) -> tuple[str, auth_pb2.Session]:
        """Signs in with a key and returns the token of the session with it; raises MeshError."""
        asked = auth_pb2.CreateSessionRequest(
            api_key=api_key, label=browser_name(request.headers.get("User-Agent", ""))
        )
        begun = await self._auth.call(lambda stub: stub.CreateSession, asked)
        return begun.session_token, begun.session

    def hand_out(self, response: web.StreamResponse, token: str) -> None:
        """Gives the browser the token of a new session, whatever it had before."""
        self._set(response, self._session_cookie, token)
        self._forget(response, self._form_cookie)

    async def confirm(self, token: str, api_key: str) -> None:
        """Shows the key of a session once more; raises MeshError."""
        asked = auth_pb2.ConfirmSessionRequest(session_token=token, api_key=api_key)
        await self._auth.call(lambda stub: stub.ConfirmSession, asked)

    async def key(self, token: str) -> str:
        """Returns the API key that belongs to a session and ends with it.

        Raises MeshError UNAUTHENTICATED if the session has ended, PERMISSION_DENIED if it can have none.
        """
        asked = auth_pb2.GetSessionKeyRequest(session_token=token)
        return (await self._auth.call(lambda stub: stub.GetSessionKey, asked)).api_key

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

    def forget(self, response: web.StreamResponse) -> None:
        """Has the browser forget its token."""
        self._forget(response, self._session_cookie)

    def forget_sent(self, request: web.Request, response: web.StreamResponse) -> None:
        """Has the browser forget the token that it has sent.

        One that has sent none may have one all the same: after a link on another site, it sends no cookie.
        """
        if self._session_cookie in request.cookies:
            self.forget(response)

    def _set(self, response: web.StreamResponse, name: str, value: str) -> None:
        response.set_cookie(name, value, path="/", httponly=True, samesite="Strict", secure=self._origin.secure)

    def _forget(self, response: web.StreamResponse, name: str) -> None:
        response.del_cookie(name, path="/", httponly=True, samesite="Strict", secure=self._origin.secure)


def browser_name(user_agent: str) -> str:
    """Returns what a person calls a browser, such as "Firefox on Linux". Nothing of what was sent is repeated."""
    browser = next((name for name in _BROWSERS if f"{name}/" in user_agent), "")
    system = next((name for name in _SYSTEMS if name in user_agent), "")
    if not browser:
        return "Another program"
    return f"{_NAMES.get(browser, browser)} on {_NAMES.get(system, system) or 'an unknown system'}"

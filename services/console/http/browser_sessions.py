"""Ties a browser to a session of auth by a cookie; who signs in, and how auth is asked, is for subclasses."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod

from aiohttp import web

from services.common.errors import Code, MeshError
from services.console.http.origin import Origin
from services.console.visit import Session, Visit

# Nothing longer is a token.
_MAX_COOKIE_LENGTH = 200
# What browsers are called in the list of sessions; the first that is found counts.
_BROWSERS = ("Firefox", "Edg", "OPR", "Chrome", "Safari")
_SYSTEMS = ("Android", "iPhone", "iPad", "Windows", "Mac OS", "CrOS", "Linux")
_NAMES = {"Edg": "Edge", "OPR": "Opera", "Mac OS": "macOS", "CrOS": "ChromeOS"}


class BrowserSessions(ABC):
    """Finds the session of a browser, and begins and ends it. `who` is part of the names of its cookies."""

    def __init__(self, origin: Origin, who: str = "") -> None:
        self._origin = origin
        self._session_cookie = origin.cookie(f"{who}session")
        # It ties the form for signing in to the browser, before there is a session.
        self._form_cookie = origin.cookie(f"{who}form")

    async def find(self, request: web.Request) -> tuple[str, Session] | None:
        """Returns the token and the session of a browser, None if there is none that works."""
        token = request.cookies.get(self._session_cookie, "")
        if not token or len(token) > _MAX_COOKIE_LENGTH:
            return None
        try:
            return token, await self.get(token)
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

    async def begin(self, request: web.Request, secret: str, response: web.StreamResponse) -> None:
        """Signs in with a key and gives the browser a new token, whatever it had before; raises MeshError."""
        token, _ = await self.create(secret, name_of_browser(request))
        self.hand_out(response, token)

    def hand_out(self, response: web.StreamResponse, token: str) -> None:
        """Gives the browser the token of a new session, whatever it had before."""
        self._set(response, self._session_cookie, token)
        self._forget(response, self._form_cookie)

    def forget(self, response: web.StreamResponse) -> None:
        """Has the browser forget its token."""
        self._forget(response, self._session_cookie)

    def forget_sent(self, request: web.Request, response: web.StreamResponse) -> None:
        """Has the browser forget the token that it has sent.

        One that has sent none may have one all the same: after a link on another site, it sends no cookie.
        """
        if self._session_cookie in request.cookies:
            self.forget(response)

    @abstractmethod
    async def get(self, token: str) -> Session:
        """Returns the session of a token; raises MeshError UNAUTHENTICATED if it has ended."""

    @abstractmethod
    async def create(self, secret: str, label: str) -> tuple[str, Session]:
        """Begins a session by a key and returns its token with it; raises MeshError."""

    @abstractmethod
    async def confirm(self, token: str, secret: str) -> None:
        """Shows the key of a session once more; raises MeshError."""

    @abstractmethod
    async def end_own(self, visit: Visit) -> None:
        """Ends the session of a visit."""

    def _set(self, response: web.StreamResponse, name: str, value: str) -> None:
        response.set_cookie(name, value, path="/", httponly=True, samesite="Strict", secure=self._origin.secure)

    def _forget(self, response: web.StreamResponse, name: str) -> None:
        response.del_cookie(name, path="/", httponly=True, samesite="Strict", secure=self._origin.secure)


def name_of_browser(request: web.Request) -> str:
    """Returns what a person calls the browser that has sent a request."""
    return browser_name(request.headers.get("User-Agent", ""))


def browser_name(user_agent: str) -> str:
    """Returns what a person calls a browser, such as "Firefox on Linux". Nothing of what was sent is repeated."""
    browser = next((name for name in _BROWSERS if f"{name}/" in user_agent), "")
    system = next((name for name in _SYSTEMS if name in user_agent), "")
    if not browser:
        return "Another program"
    return f"{_NAMES.get(browser, browser)} on {_NAMES.get(system, system) or 'an unknown system'}"

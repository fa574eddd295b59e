"""Pages that say what went wrong, what it did to the money, and what to do."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import msgspec
from aiohttp import web

from services.common.errors import Code, MeshError
from services.console.rendering import Renderer
from services.console.visit import Visit

NOTHING_CHARGED = "Nothing was charged."


class Errors(Protocol):
    """How people or scripts are told what went wrong."""

    def of_status(self, visit: Visit | None, status: int) -> web.Response:
        """Returns the answer for an HTTP status."""

    def of_error(self, visit: Visit | None, error: MeshError) -> web.Response:
        """Returns the answer for an error of the mesh."""


class _Text(NamedTuple):
    title: str
    advice: str


_BY_STATUS = {
    403: _Text(
        "This form came from somewhere else",
        "It was not sent from a page of this console, or the page is from before you signed in. "
        "Go back, reload the page and try again.",
    ),
    404: _Text("There is no such page", "Check the address, or go on from the menu."),
    405: _Text("This page cannot be used like this", "Open it from the menu."),
    408: _Text("The form took too long to arrive", "Check your connection, then go back and send it again."),
    413: _Text("The form is too large", "Go back and shorten what you have entered."),
    421: _Text("This is not the console's address", "Open the console at the address that its operator has told you."),
}
_DEFECT = _Text("Something went wrong here", "It is not your fault. Try again; if it happens again, tell the operator.")
_AWAY = _Text("A part of the service cannot be reached", "Try again in a few seconds.")
_REFUSED = _Text("This cannot be done", "Go back and change what you have entered.")

_STATUS = {
    Code.INVALID_REQUEST: 400,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.CONFLICT: 409,
    Code.RATE_LIMITED: 429,
    Code.UNAVAILABLE: 503,
    Code.OVERLOADED: 503,
    Code.DEADLINE_EXCEEDED: 503,
    Code.CANCELLED: 503,
}


class ErrorPages:
    """Renders them. No page costs anything, so every error can say that nothing was charged."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def of_status(self, visit: Visit | None, status: int) -> web.Response:
        """Returns the page of an HTTP status."""
        return self._page(visit, status, _text(status, _BY_STATUS.get(status, _REFUSED)), "")

    def of_error(self, visit: Visit | None, error: MeshError) -> web.Response:
        """Returns the page of an error of the mesh. What another service could not explain is a defect."""
        status = _STATUS.get(error.code, 500)
        return self._page(visit, status, _text(status, _REFUSED), "" if status >= 500 else error.message)

    def _page(self, visit: Visit | None, status: int, text: _Text, reason: str) -> web.Response:
        return self._renderer.page(
            "error", visit, status=status, title=text.title, advice=text.advice, reason=reason, code=status
        )


class JsonErrors:
    """Tells scripts of ours the same; what is here has cost nothing either."""

    def of_status(self, visit: Visit | None, status: int) -> web.Response:
        """Returns the answer for an HTTP status."""
        del visit
        text = _text(status, _BY_STATUS.get(status, _REFUSED))
        return error_json(status, f"{text.title}. {text.advice}", NOTHING_CHARGED)

    def of_error(self, visit: Visit | None, error: MeshError) -> web.Response:
        """Returns the answer for an error of the mesh."""
        status = 401 if error.code is Code.UNAUTHENTICATED else _STATUS.get(error.code, 500)
        if status >= 500 and error.code is not Code.OVERLOADED:
            return self.of_status(visit, status)
        return error_json(status, error.message, NOTHING_CHARGED)


def error_json(status: int, message: str, money: str) -> web.Response:
    """Returns an error as scripts of ours read it."""
    body = msgspec.json.encode({"error": {"message": message, "money": money}})
    return web.Response(status=status, body=body, content_type="application/json")


def _text(status: int, otherwise: _Text) -> _Text:
    if status < 500:
        return _BY_STATUS[404] if status == 404 else otherwise
    return _AWAY if status == 503 else _DEFECT

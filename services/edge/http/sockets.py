"""Refuses a WebSocket in the way by which clients know that they have to send their requests by POST."""

from __future__ import annotations

from aiohttp import web

from services.edge.http.errors import Refusal, Shape

_NO_SOCKET = Shape(426, "invalid_request_error", "upgrade_required")


def asks_for_socket(request: web.Request) -> bool:
    """Whether a request is the beginning of a WebSocket."""
    return request.method == "GET" and request.headers.get("upgrade", "").lower() == "websocket"


def no_socket() -> Refusal:
    """Returns the refusal of one. Codex takes its status as final, and tries five times after any other."""
    # RFC 9110, 15.5.22, demands the header: it says what is spoken here.
    message = "This service has no WebSockets. Send the request by POST."
    return Refusal(_NO_SOCKET, message, headers={"Upgrade": "HTTP/1.1"})

"""The console's part of what a browser does to sign in: what a script asks for, as JSON, and what it sends."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any

from aiohttp import web

from services.common.errors import Code, MeshError
from services.console.visit import Visit

_STATUS = {
    Code.INVALID_REQUEST: 400,
    Code.UNAUTHENTICATED: 403,
    Code.PERMISSION_DENIED: 403,
    Code.CONFLICT: 409,
    Code.RATE_LIMITED: 429,
}


async def as_json(options: Awaitable[Mapping[str, Any]]) -> web.Response:
    """Returns the options for the script of the page, or what it shows if there are none."""
    try:
        body = await options
    except MeshError as error:
        if error.code not in _STATUS:
            raise
        return web.json_response({"problem": error.message}, status=_STATUS[error.code])
    return web.json_response(body)


def answered(visit: Visit, field: str, what: str) -> str:
    """Returns what a script has put into a field of the form; raises MeshError INVALID_REQUEST if none has run.

    `what` is what it was asked of, such as "Passkeys".
    """
    text = visit.form.text(field)
    if not text:
        message = f"{what} need JavaScript, which is off in this browser. Turn it on, or use an API key."
        raise MeshError(Code.INVALID_REQUEST, message)
    return text

"""The console's part of what a browser does with a passkey: options as JSON, and the answer as a field of a form."""

from __future__ import annotations

import json
from collections.abc import Awaitable

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


async def as_json(options: Awaitable[str]) -> web.Response:
    """Returns the options for the script of the page, or what it shows if there are none."""
    try:
        body = {"publicKey": json.loads(await options)}
    except MeshError as error:
        if error.code not in _STATUS:
            raise
        return web.json_response({"problem": error.message}, status=_STATUS[error.code])
    return web.json_response(body)


def credential(visit: Visit) -> str:
    """Returns what the authenticator has answered; raises MeshError INVALID_REQUEST if no script has asked it."""
    text = visit.form.text("credential")
    if not text:
        message = "Passkeys need JavaScript, which is off in this browser. Turn it on, or use an API key."
        raise MeshError(Code.INVALID_REQUEST, message)
    return text

"""Renders JSON bodies."""

from __future__ import annotations

import msgspec
from aiohttp import web


def json_response(body: object) -> web.Response:
    """Returns a response of status 200 with a JSON body."""
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")

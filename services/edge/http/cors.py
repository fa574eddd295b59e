"""Lets web pages call the API from a browser, as the Fetch standard's CORS protocol defines it.

Keys travel in a header that no browser adds by itself, and cookies are not used, so any page may be let in: it can do
nothing but what the keys allow that its user gave it. Credentials in the standard's sense are never allowed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from aiohttp import web

# What pages may read beside the few headers that they always may.
_EXPOSED = (
    "x-request-id, request-id, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, "
    "x-ratelimit-reset-requests, x-tiermesh-credits-charged, x-tiermesh-credits-remaining, x-tiermesh-receipt, "
    "x-should-retry, retry-after, payment-required, payment-response, x-payment-response"
)
# Browsers ask once a day at most; most of them cap it at less.
_MAX_AGE_SECONDS = "86400"
_HEADER_NAMES = re.compile(r"[A-Za-z0-9_, -]{1,4096}")


class Cors:
    """Adds the headers for pages of the given origins, such as `https://chat.example.com`; `*` means any."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origins)

    async def add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """Runs just before the head of every response is sent; requests from outside of browsers have no Origin."""
        origin = request.headers.get("Origin")
        if origin is None or not self._origins:
            return
        if not self._any:
            response.headers.add("Vary", "Origin")
            if origin not in self._origins:
                return
        response.headers["Access-Control-Allow-Origin"] = "*" if self._any else origin
        response.headers["Access-Control-Expose-Headers"] = _EXPOSED


def options(request: web.Request, allowed: str) -> web.Response:
    """Answers OPTIONS without a key, since browsers send none when they ask; `allowed` lists the path's methods."""
    response = web.Response(status=204, headers={"Allow": f"{allowed}, OPTIONS"})
    if "Access-Control-Request-Method" in request.headers:
        wanted = request.headers.get("Access-Control-Request-Headers", "")
        response.headers["Access-Control-Allow-Methods"] = f"{allowed}, OPTIONS"
        # SDKs send headers of their own, more with every release; `*` would not include Authorization.
        response.headers["Access-Control-Allow-Headers"] = (
            wanted if _HEADER_NAMES.fullmatch(wanted) else "authorization, content-type, idempotency-key"
        )
        response.headers["Access-Control-Max-Age"] = _MAX_AGE_SECONDS
        response.headers["Vary"] = "Access-Control-Request-Headers"
    return response

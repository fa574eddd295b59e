"""Bounds how long a client may take to send a body, whatever way a handler reads it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiohttp import web


class SlowBodyError(Exception):
    """The body of a request did not arrive in time."""


@asynccontextmanager
async def arriving(request: web.Request, seconds: float) -> AsyncGenerator[None]:
    """Runs a handler whose request's body is still on its way; raises SlowBodyError if it takes more than `seconds`.

    Once the body is here, the handler may take as long as it likes.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            handling = True

            def arrived() -> None:
                if handling and not limit.expired():
                    limit.reschedule(None)

            request.content.on_eof(arrived)
            try:
                yield
            finally:
                handling = False
    except TimeoutError:
        if limit.expired():
            raise SlowBodyError from None
        raise

"""Sends an answer on to the browser while it is generated."""

from __future__ import annotations

import asyncio

import aiohttp
import msgspec
from aiohttp import web

from services.console.metrics import PLAYGROUND_ANSWERS
from services.console.playground.edge import Answering
from services.console.visit import Visit

_BROKEN = "The connection to the API broke before the answer was complete."
_LATE = "The answer took too long, so it was stopped."


async def relay(visit: Visit, answering: Answering, seconds: float) -> web.StreamResponse:
    """Returns the response when its last event is sent; the events are the API's own.

    `seconds` is how long that may take. A browser that leaves ends it, and so the request at the edge.
    """
    headers = {
        "Content-Type": "text/event-stream; charset=utf-8",
        "X-Request-Id": answering.request_id,
        # nginx would collect the events otherwise.
        "X-Accel-Buffering": "no",
    }
    response = web.StreamResponse(headers=headers)
    result = "stopped"
    try:
        await response.prepare(visit.request)
        broken = ""
        try:
            async with asyncio.timeout(seconds):
                while piece := await _next(answering.content):
                    await response.write(piece)
        except TimeoutError:
            broken = _LATE
        except _BrokenError:
            broken = _BROKEN
        if broken:
            result = "failed"
            # What it has cost is asked from billing by the page, as after every answer.
            await response.write(b"data: " + msgspec.json.encode({"error": {"message": broken}}) + b"\n\n")
        else:
            result = "answered"
        await response.write_eof()
    finally:
        PLAYGROUND_ANSWERS.labels(result).inc()
    return response


class _BrokenError(Exception):
    """The API has ended the response before its end. It tells this from a browser that has left."""


async def _next(content: aiohttp.StreamReader) -> bytes:
    try:
        return await content.readany()
    except aiohttp.ClientError as error:
        raise _BrokenError from error

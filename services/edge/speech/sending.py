"""Sends audio while it is being made. The charge is durable before the last bytes are sent.

Unlike a stream of text it waits for its reader: a file may be larger than what a connection should hold back. Readers
that stop reading are cut off by services/edge/http/stalled_readers.py.
"""

from __future__ import annotations

from aiohttp import web

from services.common.errors import MeshError
from services.common.telemetry.logs import get_logger
from services.edge.http.errors import internal_error
from services.edge.http.event_stream import streamed_response
from services.edge.paid.delivery import Delivery
from services.edge.speech.frames import Frames

log = get_logger()


async def send_audio(delivery: Delivery, frames: Frames) -> web.StreamResponse:
    """Sends the answer; what fails before the first byte is raised, as a plain HTTP error.

    What fails later ends the connection without the mark that ends a chunked body, so that no client can take half a
    file for a whole one.
    """
    response = streamed_response(delivery.request, delivery.headers, frames.content_type)
    try:
        while not delivery.complete:
            for _, step in await delivery.next_steps():
                if not isinstance(step, Exception) and not step.finish_reason:
                    await _write(response, delivery.request, frames.piece(step.audio))
        receipt = await delivery.settle()
    except MeshError as error:
        if not response.prepared:
            raise
        log.warning("stream_failed", request_id=delivery.charge.request_id, code=error.code.name)
        delivery.charge.fail()
        await _break_off(response, delivery.request, frames.error(error))
        return response
    except ConnectionError:
        raise
    except Exception:
        # A defect: whoever logs it closes the connection.
        if response.prepared:
            await _write(response, delivery.request, frames.error(internal_error()))
        raise
    await _write(response, delivery.request, frames.end(delivery.last_replies[0], receipt))
    await response.write_eof()
    return response


async def _write(response: web.StreamResponse, request: web.Request, data: bytes) -> None:
    if not response.prepared:
        await response.prepare(request)
    if data:
        await response.write(data)


async def _break_off(response: web.StreamResponse, request: web.Request, last_words: bytes) -> None:
    response.force_close()
    if last_words:
        await response.write(last_words)
        await response.write_eof()
    elif request.transport is not None:
        request.transport.abort()

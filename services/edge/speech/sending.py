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
from services.edge.http.keep_alive import COMMENT, KeepAlive
from services.edge.paid.delivery import Delivery
from services.edge.paid.generation import ChoiceStep
from services.edge.speech.frames import Frames

log = get_logger()


async def send_audio(delivery: Delivery, frames: Frames) -> web.StreamResponse:
    """Sends the answer; what fails before the first byte is raised, as a plain HTTP error.

    What fails later ends the connection without the mark that ends a chunked body, so that no client can take half a
    file for a whole one.
    """
    body = _Body(delivery, frames)
    try:
        return await _send(delivery, frames, body)
    finally:
        body.stop()


async def _send(delivery: Delivery, frames: Frames, body: _Body) -> web.StreamResponse:
    try:
        while not delivery.complete:
            for _, step in await body.next_steps():
                if not isinstance(step, Exception) and not step.finish_reason:
                    await body.write(frames.piece(step.audio))
        receipt = await delivery.settle()
    except MeshError as error:
        if not body.begun:
            raise
        log.warning("stream_failed", request_id=delivery.charge.request_id, code=error.code.name)
        delivery.charge.fail()
        await body.break_off(frames.error(error))
        return body.response
    except ConnectionError:
        raise
    except Exception:
        # A defect: whoever logs it closes the connection.
        if body.begun:
            await body.write(frames.error(internal_error()))
        raise
    body.stop()
    await body.write(frames.end(delivery.last_replies[0], receipt))
    await body.response.write_eof()
    return body.response


class _Body:
    """The body of the response, which is begun by the first bytes of it."""

    def __init__(self, delivery: Delivery, frames: Frames) -> None:
        self._delivery = delivery
        self._has_comments = frames.has_comments
        self.response = streamed_response(delivery.request, delivery.headers, frames.content_type)
        self._keep_alive = KeepAlive(delivery.request, self.response, delivery.keep_alive_seconds)

    @property
    def begun(self) -> bool:
        """Whether the client has the status already."""
        return self.response.prepared

    async def next_steps(self) -> list[ChoiceStep]:
        """Waits for the next steps; a comment begins the body if the first take long."""
        if self.begun or not self._has_comments:
            return await self._delivery.next_steps()
        steps = await self._delivery.next_steps(self._delivery.keep_alive_seconds)
        if not steps:
            await self.write(COMMENT)
        return steps

    async def write(self, data: bytes) -> None:
        """Sends bytes and waits while the client has much left to read."""
        begins = not self.begun
        if begins:
            await self.response.prepare(self._delivery.request)
        if data:
            await self.response.write(data)
        if begins and data and self._has_comments:
            self._keep_alive.start()

    def stop(self) -> None:
        """Sends no more comments."""
        self._keep_alive.stop()

    async def break_off(self, last_words: bytes) -> None:
        """Ends the connection, with the last words if there are any."""
        self.stop()
        self.response.force_close()
        transport = self._delivery.request.transport
        if last_words:
            await self.response.write(last_words)
            await self.response.write_eof()
        elif transport is not None:
            transport.abort()

"""Sends audio while it is being made. The charge is durable before the last bytes are sent.

Unlike a stream of text it waits for its reader: a file may be larger than what a connection should hold back. Readers
that stop reading are cut off by services/edge/http/stalled_readers.py.
"""

from __future__ import annotations

from typing import cast

from aiohttp import web
from aiohttp.http import StreamWriter

from services.common.errors import MeshError
from services.common.receipts.claims import HEADER
from services.common.telemetry.logs import get_logger
from services.edge.http.errors import internal_error
from services.edge.http.event_stream import streamed_response
from services.edge.http.keep_alive import COMMENT, KeepAlive, write_now
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
        delivery.fail()
        await body.break_off(frames.error(error))
        return body.response
    except ConnectionError:
        raise
    except Exception:
        # A defect: whoever logs it closes the connection.
        if body.begun:
            await body.write(frames.error(internal_error()))
        raise
    await body.end(frames.end(delivery.last_replies[0], receipt))
    return body.response


class _Body:
    """The body of the response, which is begun by the first bytes of it."""

    def __init__(self, delivery: Delivery, frames: Frames) -> None:
        self._delivery = delivery
        self._has_comments = frames.has_comments
        self.response = streamed_response(delivery.request, delivery.headers, frames.content_type)
        # A file has no place for its receipt, except behind it.
        self._has_trailer = (
            not frames.has_comments
            and delivery.open_receipt is not None
            and _takes_trailers(delivery.request, self.response)
        )
        if self._has_trailer:
            self.response.headers["Trailer"] = HEADER
        self._note = delivery.note_sent
        self._keep_alive = KeepAlive(
            delivery.request, self.response, delivery.keep_alive_seconds, note=delivery.note_sent
        )

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
        if self._note is not None:
            self._note(data)
        await self._write(data)

    async def end(self, last: bytes) -> None:
        """Ends the body with its last bytes, and with the receipt of all of them where the client can read it."""
        self.stop()
        if self._has_comments:
            await self._write(self._delivery.with_comment(last))
        else:
            await self.write(last)
            self._write_trailer()
        await self.response.write_eof()

    async def _write(self, data: bytes) -> None:
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
            await self.response.write(self._delivery.with_comment(last_words))
            await self.response.write_eof()
        elif transport is not None:
            transport.abort()

    def _write_trailer(self) -> None:
        """Sends the mark that ends a chunked body, with the receipt as its trailer (RFC 9112, 7.1.2)."""
        request, receipt = self._delivery.request, self._delivery.open_receipt
        if not self._has_trailer or receipt is None or request.transport is None:
            return
        writer = cast("StreamWriter", request.writer)
        # aiohttp holds them back until something is written through it.
        writer.send_headers()
        mark = f"0\r\n{HEADER}: {receipt.token()}\r\n\r\n".encode()
        write_now(request.transport, writer, chunked=False, data=mark)
        # So aiohttp does not send the mark again.
        writer.chunked = False


def _takes_trailers(request: web.Request, response: web.StreamResponse) -> bool:
    """Whether the client has said that it reads trailers (RFC 9110, 6.5.1), and there can be some."""
    asked = ",".join(request.headers.getall("TE", ())).lower()
    return response.chunked and "trailers" in (part.strip() for part in asked.split(","))

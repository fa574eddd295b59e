"""One API user: sends a request, behaves as planned, and writes down what it saw."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from tests.chaos.ledger_view import LedgerView
from tests.chaos.plan import PROMPTS, UPSTREAM_MODEL
from tests.chaos.record import End, Record

# Longer than the edge's own limits allow any answer to take; what has not ended by then is stuck. At full pace.
_PATIENCE = 20.0
_CONNECT_SECONDS = 6.0
_CONNECT_PAUSE = 0.1
_DONE = b"data: [DONE]"
# What a slow reader lets the kernel and itself keep, in bytes, the size of its packets, by which the kernel of the edge
# chooses its own buffer, and the log probabilities that it asks for with each token: together they have the edge itself
# keep what was not read.
_SLOW_BUFFER, _SLOW_READ, _SLOW_PACKET = 2**12, 2**10, 536
_SLOW_LOGPROBS = 20


def patient_session() -> aiohttp.ClientSession:
    """Returns a session whose connections serve one request each: none inherits one that is about to break."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))


def slow_session() -> aiohttp.ClientSession:
    """Returns the same for those who read slowly."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True, socket_factory=_small_socket)
    return aiohttp.ClientSession(connector=connector)


def _small_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    made = socket.socket(*address[:3])
    # Before it connects, since that is when they are agreed on.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLOW_BUFFER)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SLOW_PACKET)
    return made


class Client:
    """Serves all records of a run; `stops` holds the first word of each prompt's answer."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        slow_session: aiohttp.ClientSession,
        base_url: str,
        ledger: LedgerView,
        slowness: float = 1.0,
    ) -> None:
        """`slowness` is that of the plan."""
        self._session = session
        self._slow_session = slow_session
        self._patience = _PATIENCE * slowness
        self._connect_seconds = _CONNECT_SECONDS * slowness
        self._url = base_url + "/chat/completions"
        self._ledger = ledger
        self.stops: dict[int, str] = {}

    async def run(self, record: Record) -> None:
        """Makes the request; never raises for what a mesh may do."""
        leave_after = record.plan.leave_after
        record.sent = time.time()
        try:
            async with asyncio.timeout(self._patience if leave_after is None else leave_after):
                await self._connect(record)
        except TimeoutError:
            # An end that was seen stays seen, also when the client was about to leave.
            if record.end is End.UNKNOWN:
                record.end = End.STUCK if leave_after is None else End.LEFT
        if not record.ended:
            record.ended = time.time()

    async def _connect(self, record: Record) -> None:
        """Tries until somebody listens: a connection that was refused has carried nothing."""
        give_up = time.monotonic() + self._connect_seconds
        while True:
            record.sent = time.time()
            try:
                return await self._exchange(record)
            except aiohttp.ClientConnectorError:
                if time.monotonic() > give_up:
                    record.end = End.NOT_CONNECTED
                    return None
            except (aiohttp.ClientError, ConnectionError):
                # Breaking after the end was seen takes nothing back.
                if record.end is End.UNKNOWN:
                    record.end = End.BROKEN
                return None
            await asyncio.sleep(_CONNECT_PAUSE)

    async def _exchange(self, record: Record) -> None:
        headers = {"Authorization": f"Bearer {record.api_key}"}
        slow = record.plan.pause > 0
        size, session = (_SLOW_READ, self._slow_session) if slow else (2**16, self._session)
        async with session.post(self._url, json=self._body(record), headers=headers, read_bufsize=size) as response:
            record.status = response.status
            record.request_id = response.headers.get("x-request-id", "")
            if response.status != 200:
                record.error = (await response.json())["error"]
                record.end = End.REFUSED
            elif record.plan.stream:
                await self._read_stream(record, response)
            else:
                await self._read_whole(record, response)

    def _body(self, record: Record) -> dict[str, Any]:
        plan = record.plan
        body: dict[str, Any] = {
            "model": UPSTREAM_MODEL if plan.upstream else "tiermesh-pro",
            "messages": [{"role": "user", "content": PROMPTS[plan.prompt]}],
            "stream": plan.stream,
        }
        if plan.max_tokens is not None:
            body["max_tokens"] = plan.max_tokens
        if plan.empty:
            body["stop"] = [self.stops[plan.prompt]]
        if plan.stream and plan.usage:
            body["stream_options"] = {"include_usage": True}
        if plan.pause and not plan.upstream:
            body |= {"logprobs": True, "top_logprobs": _SLOW_LOGPROBS}
        return body

    async def _read_whole(self, record: Record, response: aiohttp.ClientResponse) -> None:
        body = json.loads(await response.read())
        choice = body["choices"][0]
        record.text, record.finish_reason = choice["message"]["content"], choice["finish_reason"]
        record.usage = body["usage"]
        record.receipt = int(response.headers["x-tiermesh-credits-charged"])
        await self._see_end(record)

    async def _read_stream(self, record: Record, response: aiohttp.ClientResponse) -> None:
        async for event in _events(response.content, record.plan.pause):
            if record.end is not End.UNKNOWN:
                record.oddities.append(f"an event after the end: {event!r}")
            elif event == _DONE:
                await self._see_end(record)
            else:
                _take(record, json.loads(event.removeprefix(b"data: ")))
            if record.plan.leave_at_piece is not None and record.pieces >= record.plan.leave_at_piece:
                # An end that arrived with the last piece was not looked at.
                record.end, record.ended = End.LEFT, time.time()
                response.close()
                return
        if record.end is End.UNKNOWN:
            record.end = End.BROKEN
            record.oddities.append("the stream was closed in good order, but without an end")

    async def _see_end(self, record: Record) -> None:
        record.end, record.ended = End.COMPLETE, time.time()
        record.charged_at_end = await self._ledger.charged(record.request_id)


async def _events(content: aiohttp.StreamReader, pause: float) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in content.iter_any():
        *events, rest = (rest + chunk).split(b"\n\n")
        for event in events:
            # A comment only says that the stream lives.
            if not event.startswith(b":"):
                yield event
        if pause:
            await asyncio.sleep(pause)


def _take(record: Record, event: dict[str, Any]) -> None:
    if "error" in event:
        record.error, record.end, record.ended = event["error"], End.ERROR_FRAME, time.time()
        return
    if event.get("usage"):
        record.usage, record.receipt = event["usage"], event["tiermesh"]["credits_charged"]
    for choice in event["choices"]:
        text = choice["delta"].get("content") or ""
        if record.finish_reason is not None:
            record.oddities.append("a piece after the finish reason")
        record.text += text
        record.pieces += bool(text)
        record.finish_reason = choice["finish_reason"] or record.finish_reason

"""One API user: sends a request, behaves as planned, and writes down what it saw."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from tests.chaos.record import End, Record
from tests.simulator.machine.loop import Process
from tests.simulator.machine.network import Network
from tests.simulator.machine.sockets import Reader
from tests.simulator.plan import PROMPTS

EDGE = "edge:80"
# Seconds; longer than anything may take.
_PATIENCE = 90.0
_CONNECT_PAUSE = 0.3
_DONE = b"data: [DONE]"


class Client:
    """Makes all requests of a run; `charged` reads the ledger."""

    def __init__(self, network: Network, process: Process, charged: Callable[[str], int]) -> None:
        self._network = network
        self._process = process
        self._charged = charged
        # The first word of the answer to each prompt.
        self.first_words: dict[int, str] = {}

    async def run(self, record: Record) -> None:
        """Makes the request; never raises for what a mesh may do."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(record.plan.at)
        leave_after = record.plan.leave_after
        reader = Reader()
        try:
            async with asyncio.timeout(_PATIENCE if leave_after is None else leave_after):
                while not await self._exchange(record, reader):
                    # Nobody listens: a connection that was refused has carried nothing.
                    await asyncio.sleep(_CONNECT_PAUSE)
                    reader = Reader()
        except TimeoutError:
            if record.end is End.UNKNOWN:
                record.end = End.STUCK if leave_after is None else End.LEFT
        finally:
            reader.end.close()
        record.ended = record.ended or loop.time()

    async def _exchange(self, record: Record, reader: Reader) -> bool:
        """Returns whether anything came back."""
        loop = asyncio.get_running_loop()
        record.sent = loop.time()
        end = reader.end = self._network.connect(self._process, EDGE, reader)
        refused = end.closed
        end.send(self._request(record))
        head, body = await _head(reader)
        if not head:
            if not refused:
                record.end, record.ended = End.BROKEN, loop.time()
            return not refused
        status, headers = head
        record.status, record.request_id = status, headers.get("x-request-id", "")
        pieces = _pieces(reader, headers, body)
        if record.plan.stream and status == 200:
            await self._read_stream(record, pieces)
        else:
            await self._read_whole(record, headers, pieces)
        return True

    def _request(self, record: Record) -> bytes:
        plan = record.plan
        body: dict[str, Any] = {
            "model": "tiermesh-pro",
            "messages": [{"role": "user", "content": PROMPTS[plan.prompt]}],
            "stream": plan.stream,
            "max_tokens": plan.max_tokens,
        }
        if plan.empty:
            body["stop"] = [self.first_words[plan.prompt]]
        if plan.stream:
            body["stream_options"] = {"include_usage": True}
        content = json.dumps(body).encode()
        return (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {record.api_key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        ).encode() + content

    async def _read_whole(self, record: Record, headers: dict[str, str], pieces: AsyncIterator[bytes]) -> None:
        content = b""
        async for piece in pieces:
            content += piece
        loop = asyncio.get_running_loop()
        record.ended = loop.time()
        if len(content) < int(headers.get("content-length", "0")):
            record.end = End.BROKEN
        elif record.status != 200:
            record.end, record.error = End.REFUSED, json.loads(content)["error"]
        else:
            body = json.loads(content)
            choice = body["choices"][0]
            record.text, record.finish_reason = choice["message"]["content"], choice["finish_reason"]
            record.receipt = int(headers["x-tiermesh-credits-charged"])
            self._see_end(record)

    async def _read_stream(self, record: Record, pieces: AsyncIterator[bytes]) -> None:
        loop = asyncio.get_running_loop()
        rest = b""
        async for piece in pieces:
            *events, rest = (rest + piece).split(b"\n\n")
            for event in events:
                self._see(record, event)
                if record.plan.leave_at_piece is not None and record.pieces >= record.plan.leave_at_piece:
                    # An end that came with the last piece was not looked at.
                    record.end, record.ended = End.LEFT, loop.time()
                    return
            if record.plan.pause:
                await asyncio.sleep(record.plan.pause)
        if record.end is End.UNKNOWN:
            record.end, record.ended = End.BROKEN, loop.time()

    def _see(self, record: Record, event: bytes) -> None:
        if event.startswith(b":"):
            return
        if record.end is not End.UNKNOWN:
            record.oddities.append(f"an event after the end: {event!r}")
        elif event == _DONE:
            self._see_end(record)
        else:
            _take(record, json.loads(event.removeprefix(b"data: ")))

    def _see_end(self, record: Record) -> None:
        record.end, record.ended = End.COMPLETE, asyncio.get_running_loop().time()
        record.charged_at_end = self._charged(record.request_id)


def secret_of(number: int) -> str:
    """Returns the API key of a request."""
    return f"sk-simulated-{number}"


async def _head(reader: Reader) -> tuple[tuple[int, dict[str, str]] | None, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        if not (chunk := await reader.read()):
            return None, b""
        data += chunk
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return (int(first.split()[1]), headers), rest


async def _pieces(reader: Reader, headers: dict[str, str], data: bytes) -> AsyncIterator[bytes]:
    """Yields the body as it comes; it ends early if the connection breaks."""
    if headers.get("transfer-encoding") != "chunked":
        left = int(headers["content-length"]) - len(data)
        yield data
        while left > 0 and (chunk := await reader.read()):
            left -= len(chunk)
            yield chunk
        return
    while True:
        while b"\r\n" in data:
            size, _, rest = data.partition(b"\r\n")
            length = int(size, 16)
            if len(rest) < length + 2:
                break
            if not length:
                return
            yield rest[:length]
            data = rest[length + 2 :]
        if not (chunk := await reader.read()):
            return
        data += chunk


def _take(record: Record, event: dict[str, Any]) -> None:
    if "error" in event:
        record.error, record.end = event["error"], End.ERROR_FRAME
        record.ended = asyncio.get_running_loop().time()
        return
    if event.get("usage"):
        record.receipt = event["tiermesh"]["credits_charged"]
    for choice in event["choices"]:
        text = choice["delta"].get("content") or ""
        record.text += text
        record.pieces += bool(text)
        record.finish_reason = choice["finish_reason"] or record.finish_reason

"""A client that costs next to nothing: one connection for each request in flight, and just enough HTTP to use it.

Answers that leave a server together reach it together, and so do the requests that follow. A client that works more for
each answer, such as aiohttp's, sends them one by one.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol, cast
from urllib.parse import urlsplit

_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
# What ends a body without a length: chunks are not read one by one.
_LAST_CHUNK = b"0\r\n\r\n"


class Note(Protocol):
    """Takes account of an answer."""

    def __call__(self, status: int, content: bytes, seconds: float) -> None:
        """Gets the body as it was sent, with the marks of its chunks if it has any, and how long it took."""


async def send_bursts(
    url: str, headers: dict[str, str], body: bytes, requests: int, in_flight: int, note: Note
) -> None:
    """Sends so many requests, each as soon as one of those in flight is answered; raises OSError.

    Raises ConnectionResetError if the server closes a connection.
    """
    parts = urlsplit(url)
    lines = {"Host": parts.netloc, **headers, "Content-Length": str(len(body))}
    head = f"POST {parts.path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    left = requests

    def take() -> bool:
        nonlocal left
        left -= 1
        return left >= 0

    loop = asyncio.get_running_loop()
    request = head.encode() + b"\r\n" + body
    connections = [_Connection(request, take, note, loop.create_future()) for _ in range(min(in_flight, requests))]
    for connection in connections:
        await loop.create_connection(partial(_itself, connection), parts.hostname or "", parts.port or 80)
    await asyncio.gather(*(connection.ended for connection in connections))


class _Connection(asyncio.Protocol):
    def __init__(self, request: bytes, take: Callable[[], bool], note: Note, ended: asyncio.Future[None]) -> None:
        self._request = request
        self._take = take
        self._note = note
        self.ended = ended
        self._received = b""
        self._began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no instances of it.
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        head_end = self._received.find(_HEAD_END)
        if head_end < 0:
            return
        begins = head_end + len(_HEAD_END)
        length = _LENGTH.search(self._received, 0, begins)
        whole = len(self._received) >= begins + int(length[1]) if length else self._received.endswith(_LAST_CHUNK)
        if whole:
            status = int(self._received[9:12])
            self._note(status, self._received[begins:], time.perf_counter() - self._began)
            self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(error or ConnectionResetError("the server closed the connection"))

    def _next(self) -> None:
        self._received = b""
        if self._take():
            self._began = time.perf_counter()
            self._transport.write(self._request)
        else:
            self.ended.set_result(None)
            self._transport.close()


def _itself(connection: _Connection) -> _Connection:
    return connection

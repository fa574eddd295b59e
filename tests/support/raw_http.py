"""Speaks HTTP byte by byte, for what no well-behaved client sends."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.support.deadlines import within

_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class RawResponse:
    """One response; names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    # What came behind a body of chunks.
    trailers: dict[str, str]

    def json(self) -> Any:
        """Returns the parsed body."""
        return json.loads(self.body)


class RawConnection:
    """One TCP connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def response(self) -> RawResponse:
        """Reads one response that has a length or comes in chunks."""
        async with within(_TIMEOUT_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            headers, trailers = _fields(lines), dict[str, str]()
            if headers.get("transfer-encoding") == "chunked":
                body, trailers = await self._chunks()
            else:
                body = await self.reader.readexactly(int(headers.get("content-length", "0")))
            return RawResponse(int(first.split()[1]), headers, body, trailers)

    async def until_closed(self) -> bytes:
        """Returns what comes before the server closes the connection."""
        async with within(_TIMEOUT_SECONDS):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def _chunks(self) -> tuple[bytes, dict[str, str]]:
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
        lines = []
        while (line := await self.reader.readline()) != b"\r\n":
            assert line.endswith(b"\r\n")
            lines.append(line.decode("latin-1"))
        return body, _fields(lines)


def _fields(lines: Sequence[str]) -> dict[str, str]:
    pairs = (line.partition(":") for line in lines)
    return {name.lower(): value.strip() for name, _, value in pairs}


@asynccontextmanager
async def connect(base_url: str, receive_buffer: int | None = None) -> AsyncIterator[RawConnection]:
    """Opens a connection to the server of a URL; with `receive_buffer`, the kernel takes little from it unread."""
    url = urlsplit(base_url)
    limit = receive_buffer or 2**20
    reader, writer = await asyncio.open_connection(url.hostname, url.port, limit=limit)
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.close()
        # Only then does the server see it: what a test does next may keep this loop busy.
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """Returns a request of HTTP/1.1; underscores in the names of headers stand for hyphens."""
    if body:
        headers.setdefault("Content_Length", str(len(body)))
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode() + body

"""Waits until a process serves."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

_POLL_SECONDS = 0.05
_ANSWER_SECONDS = 2.0


async def wait_until_ready(url: str) -> None:
    """Returns once the URL answers 200, however long that takes."""
    while not await answers_ok(url):  # noqa: ASYNC110 - another process tells nobody when it is ready
        await asyncio.sleep(_POLL_SECONDS)


async def answers_ok(url: str) -> bool:
    """Asks once. Done by hand, because importing an HTTP client takes longer than some of the services to start."""
    parts = urlsplit(url)
    request = f"GET {parts.path} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n"
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                writer.write(request.encode())
                status = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return status.split()[1:2] == [b"200"]

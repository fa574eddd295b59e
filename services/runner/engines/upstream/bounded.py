"""Reads what a server sends, as far as it is not too large."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp


class TooLargeError(ValueError):
    """A server sends more than it can have to say."""


async def read_whole(
    response: aiohttp.ClientResponse, most: int, progressed: Callable[[], None] = lambda: None
) -> bytes:
    """Returns the whole body, `most` bytes at most; raises TooLargeError, and what aiohttp raises for a broken one.

    `progressed` is called for each part that has come.
    """
    content = bytearray()
    async for part in response.content.iter_any():
        progressed()
        content += part
        if len(content) > most:
            raise TooLargeError
    return bytes(content)

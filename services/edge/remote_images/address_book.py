"""Resolves host names to addresses, and hands aiohttp exactly the addresses that were checked."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from aiohttp.abc import AbstractResolver, ResolveResult

# Host name → its addresses as text. Raises OSError if there are none.
Resolve = Callable[[str], Awaitable[Sequence[str]]]

# Names of strangers may take long to resolve, and nothing can stop that: they get threads of their own.
_THREADS = 16


def system_resolver() -> Resolve:
    """Returns a function that asks the operating system."""
    threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="resolve")

    async def resolve(host: str) -> Sequence[str]:
        def look_up() -> list[str]:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            return [str(address[0]) for *_, address in found]

        return await asyncio.get_running_loop().run_in_executor(threads, look_up)

    return resolve


class PinnedResolver(AbstractResolver):
    """Knows one host and its checked addresses, so that a name that changes its mind leads nowhere else."""

    def __init__(self, host: str, addresses: Sequence[str]) -> None:
        self._host = host
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Returns the pinned addresses; raises OSError for any other host."""
        del family
        if host != self._host:
            raise OSError("only the checked host may be connected to")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Has nothing to close."""

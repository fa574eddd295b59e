"""Addresses that come and go: `dns:host:port` stands for every address that the name has, as of a headless Service.

Each client then has a lane to each replica: new replicas get their share of the load, and losing one costs nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

from services.common.telemetry.logs import get_logger

log = get_logger()

_PREFIX = "dns:"
# Seconds between two look-ups; a name server is asked rarely, and a replica that has gone is noticed without it.
INTERVAL = 5.0

# Returns the IP addresses that a host has; raises OSError, or UnicodeError for what cannot be a host name.
Resolve = Callable[[str], Awaitable[Sequence[str]]]
OnChange = Callable[[Sequence[str]], None]


async def system_resolve(host: str) -> Sequence[str]:
    """Asks the system's resolver; raises OSError, or UnicodeError for what cannot be a host name."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def first_addresses(entries: Sequence[str]) -> list[str]:
    """Returns what can be connected to before anything is looked up: gRPC takes one address of a name by itself."""
    return [entry.removeprefix(_PREFIX) for entry in entries]


class Discovery:
    """Looks names up again and again, and tells those who follow them when their addresses have changed."""

    def __init__(self, resolve: Resolve = system_resolve, interval: float = INTERVAL) -> None:
        self._resolve = resolve
        self._interval = interval
        self._followed: list[_Followed] = []

    def follow(self, entries: Sequence[str], *on_change: OnChange) -> None:
        """Calls each of `on_change` with the addresses of all entries, sorted, at first and after each change."""
        if any(entry.startswith(_PREFIX) for entry in entries):
            self._followed.append(_Followed(entries, on_change))

    async def run(self) -> None:
        """Looks up until cancelled."""
        while True:
            for followed in self._followed:
                await followed.refresh(self._resolve)
            await asyncio.sleep(self._interval)


class _Followed:
    """One list of entries. A name that cannot be looked up keeps the addresses that it had."""

    def __init__(self, entries: Sequence[str], on_change: Sequence[OnChange]) -> None:
        self._entries = entries
        self._on_change = on_change
        self._known: dict[str, list[str]] = {}
        self._told: list[str] = []

    async def refresh(self, resolve: Resolve) -> None:
        """Looks every name up once."""
        for entry in self._entries:
            if entry.startswith(_PREFIX):
                await self._look_up(entry, resolve)
        found = {address for entry in self._entries for address in self._known.get(entry, first_addresses([entry]))}
        if (addresses := sorted(found)) != self._told:
            self._told = addresses
            for tell in self._on_change:
                tell(addresses)

    async def _look_up(self, entry: str, resolve: Resolve) -> None:
        host, _, port = entry.removeprefix(_PREFIX).rpartition(":")
        try:
            found = await resolve(host)
        except (OSError, UnicodeError) as error:
            log.debug("name_not_found", name=host, reason=str(error))
            return
        if found:
            self._known[entry] = [f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}" for ip in found]

"""Cuts clients off that do not read what was sent to them: nothing else would ever end such a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from weakref import WeakKeyDictionary

from services.common.telemetry.logs import get_logger

log = get_logger()


class StalledReaders:
    """Looks at all connections every half `seconds` and aborts those whose unread bytes have not become fewer."""

    def __init__(self, transports: Callable[[], Iterable[asyncio.Transport]], seconds: float) -> None:
        self._transports = transports
        self._interval = seconds / 2
        # The bytes that waited at the last look, and for how many looks in a row they have not become fewer.
        self._waiting: WeakKeyDictionary[asyncio.Transport, tuple[int, int]] = WeakKeyDictionary()

    async def run(self) -> None:
        """Watches until it is cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            self.look()

    def look(self) -> None:
        """Aborts who has not read anything since the last look but one."""
        for transport in self._transports():
            unread = transport.get_write_buffer_size()
            before, looks = self._waiting.pop(transport, (0, 0))
            if not unread:
                continue
            looks = looks + 1 if unread >= before > 0 else 0
            if looks >= 2:
                log.info("reader_stalled", unread_bytes=unread)
                transport.abort()
            else:
                self._waiting[transport] = (unread, looks)

"""A billing process whose audits the bench paces: `python -m bench.large_ledger.billing`.

Each letter on its standard input is a `Pace`. Apart from that the process is billing as it is. So charges beside an
audit and without one can take turns, at any moment of an audit that would take minutes.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import TypeVar
from unittest import mock

from services.billing.__main__ import serve as serve_billing
from services.billing.store.audit.pace import PacedWork
from services.common.lifecycle.process import run_service

T = TypeVar("T")


class Pace(Enum):
    """How audits go on."""

    # With the rests that they take in a service.
    OWN = b"o"
    # No further slice is read.
    HELD = b"h"
    # Without rests.
    FAST = b"f"


class Conductor:
    """Does the slices of audits at the pace that was last asked for."""

    def __init__(self) -> None:
        self._pace = Pace.OWN
        self._released = asyncio.Event()
        self._released.set()
        self._do = PacedWork.do
        self._named: set[int | None] = set()

    def hear(self) -> None:
        """Reads what the bench has written."""
        letters = os.read(sys.stdin.fileno(), 1024)
        if not letters:
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            return
        self._pace = Pace(letters[-1:])
        if self._pace is Pace.HELD:
            self._released.clear()
        else:
            self._released.set()

    async def do(self, paced: PacedWork, work: Awaitable[T]) -> T:
        """Does a slice in the place of `PacedWork.do`."""
        await self._released.wait()
        result = await (work if self._pace is Pace.FAST else self._do(paced, work))
        self._name_threads()
        return result

    def _name_threads(self) -> None:
        """Tells the kernel the names of new threads, by which the bench finds the one that reads for an audit."""
        for thread in threading.enumerate():
            if thread.native_id not in self._named:
                # One that has ended meanwhile has no file.
                with suppress(OSError):
                    Path(f"/proc/self/task/{thread.native_id}/comm").write_text(thread.name[:15])
                self._named.add(thread.native_id)


async def serve(stop: asyncio.Event) -> None:
    """Serves until `stop` is set."""
    conductor, loop = Conductor(), asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), conductor.hear)

    def do(paced: PacedWork, work: Awaitable[T]) -> Awaitable[T]:
        return conductor.do(paced, work)

    with mock.patch.object(PacedWork, "do", do):
        await serve_billing(stop)


if __name__ == "__main__":
    run_service(serve)

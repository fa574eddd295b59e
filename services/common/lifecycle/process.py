"""How every service process starts and ends."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable

import uvloop

from services.common.catalog import CatalogError
from services.common.lifecycle.background_tasks import BackgroundTaskError
from services.common.settings import SettingsError

# A service's `serve` runs until the event is set, drains, and returns.
Serve = Callable[[asyncio.Event], Awaitable[None]]

# Python's own default. Before Python 3.12, parsers written in C go down into nested JSON as far as this allows, and
# some packages raise it when they are imported: a request of many brackets would then overflow the stack.
_RECURSION_LIMIT = 1000


def run_service(serve: Serve) -> None:
    """Runs `serve` until SIGTERM or SIGINT, then lets it drain.

    A mistake of the operator's ends with a clear line. After the death of a background task, which has been logged, the
    exit status is 1, so that the process is started again.
    """
    # Requests make many short-lived objects and hardly any cycles: with Python's default of 700, looking for cycles
    # takes a twentieth of the CPU time.
    gc.set_threshold(20_000, 20, 50)
    sys.setrecursionlimit(_RECURSION_LIMIT)
    try:
        uvloop.run(_serve_until_signal(serve))
    except (SettingsError, CatalogError, OSError) as error:
        sys.exit(f"cannot start: {error}")
    except BackgroundTaskError:
        sys.exit(1)


async def _serve_until_signal(serve: Serve) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(stop)

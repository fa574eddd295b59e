"""Holds half of what a mesh takes for long, on PostgreSQL and Redis, and looks for anything that grows or is wrong.

`python -m bench.soak --minutes 60` first measures how many requests a second the mesh answers, and then sends half as
many, at random moments. It ends with 1 if memory or open files grow by more than a bound, if a client saw an error, if
the audit finds a violation, or if the charges are not those that the clients saw.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import time
from collections.abc import Callable
from statistics import median

import aiohttp
import psutil
import uvloop

from bench.cost import running_relay
from bench.ledger import postgres_server
from bench.mesh import RunningMesh, running_mesh
from bench.soak.customers import make_customers
from bench.soak.gauges import POSTGRES, disk, look, medians
from bench.soak.reckoning import wrongs
from bench.soak.report import Row, grown, header, line, trends
from bench.soak.traffic import SPEED, Traffic, Window
from tests.support.postgres import create_database
from tests.support.redis_server import RedisServer

# More than clients ever need, so that no request waits for a slot.
_SLOTS = 256
# Requests in flight while the mesh is measured, and for how long, with the first quarter not counted, in seconds.
_IN_FLIGHT, _MEASURED_SECONDS = 96, 20.0
# A mesh that has so many requests in flight does not keep up with half of its load.
_MOST_IN_FLIGHT = 2000
# One request in so many is also sent past the mesh.
_RELAYED = 10
# Windows of a run, unless their length is chosen, and looks at the processes in each.
_WINDOWS, _LOOKS = 12, 20


def main() -> int:
    """Runs and prints; returns 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long the load is held (60)")
    parser.add_argument("--window-seconds", type=float, help="how long a row covers (a twelfth of the run)")
    options = parser.parse_args()
    window_seconds = options.window_seconds or options.minutes * 60 / _WINDOWS
    try:
        return uvloop.run(_soak(options.minutes * 60, window_seconds))
    except asyncio.CancelledError:
        _write("it was told to end before its time")
        return 1


async def _soak(seconds: float, window_seconds: float) -> int:
    if (task := asyncio.current_task()) is not None:
        # So that nothing of the mesh stays behind.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with RedisServer() as redis:
        with postgres_server() as server, running_relay() as relay:
            urls = {name: create_database(server.url) for name in ("AUTH", "BILLING")}
            settings = {f"TIERMESH_{name}_DATABASE_URL": url for name, url in urls.items()}
            settings |= {"TIERMESH_AUTH_RATE_LIMIT_URL": redis.url, "TIERMESH_RUNNER_SIMULATED_SPEED": str(SPEED)}
            with running_mesh(slots=_SLOTS, settings=settings) as mesh:
                pids = mesh.pids | {POSTGRES: server.pid, "redis": redis.pid}
                run = _Run(mesh, pids, server.url, relay.url)
                return await run.all(seconds, window_seconds)


class _Run:
    """One run on a mesh that has just started."""

    def __init__(self, mesh: RunningMesh, pids: dict[str, int], database_url: str, relay_url: str) -> None:
        self._mesh = mesh
        self._pids = pids
        self._database_url = database_url
        self._relay_url = relay_url

    async def all(self, seconds: float, window_seconds: float) -> int:
        """Measures the mesh, holds the load, and returns 1 if anything was wrong."""
        addresses = self._mesh.addresses
        customers = await make_customers(addresses["auth"], addresses["billing"])
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            traffic = Traffic(session, self._mesh.base_url, self._relay_url, customers, seed=1)
            most = await _most(traffic)
            _write(f"the mesh takes {most:.0f} requests/s of this mixture; half of it is held for {seconds / 60:g} min")
            rows = await self._hold(traffic, most / 2, seconds, window_seconds)
        found = [*await wrongs(traffic, customers, addresses["billing"]), *grown(rows)]
        if traffic.errors:
            found.append(f"clients saw {traffic.errors} errors")
        for text in (*trends(rows), *(found or ["nothing is wrong: the audit is clean, and all charges were seen"])):
            _write(text)
        return 1 if found else 0

    async def _hold(self, traffic: Traffic, rate: float, seconds: float, window_seconds: float) -> list[Row]:
        """Sends so many requests a second at random moments, and returns a row for each window."""
        _write(header(list(self._pids)))
        stop = asyncio.Event()
        sending = asyncio.create_task(_send(traffic, rate, stop.is_set))
        began = time.monotonic()
        rows: list[Row] = []
        while time.monotonic() < began + seconds - window_seconds / 2 and not sending.done():
            window = traffic.window = Window()
            looks = []
            for at in range(_LOOKS):
                due = began + (len(rows) + (at + 1) / _LOOKS) * window_seconds
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                looks.append(look(self._pids))
            row = Row((time.monotonic() - began) / 60, window, medians(looks), await disk(self._database_url))
            rows.append(row)
            _write(line(row))
        stop.set()
        await sending
        return rows


async def _most(traffic: Traffic) -> float:
    """Returns how many requests a second the mesh takes while all clients ask again at once."""
    began = time.monotonic()

    async def client() -> None:
        while time.monotonic() < began + _MEASURED_SECONDS:
            await traffic.one()

    clients = asyncio.gather(*(client() for _ in range(_IN_FLIGHT)))
    rates = []
    for at in range(1, 5):
        traffic.window = window = Window()
        await asyncio.sleep(max(0.0, began + at * _MEASURED_SECONDS / 4 - time.monotonic()))
        rates.append(window.sent * 4 / _MEASURED_SECONDS)
    await clients
    return median(rates[1:])


async def _send(traffic: Traffic, rate: float, stopped: Callable[[], bool]) -> None:
    """Sends until it is stopped or the mesh falls behind; returns when every request has ended."""
    chance = random.Random(2)
    in_flight: set[asyncio.Task[None]] = set()
    due = time.monotonic()
    number = 0
    while not stopped():
        due += chance.expovariate(rate)
        if (pause := due - time.monotonic()) > 0:
            await asyncio.sleep(pause)
        requests = [traffic.one()] if number % _RELAYED else [traffic.one(), traffic.relay()]
        for request in requests:
            task = asyncio.create_task(request)
            in_flight.add(task)
            task.add_done_callback(in_flight.discard)
        number += 1
        if len(in_flight) > _MOST_IN_FLIGHT:
            traffic.fail(f"the mesh does not keep up: {len(in_flight)} requests are in flight")
            break
    await asyncio.gather(*in_flight)


def _write(text: str) -> None:
    """Prints a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except psutil.NoSuchProcess as error:
        sys.exit(f"a process of the mesh has ended: {error}")

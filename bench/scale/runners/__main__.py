"""Prints what a unary request costs with several numbers of runners: `python -m bench.scale.runners`.

The meshes run at once and are measured in turn, with the bare relay between them. The further runners share a few
processes. A second router, which places nothing, shows what a replica of the router costs for hearing every runner.
`--against` measures another revision of git in the same rounds.

The runners are part of the sum, without what their engines do. In a deployment each has a machine of its own, whose
processors are busy with little else, so the sum without them is shown too. What runners, routers and etcd tell each
other at rest is spent by the second and not by the request, so it weighs more the fewer requests a machine can do. It
is measured apart, before the rounds.

With a number of requests in flight, each burst of answers brings a burst of requests, and what a process does for all
of them it does at once. With `--rate` they come at random moments, as from many clients.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.comparison.checkout import checkout_of, generate_protos
from bench.cost import running_relay, send
from bench.load import Order
from bench.machine import describe_machine
from bench.mesh import HERE, RunningMesh, engine_cpu_seconds, free_port, running_mesh, wait_for_runners
from bench.processes import cpu_seconds

_HOST = HERE / "bench" / "scale" / "runners" / "host.py"
_RUNNERS_A_PROCESS = 50
_SLOTS = 64
_MODEL = "tiermesh-pro"
# For how long all meshes are measured at rest, in seconds.
_REST = 5.0
# The router that places nothing.
_LISTENER = "second router"


@dataclass
class Crowd:
    """A mesh with many runners, and what was measured of it."""

    revision: str
    count: int
    mesh: RunningMesh
    pids: dict[str, int]
    # Where each process that has engines tells their CPU time.
    engines: list[str]
    # CPU-milliseconds of a request by process, of each round.
    rounds: list[dict[str, float]] = field(default_factory=list)
    # Requests a second, of each round.
    rates: list[float] = field(default_factory=list)
    # CPU-milliseconds of a second at rest by process.
    rest: dict[str, float] = field(default_factory=dict)

    def measure(self, requests: int, in_flight: int, rate: float = 0.0) -> None:
        """Measures one round; with a `rate`, of requests that come at random moments."""
        order = Order(url=self.mesh.base_url + "/chat/completions", api_key=self.mesh.api_key, model=_MODEL,
                      requests=requests, in_flight=in_flight, stream=False, max_tokens=1,
                      rate=rate)  # fmt: skip
        before = self.used()
        result = send(order)
        after = self.used()
        self.rounds.append({name: (after[name] - before[name]) * 1000 / requests for name in after})
        self.rates.append(requests / result.seconds)

    def used(self) -> dict[str, float]:
        """Returns the CPU seconds so far by process."""
        used = {"runners": 0.0}
        for name, seconds in cpu_seconds(self.pids).items():
            role = "runners" if name.startswith("runner") else name
            used[role] = used.get(role, 0.0) + seconds
        used["runners"] -= sum(engine_cpu_seconds(url) for url in self.engines)
        return used

    def cost(self, name: str) -> float:
        """Returns the median of one process."""
        return median(each[name] for each in self.rounds)

    @property
    def total(self) -> float:
        """The median of all processes but the second router."""
        return median(map(_sum, self.rounds))

    @property
    def without_runners(self) -> float:
        """The same without the runners."""
        return median(_sum(each) - each["runners"] for each in self.rounds)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale.runners", description=__doc__)
    parser.add_argument("--runners", default="1,10,100", help="how many runners, comma-separated")
    parser.add_argument("--requests", type=int, default=500, help="requests of each mesh in a round")
    parser.add_argument("--in-flight", type=int, default=32, help="requests in flight")
    parser.add_argument("--rate", type=float, default=0.0, help="requests a second that come at random moments")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--against", metavar="REVISION", help="measure a revision of git in the same rounds")
    arguments = parser.parse_args()
    console = Console()
    console.print(describe_machine(), soft_wrap=True)
    counts = [int(count) for count in arguments.runners.split(",")]
    with ExitStack() as stack:
        checkouts = {"here": HERE}
        if arguments.against:
            checkouts[arguments.against] = stack.enter_context(checkout_of(arguments.against))
            generate_protos(checkouts[arguments.against])
        crowds = [
            stack.enter_context(running_crowd(revision, checkout, count))
            for revision, checkout in checkouts.items()
            for count in counts
        ]
        relay = stack.enter_context(running_relay())
        for crowd in crowds:
            # Until a runner has had as many requests as it has slots, it tells of each at once.
            crowd.measure(max(arguments.requests, crowd.count * _SLOTS * 3 // 2), arguments.in_flight)
            crowd.rounds.clear()
            crowd.rates.clear()
        measure_rest(crowds)
        relays = []
        for number in range(arguments.rounds):
            for crowd in crowds if number % 2 else reversed(crowds):
                crowd.measure(arguments.requests, arguments.in_flight, arguments.rate)
            relays.append(relay.measure(arguments.requests, arguments.in_flight, stream=False))
            console.print(f"round {number + 1} of {arguments.rounds}")
    coming = f"at {arguments.rate:g} a second" if arguments.rate else f"at {arguments.in_flight} in flight"
    console.print(cost_table(crowds, median(relays), coming))


def measure_rest(crowds: list[Crowd]) -> None:
    """Measures all meshes at once while nobody asks them anything."""
    before = [crowd.used() for crowd in crowds]
    time.sleep(_REST)
    for crowd, used in zip(crowds, before, strict=True):
        crowd.rest = {name: (seconds - used[name]) * 1000 / _REST for name, seconds in crowd.used().items()}


def cost_table(crowds: list[Crowd], relay: float, coming: str) -> Table:
    """Returns the medians of all rounds; `coming` says how the requests came."""
    table = Table(title=f"CPU-ms of a unary request {coming}; bare relay in bursts {relay:.3f}")
    table.add_column("")
    for crowd in crowds:
        table.add_column(f"{crowd.count} runners, {crowd.revision}", justify="right")

    def add(name: str, figure: Callable[[Crowd], float]) -> None:
        table.add_row(name, *(f"{figure(crowd):.3f}" for crowd in crowds))

    for name in ("edge", "auth", "billing", "router", "runners", "etcd"):
        add(name, lambda crowd, name=name: crowd.cost(name))  # type: ignore[misc]  # The default binds the name.
    add("mesh", lambda crowd: crowd.total)
    add("mesh ÷ relay", lambda crowd: crowd.total / relay)
    add("mesh ÷ that with the fewest runners", lambda crowd: crowd.total / _fewest(crowds, crowd).total)
    add("mesh ÷ that of the last revision, in a round", lambda crowd: _against(crowds, crowd))
    add("mesh without runners", lambda crowd: crowd.without_runners)
    add("that ÷ that with the fewest", lambda crowd: crowd.without_runners / _fewest(crowds, crowd).without_runners)
    add(_LISTENER, lambda crowd: crowd.cost(_LISTENER))
    add("a router of two ÷ the only one", _shared)
    add("at rest, CPU-ms a second: mesh", lambda crowd: _sum(crowd.rest))
    for name in ("router", "runners", "etcd"):
        add(f"at rest: {name}", lambda crowd, name=name: crowd.rest[name])  # type: ignore[misc]  # As above.
    add("requests a second", lambda crowd: median(crowd.rates))
    return table


def _sum(costs: Mapping[str, float]) -> float:
    """Adds up all processes but the second router."""
    return sum(cost for name, cost in costs.items() if name != _LISTENER)


def _fewest(crowds: list[Crowd], crowd: Crowd) -> Crowd:
    return next(other for other in crowds if other.revision == crowd.revision)


def _against(crowds: list[Crowd], crowd: Crowd) -> float:
    """Returns the median of the ratios to the same number of runners at the revision that was measured beside this."""
    other = [each for each in crowds if each.count == crowd.count][-1]
    return median(_sum(mine) / _sum(its) for mine, its in zip(crowd.rounds, other.rounds, strict=True))


def _shared(crowd: Crowd) -> float:
    """Returns the work of each of two routers beside that of one: both hear every runner, each places half."""
    placing, hearing = crowd.cost("router"), crowd.cost(_LISTENER)
    return (hearing + (placing - hearing) / 2) / placing


@contextmanager
def running_crowd(revision: str, checkout: Path, count: int) -> Iterator[Crowd]:
    """Starts a mesh with so many runners and a second router."""
    with running_mesh(slots=_SLOTS, checkout=checkout) as mesh, ExitStack() as stack:
        pids, engines = dict(mesh.pids), [mesh.metrics["runner-pro"]]
        pids[_LISTENER] = stack.enter_context(running_router(mesh, checkout))
        for first in range(1, count, _RUNNERS_A_PROCESS):
            here = min(_RUNNERS_A_PROCESS, count - first)
            port = free_port()
            pids[f"runner host {first}"] = stack.enter_context(running_host(mesh, checkout, here, first, port))
            engines.append(f"http://127.0.0.1:{port}/metrics")
        wait_for_runners(mesh, count)
        yield Crowd(revision, count, mesh, pids, engines)


@contextmanager
def running_host(mesh: RunningMesh, checkout: Path, count: int, first: int, port: int) -> Iterator[int]:
    """Starts a process with many runners; yields its ID."""
    settings = {f"TIERMESH_RUNNER_{name}": value for name, value in mesh.etcd.items()}
    settings |= {"TIERMESH_RUNNER_ENGINE": "simulated", "TIERMESH_RUNNER_SLOTS": str(_SLOTS)}
    settings["TIERMESH_RUNNER_CONTEXT"] = "32768"
    yield from _running([str(_HOST), str(count), str(first), str(port)], checkout, settings)


@contextmanager
def running_router(mesh: RunningMesh, checkout: Path) -> Iterator[int]:
    """Starts a router that no edge asks; yields its ID."""
    settings = {f"TIERMESH_ROUTER_{name}": value for name, value in mesh.etcd.items()}
    settings |= {f"TIERMESH_ROUTER_{name}": f"127.0.0.1:{free_port()}" for name in ("LISTEN", "ADMIN_LISTEN")}
    yield from _running(["-m", "services.router"], checkout, settings)


def _running(arguments: list[str], checkout: Path, settings: dict[str, str]) -> Iterator[int]:
    environment = os.environ | settings | {"PYTHONPATH": str(checkout)}
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=checkout,
    )
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


if __name__ == "__main__":
    main()

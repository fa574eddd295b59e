"""Prints what a unary request costs with several numbers of runners: `python -m bench.scale.runners`.

The meshes run at once and are measured in turn, with the bare relay between them. The further runners share a few
processes. A second router, which places nothing, shows what a replica of the router costs for hearing every runner.
`--against` measures another revision of git in the same rounds.

The runners are part of the sum, without what their engines do. In a deployment each has a machine of its own, whose
processors are busy with little else, so the sum without them is shown too. What runners, routers and etcd tell each
other at rest is spent by the second and not by the request, so it weighs more the fewer requests a machine can do. It
is measured apart, before the rounds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.comparison.checkout import checkouts
from bench.comparison.report import add_figures, cost_table, round_line
from bench.comparison.rounds import Round, Rounds, run_rounds
from bench.cost import Load, MeteredMesh, Sample, running_client, running_relay
from bench.machine import header
from bench.mesh import HERE, RunningMesh, engine_cpu_seconds, free_port, running_mesh, wait_for_runners
from bench.processes import cpu_seconds

_HOST = HERE / "bench" / "scale" / "runners" / "host.py"
_RUNNERS_A_PROCESS = 50
_SLOTS = 64
_RUNNERS = frozenset({"runners"})
# For how long all meshes are measured at rest, in seconds.
_REST = 5.0
# The router that places nothing.
_LISTENER = "second router"


@dataclass
class Crowd:
    """A mesh with many runners, measured in turn with others."""

    revision: str
    count: int
    metered: MeteredMesh
    # CPU-milliseconds of a second at rest by process.
    rest: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{self.count} runners, {self.revision}"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale.runners", description=__doc__)
    parser.add_argument("--runners", default="1,10,100", help="how many runners, comma-separated")
    parser.add_argument("--requests", type=int, default=500, help="requests of each mesh in a round")
    parser.add_argument("--in-flight", type=int, default=32, help="requests in flight")
    parser.add_argument("--rate", type=float, default=0.0,
                        help="requests a second at random moments, in place of those in flight")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--against", metavar="REVISION", help="measure a revision of git in the same rounds")
    arguments = parser.parse_args()
    console = Console(width=160)
    console.print(header(), soft_wrap=True)
    rate = arguments.rate
    load = Load(arguments.requests, _SLOTS if rate else arguments.in_flight, rate=rate, bursts=not rate)
    coming = f"at random moments, {rate:g} a second" if rate else f"in bursts, {arguments.in_flight} in flight"
    with ExitStack() as stack:
        crowds = [
            stack.enter_context(running_crowd(revision, checkout, int(count)))
            for revision, checkout in stack.enter_context(checkouts(arguments.against)).items()
            for count in arguments.runners.split(",")
        ]
        relay = stack.enter_context(running_relay())
        for crowd in crowds:
            # Until a runner has had as many requests as it has slots, it tells of each at once.
            crowd.metered.send(load, max(load.requests, crowd.count * _SLOTS * 3 // 2))
        relay.measure(load)
        measure_rest(crowds)
        rounds: list[Round] = []
        measures = {crowd.name: partial(crowd.metered.measure, load) for crowd in crowds}
        for each in run_rounds(arguments.rounds, partial(relay.measure, load), measures):
            rounds.append(each)
            console.print(f"round {len(rounds)} of {arguments.rounds}: {round_line(each)}", highlight=False)
    console.print(crowds_table(rounds, crowds, coming))


def measure_rest(crowds: list[Crowd]) -> None:
    """Measures all meshes at once while nobody asks them anything."""
    before = [crowd.metered.used() for crowd in crowds]
    time.sleep(_REST)
    for crowd, used in zip(crowds, before, strict=True):
        crowd.rest = {name: (seconds - used[name]) * 1000 / _REST for name, seconds in crowd.metered.used().items()}


def crowds_table(rounds: list[Round], crowds: list[Crowd], coming: str) -> Table:
    """Returns the medians of all rounds; `coming` says how the requests came."""
    found, by_name = Rounds(rounds), {crowd.name: crowd for crowd in crowds}
    table = cost_table(rounds, list(by_name), f"CPU-ms of a unary request, {coming}")

    def add(what: str, figure: Callable[[Crowd], float]) -> None:
        add_figures(table, list(by_name), what, lambda name: figure(by_name[name]))

    def fewest(crowd: Crowd) -> str:
        return next(other for other in crowds if other.revision == crowd.revision).name

    add("mesh ÷ that with the fewest runners", lambda crowd: found.ratio(crowd.name, fewest(crowd)))
    add(
        "the same without runners, which have machines of their own",
        lambda crowd: found.ratio(crowd.name, fewest(crowd), _RUNNERS),
    )
    if crowds[0].revision != crowds[-1].revision:
        # The same number of runners at the revision that was measured beside this.
        last = {crowd.count: crowd.name for crowd in crowds}
        add(f"mesh ÷ {crowds[-1].revision}, in a round", lambda crowd: found.ratio(crowd.name, last[crowd.count]))
    add("a router of two ÷ the only one", lambda crowd: found.of(crowd.name, _shared))
    add("at rest, CPU-ms a second: mesh", lambda crowd: Sample(crowd.rest, 0.0, 0.0).total())
    for process in ("router", "runners", "etcd"):
        add(f"at rest: {process}", lambda crowd: crowd.rest[process])  # noqa: B023 - called at once
    return table


def _shared(sample: Sample) -> float:
    """Returns the work of each of two routers beside that of one: both hear every runner, each places half."""
    placing, hearing = sample.cpu["router"], sample.cpu[_LISTENER]
    return (hearing + (placing - hearing) / 2) / placing


def _used(pids: Mapping[str, int], engines: Sequence[str]) -> dict[str, float]:
    """Returns the CPU seconds so far by process, those of all runners together, without what their engines do."""
    used = {"runners": 0.0}
    for name, seconds in cpu_seconds(pids).items():
        role = "runners" if name.startswith("runner") else name
        used[role] = used.get(role, 0.0) + seconds
    used["runners"] -= sum(engine_cpu_seconds(url) for url in engines)
    return used


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
        client = stack.enter_context(running_client())
        yield Crowd(revision, count, MeteredMesh(mesh, client, lambda: _used(pids, engines)))


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

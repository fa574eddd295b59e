"""Prints what many slow streams on one edge cost, and how even they are: `python -m bench.scale.streams`.

Each stream gets a few tokens a second. A gap is the time between two tokens of a stream, as its client sees it, and is
measured while all streams are open. The same streams go through the bare relay, in turn. The client and the simulated
engine, whose work is part of the runner's, are on the same cores. Memory is the most that each process grew by while
all streams were open.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

import aiohttp
import uvloop
from rich.console import Console
from rich.table import Table

from bench.comparison.checkout import checkouts
from bench.cost import MODEL, running_relay
from bench.load import Order, request_body
from bench.machine import header
from bench.mesh import running_mesh
from bench.processes import cpu_seconds, rss_megabytes

# Streams that are opened at a time, so that the kernel's queue of connections does not overflow.
OPENED_AT_ONCE = 200
# Between two looks at the memory, in seconds.
LOOK_SECONDS = 1.0
_RELAY = "bare relay"
_SHARES = {"median": 0.5, "p99": 0.99, "longest": 1.0}
# The processes that have each stream open and send each token on.
_TOLD = frozenset({"edge", "runner-pro", _RELAY})


@dataclass
class Seen:
    """What the clients have seen: seconds to the first token, and between two of one stream while all were open."""

    streams: int
    first: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    complete: int = 0

    @property
    def all_open(self) -> bool:
        """Whether every stream has begun and none has ended."""
        return len(self.first) == self.streams and not self.complete


@dataclass(frozen=True)
class Target:
    """What serves the streams: a mesh, or the bare relay."""

    url: str
    api_key: str
    pids: Mapping[str, int]


@dataclass(frozen=True)
class Costs:
    """CPU-milliseconds of a stream, and kilobytes of memory for each open one, by process."""

    cpu: Mapping[str, float]
    memory: Mapping[str, float]

    @property
    def total(self) -> float:
        """The CPU-milliseconds of all processes together, what the simulated engine does included."""
        return sum(self.cpu.values())


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale.streams", description=__doc__)
    parser.add_argument("--streams", default="1000,4000", help="how many, comma-separated")
    parser.add_argument("--speed", type=float, default=1.0, help="tokens a second of each stream")
    parser.add_argument("--tokens", type=int, default=60, help="tokens of each stream")
    parser.add_argument("--rounds", type=int, default=1, help="how often each is measured")
    parser.add_argument("--against", metavar="REVISION", help="measure a revision of git in the same rounds")
    arguments = parser.parse_args()
    console = Console()
    console.print(header(), soft_wrap=True)
    for count in map(int, arguments.streams.split(",")):
        settings = {
            "TIERMESH_RUNNER_SIMULATED_SPEED": str(arguments.speed),
            "TIERMESH_ROUTER_MOST_SLOTS": str(count),
        }
        with ExitStack() as stack:
            relay = stack.enter_context(running_relay(arguments.speed))
            targets = {_RELAY: Target(relay.url, "none", {_RELAY: relay.pid})}
            for name, checkout in stack.enter_context(checkouts(arguments.against)).items():
                mesh = stack.enter_context(running_mesh(slots=count, checkout=checkout, settings=settings))
                targets[name] = Target(mesh.base_url + "/chat/completions", mesh.api_key, mesh.pids)
            found: dict[str, list[tuple[Seen, Costs]]] = {name: [] for name in targets}
            for number in range(arguments.rounds):
                for name in targets if number % 2 else reversed(targets):
                    found[name].append(uvloop.run(measure(targets[name], count, arguments.tokens)))
        title = f"{count} streams of {arguments.tokens} tokens, {arguments.speed:g} a second each"
        console.print(streams_table(title, found, arguments.tokens))


def streams_table(title: str, found: Mapping[str, list[tuple[Seen, Costs]]], tokens: int) -> Table:
    """Returns the medians of all rounds, a column for each target."""
    relays = [costs.total for _, costs in found[_RELAY]]
    columns = {
        name: [figures(*each, tokens, relay) for each, relay in zip(rounds, relays, strict=True)]
        for name, rounds in found.items()
    }
    table = Table("", *columns, title=title)
    for what in dict.fromkeys(what for rounds in columns.values() for what in rounds[0]):
        cells = (
            f"{median(each[what] for each in rounds):g}" if what in rounds[0] else "" for rounds in columns.values()
        )
        table.add_row(what, *cells)
    return table


def figures(seen: Seen, costs: Costs, tokens: int, relay: float) -> dict[str, float]:
    """Returns what one measurement has shown, beside what the relay has cost in its round."""
    found: dict[str, float] = {"complete": seen.complete}
    for what, ordered in ("first token", seen.first), ("gap", seen.gaps):
        found |= {f"{what}, {name}, ms": round(part(ordered, share)) for name, share in _SHARES.items()}
    found |= {f"{process}: CPU-ms of a stream": round(cost, 3) for process, cost in sorted(costs.cpu.items())}
    for process in costs.cpu.keys() & _TOLD:
        found[f"{process}: µs of CPU a token"] = round(costs.cpu[process] * 1000 / tokens, 1)
        found[f"{process}: kB a stream"] = round(costs.memory[process], 1)
    found["all processes: CPU-ms of a stream"] = round(costs.total, 3)
    found["all processes ÷ relay"] = round(costs.total / relay, 2)
    return found


async def measure(target: Target, count: int, tokens: int) -> tuple[Seen, Costs]:
    """Reads so many streams at once to their end."""
    seen, opening = Seen(count), asyncio.Semaphore(OPENED_AT_ONCE)
    memory, used = rss_megabytes(target.pids), cpu_seconds(target.pids)
    peak = dict.fromkeys(memory, 0.0)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:
        streams = [asyncio.create_task(read(session, target, opening, seen, tokens)) for _ in range(count)]
        reading = asyncio.gather(*streams)
        while not reading.done():
            await asyncio.wait([reading], timeout=LOOK_SECONDS)
            if seen.all_open:
                peak = {name: max(peak[name], size) for name, size in rss_megabytes(target.pids).items()}
        await reading
    if not seen.gaps:
        raise RuntimeError("the streams were never all open: let them have more --tokens")
    seen.first.sort()
    seen.gaps.sort()
    cpu = {name: (seconds - used[name]) * 1000 / count for name, seconds in cpu_seconds(target.pids).items()}
    return seen, Costs(cpu, {name: (peak[name] - memory[name]) * 1000 / count for name in memory})


async def read(
    session: aiohttp.ClientSession, target: Target, opening: asyncio.Semaphore, seen: Seen, tokens: int
) -> None:
    """Reads one stream to its end."""
    order = Order(url=target.url, api_key=target.api_key, model=MODEL, requests=1, in_flight=1, stream=True,
                  max_tokens=tokens)  # fmt: skip
    headers = {"Authorization": f"Bearer {target.api_key}", "Content-Type": "application/json"}
    last = 0.0
    await opening.acquire()
    began = time.perf_counter()
    try:
        async with session.post(target.url, data=request_body(order), headers=headers) as response:
            response.raise_for_status()
            async for line in response.content:
                now = time.perf_counter()
                if line.startswith(b"data: [DONE]"):
                    seen.complete += 1
                elif line.startswith(b"data: ") and b'"content":' in line:
                    if last:
                        if seen.all_open:
                            seen.gaps.append(now - last)
                    else:
                        seen.first.append(now - began)
                        opening.release()
                    last = now
    finally:
        if not last:
            opening.release()


def part(ordered: list[float], share: float) -> float:
    """Returns the milliseconds below which a share of them lie."""
    return ordered[int(share * (len(ordered) - 1))] * 1000


if __name__ == "__main__":
    main()

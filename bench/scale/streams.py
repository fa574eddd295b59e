"""Prints what many slow streams on one edge cost, and how even they are: `python -m bench.scale.streams`.

Each stream gets a few tokens a second. A gap is the time between two tokens of a stream, as its client sees it, and is
measured while all streams are open. The client and the simulated engine are on the same cores. Memory is the most that
each process grew by while all streams were open.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from dataclasses import dataclass, field

import aiohttp
import uvloop

from bench.load import Order, request_body
from bench.machine import describe_machine
from bench.mesh import RunningMesh, running_mesh
from bench.processes import cpu_seconds, rss_megabytes

MODEL = "tiermesh-pro"
# Streams that are opened at a time, so that the kernel's queue of connections does not overflow.
OPENED_AT_ONCE = 200
# Between two looks at the memory, in seconds.
LOOK_SECONDS = 1.0


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


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale.streams", description=__doc__)
    parser.add_argument("--streams", default="1000,4000", help="how many, comma-separated")
    parser.add_argument("--speed", type=float, default=1.0, help="tokens a second of each stream")
    parser.add_argument("--tokens", type=int, default=60, help="tokens of each stream")
    arguments = parser.parse_args()
    print(describe_machine())
    for count in map(int, arguments.streams.split(",")):
        settings = {
            "TIERMESH_RUNNER_SIMULATED_SPEED": str(arguments.speed),
            "TIERMESH_ROUTER_MOST_SLOTS": str(count),
        }
        with running_mesh(slots=count, settings=settings) as mesh:
            uvloop.run(measure(mesh, count, arguments.speed, arguments.tokens))


async def measure(mesh: RunningMesh, count: int, speed: float, tokens: int) -> None:
    seen, opening = Seen(count), asyncio.Semaphore(OPENED_AT_ONCE)
    memory, used = rss_megabytes(mesh.pids), cpu_seconds(mesh.pids)
    peak = dict.fromkeys(memory, 0.0)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:
        streams = [asyncio.create_task(read(session, mesh, opening, seen, tokens)) for _ in range(count)]
        reading = asyncio.gather(*streams)
        while not reading.done():
            await asyncio.wait([reading], timeout=LOOK_SECONDS)
            if seen.all_open:
                peak = {name: max(peak[name], size) for name, size in rss_megabytes(mesh.pids).items()}
        await reading
    spent = {name: seconds - used[name] for name, seconds in cpu_seconds(mesh.pids).items()}
    if not seen.gaps:
        raise RuntimeError("the streams were never all open: let them have more --tokens")
    seen.first.sort()
    seen.gaps.sort()
    print(f"{count} streams of {tokens} tokens, {speed:g} a second each; {seen.complete} were complete")
    print(f"  first token after {part(seen.first, 0.5)} (median), {part(seen.first, 0.99)} (p99)")
    print(f"  gap {part(seen.gaps, 0.5)} (median), {part(seen.gaps, 0.99)} (p99), {part(seen.gaps, 1.0)} (longest)")
    for name in ("edge", "runner-pro"):
        grown = (peak[name] - memory[name]) * 1000 / count
        print(f"  {name}: {grown:.1f} kB a stream and {spent[name] * 1e6 / count / tokens:.0f} µs of CPU a token")


async def read(
    session: aiohttp.ClientSession, mesh: RunningMesh, opening: asyncio.Semaphore, seen: Seen, tokens: int
) -> None:
    """Reads one stream to its end."""
    url = mesh.base_url + "/chat/completions"
    order = Order(url=url, api_key=mesh.api_key, model=MODEL, requests=1, in_flight=1, stream=True, max_tokens=tokens)
    headers = {"Authorization": f"Bearer {mesh.api_key}", "Content-Type": "application/json"}
    last = 0.0
    await opening.acquire()
    began = time.perf_counter()
    try:
        async with session.post(url, data=request_body(order), headers=headers) as response:
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


def part(ordered: list[float], share: float) -> str:
    """Returns the figure below which a share of them lie."""
    return f"{ordered[int(share * (len(ordered) - 1))] * 1000:.0f} ms"


if __name__ == "__main__":
    main()

"""CPU time for each request and each stream."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from bench.load import Order, Result
from bench.mesh import RunningMesh, free_port
from bench.processes import cpu_seconds, rss_megabytes

TOKENS = 64


@dataclass(frozen=True)
class Cost:
    """CPU-milliseconds for one request, and resident megabytes after all of them, by process."""

    cpu: dict[str, float]
    rss: dict[str, float]
    result: Result


def send(order: Order) -> Result:
    """Runs the load client in a process of its own; raises if any request failed."""
    command = [sys.executable, "-m", "bench.load"]
    done = subprocess.run(command, input=msgspec.json.encode(order), stdout=subprocess.PIPE, check=True)
    result = Result(**json.loads(done.stdout))
    if result.failed:
        raise RuntimeError(f"{result.failed} of {result.failed + result.answered} requests failed")
    return result


def measure_mesh(mesh: RunningMesh, count: int, in_flight: int, *, stream: bool) -> Cost:
    """Measures `count` requests; a tenth as many before them only warm the mesh up."""

    def order(count: int) -> Order:
        url = mesh.base_url + "/chat/completions"
        return Order(url=url, api_key=mesh.api_key, model="tiermesh-pro", requests=count, in_flight=in_flight,
                     stream=stream, max_tokens=TOKENS if stream else 1)  # fmt: skip

    send(order(max(count // 10, in_flight)))
    before = _cpu_seconds(mesh)
    result = send(order(count))
    after = _cpu_seconds(mesh)
    cpu = {name: (after[name] - before[name]) * 1000 / count for name in after}
    return Cost(cpu, rss_megabytes(mesh.pids), result)


def _cpu_seconds(mesh: RunningMesh) -> dict[str, float]:
    """Returns the CPU time of each process, the engine's own apart from its runner's."""
    used = cpu_seconds(mesh.pids)
    used["engine"] = mesh.engine_cpu_seconds()
    used["runner-pro"] -= used["engine"]
    return used


def measure_relay(requests: int, streams: int, in_flight: int, python: str = sys.executable) -> tuple[float, float]:
    """Returns the bare relay's CPU-milliseconds for one request and for one stream."""
    with running_relay(python) as relay:
        return relay.measure(requests, in_flight, stream=False), relay.measure(streams, in_flight, stream=True)


@dataclass(frozen=True)
class RunningRelay:
    """The bare relay, in front of its server of canned answers."""

    url: str
    pid: int

    def measure(self, count: int, in_flight: int, *, stream: bool) -> float:
        """Returns its CPU-milliseconds for one of `count` requests."""
        order = Order(url=self.url, api_key="none", model="none", requests=count, in_flight=in_flight, stream=stream,
                      max_tokens=TOKENS if stream else 1)  # fmt: skip
        before = cpu_seconds({"relay": self.pid})["relay"]
        send(order)
        return (cpu_seconds({"relay": self.pid})["relay"] - before) * 1000 / count


@contextmanager
def running_relay(python: str = sys.executable) -> Iterator[RunningRelay]:
    """Starts the relay, which the interpreter at the path `python` runs, and its server, and stops them at the end."""
    upstream_port, port = str(free_port()), str(free_port())
    command = ["-m", "bench.relay"]
    processes = [
        subprocess.Popen([sys.executable, *command, "upstream", upstream_port]),
        subprocess.Popen([python, *command, "relay", port, upstream_port]),
    ]
    try:
        for each in (upstream_port, port):
            _wait_until_listening(f"http://127.0.0.1:{each}/")
        yield RunningRelay(f"http://127.0.0.1:{port}/v1/chat/completions", processes[1].pid)
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def _wait_until_listening(url: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url)
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nothing listens at {url}")

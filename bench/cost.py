"""CPU time of a request: what is sent, what has served it, and what that has spent."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from bench.load import Order, Result
from bench.mesh import RunningMesh, free_port, metric
from bench.pace import STREAM_SPEED
from bench.processes import cpu_seconds

TOKENS = 64
MODEL = "tiermesh-pro"
# What serves requests in a bench, and is no part of the mesh whose cost is told.
NOT_MESH = frozenset({"engine", "second router"})


class Load(NamedTuple):
    """How much is sent in one round, and how: see `bench.load`."""

    requests: int
    in_flight: int
    stream: bool = False
    rate: float = 0.0
    bursts: bool = False

    def order(self, url: str, api_key: str, requests: int | None = None) -> Order:
        """Returns the order for the load client."""
        return Order(url=url, api_key=api_key, model=MODEL, requests=requests or self.requests,
                     in_flight=self.in_flight, stream=self.stream, max_tokens=TOKENS if self.stream else 1,
                     rate=self.rate, bursts=self.bursts)  # fmt: skip


class Sample(NamedTuple):
    """What one round has shown of a mesh, for each request: CPU-milliseconds by process, and answers a second.

    `operations` is how many operations of the ledger shared a transaction: 1 if requests come far apart.
    """

    cpu: Mapping[str, float]
    rate: float
    operations: float

    def total(self, without: frozenset[str] = frozenset()) -> float:
        """Returns the sum over the processes of the mesh, perhaps without some."""
        return sum(cost for name, cost in self.cpu.items() if name not in NOT_MESH | without)


class LoadClient:
    """A load client in a process of its own, which keeps its connections."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "bench.load"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def send(self, order: Order) -> Result:
        """Sends what an order says; raises if any request failed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the load client has failed; its error is above")
        result = Result(**json.loads(line))
        if result.failed:
            raise RuntimeError(f"{result.failed} of {result.failed + result.answered} requests failed")
        return result

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()


@contextmanager
def running_client() -> Iterator[LoadClient]:
    """Starts a load client, and ends it at the end."""
    client = LoadClient()
    try:
        yield client
    finally:
        client.close()


def send(order: Order) -> Result:
    """Does one order with a load client of its own; raises if any request failed."""
    with running_client() as client:
        return client.send(order)


@dataclass(frozen=True)
class MeteredMesh:
    """A mesh, what sends it requests, and what tells the CPU seconds that each of its processes has used so far."""

    mesh: RunningMesh
    client: LoadClient
    used: Callable[[], Mapping[str, float]]

    def measure(self, load: Load) -> Sample:
        """Measures a round."""
        before, operations = self.used(), self._operations()
        result = self.send(load)
        after = self.used()
        cpu = {name: (after[name] - before[name]) * 1000 / load.requests for name in after}
        in_transactions, transactions = (now - then for now, then in zip(self._operations(), operations, strict=True))
        return Sample(cpu, result.answered / result.seconds, in_transactions / transactions)

    def send(self, load: Load, requests: int | None = None) -> Result:
        """Sends requests without measuring anything but them."""
        url = self.mesh.base_url + "/chat/completions"
        return self.client.send(load.order(url, self.mesh.api_key, requests))

    def _operations(self) -> tuple[float, float]:
        name = "tiermesh_billing_commit_operations"
        return tuple(metric(self.mesh.metrics["billing"], f"{name}_{part}") for part in ("sum", "count"))  # type: ignore[return-value]  # Two.


@contextmanager
def metered(mesh: RunningMesh) -> Iterator[MeteredMesh]:
    """Gives a mesh a load client of its own."""
    with running_client() as client:
        yield MeteredMesh(mesh, client, lambda: _cpu_seconds(mesh))


def _cpu_seconds(mesh: RunningMesh) -> dict[str, float]:
    """Returns the CPU time of each process, the engine's own apart from its runner's."""
    used = cpu_seconds(mesh.pids)
    used["engine"] = mesh.engine_cpu_seconds()
    used["runner-pro"] -= used["engine"]
    return used


@dataclass(frozen=True)
class RunningRelay:
    """The bare relay, in front of its server of canned answers."""

    url: str
    pid: int
    client: LoadClient

    def measure(self, load: Load) -> float:
        """Returns its CPU-milliseconds for a request."""
        before = cpu_seconds({"relay": self.pid})["relay"]
        self.client.send(load.order(self.url, "none"))
        return (cpu_seconds({"relay": self.pid})["relay"] - before) * 1000 / load.requests


@contextmanager
def running_relay(speed: float = STREAM_SPEED, python: str = sys.executable) -> Iterator[RunningRelay]:
    """Starts the relay and its server, and stops them at the end.

    The server's streams have `speed` tokens a second. The interpreter at the path `python` runs the relay.
    """
    upstream_port, port = str(free_port()), str(free_port())
    command = ["-m", "bench.relay"]
    processes = [
        subprocess.Popen([sys.executable, *command, "upstream", upstream_port, str(speed)]),
        subprocess.Popen([python, *command, "relay", port, upstream_port]),
    ]
    try:
        for each in (upstream_port, port):
            _wait_until_listening(f"http://127.0.0.1:{each}/")
        with running_client() as client:
            yield RunningRelay(f"http://127.0.0.1:{port}/v1/chat/completions", processes[1].pid, client)
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

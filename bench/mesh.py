"""A whole mesh, started by the same command that a person uses."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0


@dataclass(frozen=True)
class RunningMesh:
    """How to reach a mesh; the key has no rate limit."""

    base_url: str
    api_key: str
    pids: dict[str, int]
    metrics: dict[str, str]
    state: Path

    @property
    def etcd(self) -> dict[str, str]:
        """The settings by which a further runner reaches etcd."""
        mesh = self._facts()
        return {
            "ETCD_ENDPOINTS": mesh["addresses"]["etcd"],
            "ETCD_USERNAME": "root",
            "ETCD_PASSWORD": mesh["etcd_password"],
        }

    @property
    def addresses(self) -> dict[str, str]:
        """Where each service listens."""
        addresses: dict[str, str] = self._facts()["addresses"]
        return addresses

    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads((self.state / "mesh.json").read_text())
        return facts

    def engine_cpu_seconds(self) -> float:
        """Returns the CPU time of the engine's own work, which is not the mesh's."""
        return engine_cpu_seconds(self.metrics["runner-pro"])


def engine_cpu_seconds(metrics_url: str) -> float:
    """Returns the CPU time that the engines of a process have used for their own work."""
    return metric(metrics_url, "tiermesh_runner_engine_cpu_seconds")


def metric(metrics_url: str, name: str) -> float:
    """Returns a metric without labels of a process."""
    with urllib.request.urlopen(metrics_url) as response:
        for line in response.read().decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
    raise RuntimeError(f"the process at {metrics_url} has no metric {name}")


def free_port() -> int:
    """Returns a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_mesh(
    *,
    slots: int,
    engine: str = "simulated",
    checkout: Path = HERE,
    python: str = sys.executable,
    settings: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
) -> Iterator[RunningMesh]:
    """Starts `tiermesh up` with an engine and a fresh state directory, and stops it at the end.

    Its code is that of the checkout, and the interpreter at the path `python` runs all of it. `settings` join the
    environment, and `options` the command.
    """
    # What a process runs by name it finds in its folder first, and what it imports otherwise on this path.
    environment = os.environ | dict(settings or {}) | {"PYTHONPATH": str(checkout)}
    with tempfile.TemporaryDirectory(prefix="tiermesh-bench-") as folder:
        state, ready = Path(folder) / "state", Path(folder) / "ready.json"
        tiermesh = [python, "-m", "services.cli"]
        command = [*tiermesh, "up", "--engine", engine, "--tier", "pro", "--slots", str(slots), "--port", "0"]
        command += ["--state-dir", str(state), "--ready-file", str(ready), *options]
        with (Path(folder) / "up.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=checkout)
            try:
                _wait_until_ready(process, ready, Path(folder) / "up.log")
                yield _describe(tiermesh, ready, state, environment, checkout)
            finally:
                process.terminate()
                process.wait(60)


def wait_for_runners(mesh: RunningMesh, count: int) -> None:
    """Waits until the mesh's router can place requests on so many runners."""
    deadline = time.monotonic() + START_SECONDS
    wanted = f'tiermesh_router_runners{{state="ready",tier="pro"}} {count}.0'
    while wanted not in urllib.request.urlopen(mesh.metrics["router"]).read().decode():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{count} runners were not ready in time")
        time.sleep(0.1)


def _wait_until_ready(process: subprocess.Popen[bytes], ready: Path, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the mesh did not start:\n{log.read_text()}")
        time.sleep(0.05)


def _describe(
    tiermesh: list[str], ready: Path, state: Path, environment: dict[str, str], checkout: Path
) -> RunningMesh:
    facts = json.loads(ready.read_text())
    create = [*tiermesh, "key", "create", facts["account_id"], "--rpm", "0", "--state-dir", str(state), "--json"]
    created = subprocess.run(create, check=True, capture_output=True, env=environment, cwd=checkout)
    key = json.loads(created.stdout)
    return RunningMesh(facts["base_url"], key["api_key"], facts["pids"], facts["metrics"], state)

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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TIERMESH = str(Path(sys.executable).with_name("tiermesh"))
START_SECONDS = 60.0


@dataclass(frozen=True)
class RunningMesh:
    """How to reach a mesh; the key has no rate limit."""

    base_url: str
    api_key: str
    pids: dict[str, int]
    metrics: dict[str, str]
    # The settings by which a further runner reaches etcd.
    etcd: dict[str, str]
    # Where each service listens.
    addresses: dict[str, str]

    def engine_cpu_seconds(self) -> float:
        """Returns the CPU time of the engine's own work, which is not the mesh's."""
        with urllib.request.urlopen(self.metrics["runner-pro"]) as response:
            for line in response.read().decode().splitlines():
                if line.startswith("tiermesh_runner_engine_cpu_seconds "):
                    return float(line.split()[1])
        raise RuntimeError("the runner does not tell its engine's CPU time")


def free_port() -> int:
    """Returns a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_mesh(*, slots: int, engine: str = "simulated", **settings: str) -> Iterator[RunningMesh]:
    """Starts `tiermesh up` with an engine and a fresh state directory, and stops it at the end.

    `settings` join the environment.
    """
    with tempfile.TemporaryDirectory(prefix="tiermesh-bench-") as folder:
        state, ready = Path(folder) / "state", Path(folder) / "ready.json"
        command = [TIERMESH, "up", "--engine", engine, "--tier", "pro", "--slots", str(slots), "--port", "0"]
        command += ["--state-dir", str(state), "--ready-file", str(ready)]
        with (Path(folder) / "up.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | settings)
            try:
                yield _describe(process, ready, state, Path(folder) / "up.log")
            finally:
                process.terminate()
                process.wait(60)


def _describe(process: subprocess.Popen[bytes], ready: Path, state: Path, log: Path) -> RunningMesh:
    deadline = time.monotonic() + START_SECONDS
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the mesh did not start:\n{log.read_text()}")
        time.sleep(0.05)
    facts = json.loads(ready.read_text())
    create = [TIERMESH, "key", "create", facts["account_id"], "--rpm", "0", "--state-dir", str(state), "--json"]
    key = json.loads(subprocess.run(create, check=True, capture_output=True).stdout)
    mesh = json.loads((state / "mesh.json").read_text())
    etcd = {
        "ETCD_ENDPOINTS": mesh["addresses"]["etcd"],
        "ETCD_USERNAME": "root",
        "ETCD_PASSWORD": mesh["etcd_password"],
    }
    return RunningMesh(facts["base_url"], key["api_key"], facts["pids"], facts["metrics"], etcd, mesh["addresses"])

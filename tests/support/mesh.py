"""A whole mesh, started as a user does: `tiermesh up` with the options of the test."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
import psutil

from services.cli.state import certificate_files
from tests.support.commands import run_forked
from tests.support.deadlines import stretched
from tests.support.waiting import eventually

TIERMESH = str(Path(sys.executable).with_name("tiermesh"))
START_SECONDS = 90.0
STOP_SECONDS = 60.0
_COMMAND_SECONDS = 30.0
# Set, it makes every mesh of the tests run with mutual TLS.
TLS_VARIABLE = "TIERMESH_TEST_TLS"
_SHOWN_LOG_CHARACTERS = 4000


class LocalMesh:
    """One `tiermesh up` with its files under `directory`; `with` or `async with` starts and stops it.

    It runs the simulated engine on a free port unless `options` say otherwise, with a runner for each of `tiers`;
    without any, for every tier that this machine can serve. `environ` is added to the environment: settings such as
    TIERMESH_RUNNER_SIMULATED_SPEED go there. Nothing belongs to an event loop, so a fixture of any
    scope may start it with `asyncio.run(mesh.start())`. What it wrote is printed when it stops, which pytest shows for
    tests that failed.
    """

    def __init__(
        self,
        directory: Path,
        *options: str,
        tiers: Sequence[str] = ("pro",),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.state_dir = directory / "state"
        self.ready_file = directory / "ready.json"
        self.output_file = directory / "up.log"
        tls = ("--tls",) if os.environ.get(TLS_VARIABLE) and "--tls" not in options else ()
        # Only tests of the console pay for its start.
        console = () if "--console-port" in options else ("--no-console",)
        self._options = (*options, *tls, *console, *(word for tier in tiers for word in ("--tier", tier)))
        self._environ = {**os.environ, **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None
        # How long its last start took, in seconds.
        self.start_seconds = 0.0

    @property
    def base_url(self) -> str:
        """For OpenAI's clients, with /v1."""
        return str(self._ready()["base_url"])

    @property
    def api_key(self) -> str:
        """The local account's key, limited to 60 requests a minute; `create_key` makes others."""
        return str(self._ready()["api_key"])

    @property
    def account_id(self) -> str:
        """The local account."""
        return str(self._ready()["account_id"])

    @property
    def console_url(self) -> str:
        """The web console; empty unless the mesh has the option --console-port."""
        return str(self._ready()["console_url"])

    @property
    def console_key(self) -> str:
        """The local account's key that signs in to the console."""
        return str(self._ready()["console_key"])

    @property
    def operator_console_url(self) -> str:
        """The operators' console; empty unless the mesh has the option --console-port."""
        return str(self._ready()["operator_console_url"])

    @property
    def operator_key(self) -> str:
        """The key of an operator."""
        return str(self._ready()["operator_key"])

    @property
    def pids(self) -> dict[str, int]:
        """The process ids now, by service."""
        return dict(self._ready()["pids"])

    @property
    def metrics(self) -> dict[str, str]:
        """The URLs for Prometheus, by service."""
        return dict(self._ready()["metrics"])

    @property
    def output(self) -> str:
        """What `tiermesh up` has printed, standard error included."""
        return self.output_file.read_text(errors="replace")

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process of `tiermesh up`."""
        assert self._process is not None, "the mesh was not started"
        return self._process

    async def start(self) -> None:
        """Starts it, with the state that is there, and waits until it serves."""
        began = time.monotonic()
        self.spawn()
        try:
            await eventually(lambda: self.ready_file.exists() or self.process.poll() is not None, START_SECONDS)
            assert self.process.poll() is None, "tiermesh up ended while it started"
            self.start_seconds = time.monotonic() - began
        except BaseException:
            self.dump()
            await self.kill_all()
            raise

    def spawn(self) -> None:
        """Starts it without waiting."""
        # One that was killed leaves its ready file, which must not be taken for the new one's.
        self.ready_file.unlink(missing_ok=True)
        options = ["--port", "0", "--engine", "simulated", *self._options]
        files = ["--state-dir", str(self.state_dir), "--ready-file", str(self.ready_file)]
        with self.output_file.open("ab") as output:
            self._process = subprocess.Popen(
                [TIERMESH, "up", *options, *files],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environ,
            )

    async def stop(self) -> int:
        """Ends it by SIGINT, as Ctrl-C does, and returns its exit status."""
        self.process.send_signal(signal.SIGINT)
        code = await asyncio.to_thread(self.process.wait, stretched(STOP_SECONDS))
        self.dump()
        return code

    async def kill_all(self) -> None:
        """Ends `tiermesh up` by SIGKILL; the kernel ends its children."""
        self.process.kill()
        await asyncio.to_thread(self.process.wait, stretched(STOP_SECONDS))

    def kill(self, service: str) -> int:
        """Kills one service by SIGKILL and returns the id of the process that is no more."""
        pid = self.pids[service]
        os.kill(pid, signal.SIGKILL)
        return pid

    async def until_restarted(self, service: str, old_pid: int, timeout: float = START_SECONDS) -> None:
        """Waits until the service has a new process; whether that serves already is for the test to find out."""
        await eventually(lambda: self.pids[service] != old_pid, timeout)

    async def command(self, *arguments: str) -> Any:
        """Runs a management command on this mesh and returns what its JSON says; fails the test if it fails."""
        return await asyncio.to_thread(self.command_now, *arguments)

    def command_now(self, *arguments: str) -> Any:
        """The same for tests and fixtures without an event loop."""
        done = run_forked(*arguments, "--state-dir", str(self.state_dir), "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    async def run_command(
        self, *arguments: str, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a management command on this mesh, whatever comes of it."""
        return await run_tiermesh(*arguments, "--state-dir", str(self.state_dir), environ=environ)

    async def create_key(self, *options: str) -> str:
        """Returns a new key of the local account, such as one without a limit for `--rpm 0`."""
        return str((await self.command("key", "create", *options))["api_key"])

    @cached_property
    def unlimited_key(self) -> str:
        """A key of the local account without a rate limit, so that tests that share a mesh do not hinder each other."""
        return str(self.command_now("key", "create", "--rpm", "0")["api_key"])

    @property
    def etcd_settings(self) -> dict[str, str]:
        """The settings by which a further runner or router reaches etcd."""
        description = json.loads((self.state_dir / "mesh.json").read_bytes())
        password = description["etcd_password"]
        user = {"etcd_username": "root", "etcd_password": password} if password else {}
        return {"etcd_endpoints": self.etcd_endpoint, **user}

    @property
    def etcd_endpoint(self) -> str:
        """Where etcd listens, for further runners."""
        return self.addresses["etcd"]

    @property
    def addresses(self) -> dict[str, str]:
        """Where each service listens, for further edges."""
        return dict(json.loads((self.state_dir / "mesh.json").read_bytes())["addresses"])

    def tls_settings(self, part: str) -> dict[str, str]:
        """Returns the settings with which a further process joins the mesh by TLS; none where the mesh has it off."""
        if "--tls" not in self._options:
            return {}
        files = certificate_files(self.state_dir / "tls" / part)
        prefixes = ("tls", "etcd") if part in {"router", "runner"} else ("tls",)
        return {
            f"{prefix}_{name}": getattr(files, name)
            for prefix in prefixes
            for name in ("ca_file", "cert_file", "key_file")
        }

    def processes(self) -> list[psutil.Process]:
        """Returns the processes that run now, `tiermesh up` first; `any_alive` later tells what became of them."""
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def dump(self) -> None:
        """Prints the ends of all logs."""
        for path in (self.output_file, *sorted(self.state_dir.glob("logs/*.log"))):
            if path.exists():
                print(f"--- {path.name}\n{path.read_text(errors='replace')[-_SHOWN_LOG_CHARACTERS:]}")  # noqa: T201 - pytest shows it for tests that failed

    def _ready(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.ready_file.read_bytes())
        return content

    async def until_serving(self) -> None:
        """Waits until the edge reaches every service again and every runner is registered."""
        await eventually(self._serves, START_SECONDS)

    def _serves(self) -> bool:
        try:
            runners = self.command_now("runners")
            httpx2.get(self.metrics["edge"].replace("/metrics", "/readyz")).raise_for_status()
        except (AssertionError, httpx2.HTTPError):
            return False
        ready = [runner for runner in runners if runner["state"] == "ready"]
        return len(ready) >= len([name for name in self.pids if name.startswith("runner-")])

    def __enter__(self) -> Self:
        asyncio.run(self.start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run(self.__aexit__(kind, error, trace))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            await self.stop()


def any_alive(processes: Sequence[psutil.Process]) -> bool:
    """Tells whether one of the processes still runs; one that nobody has buried yet does not."""
    return any(_alive(process) for process in processes)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def run_tiermesh(*arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a `tiermesh` command to its end."""
    return await asyncio.to_thread(run_tiermesh_now, *arguments, environ=environ)


def run_tiermesh_now(*arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The same for tests and fixtures without an event loop."""
    return subprocess.run(
        [TIERMESH, *arguments],
        capture_output=True,
        text=True,
        timeout=stretched(_COMMAND_SECONDS),
        env={**os.environ, **(environ or {})},
        check=False,
    )

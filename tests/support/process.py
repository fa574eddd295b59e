"""A real service process, which tests may stop, kill and start again on the same addresses."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import aiohttp

from tests.support.deadlines import stretched
from tests.support.ports import free_address
from tests.support.waiting import eventually

# Importing torch on a busy machine takes long.
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0


class Child(Protocol):
    """A process that was started; `subprocess.Popen` is one."""

    @property
    def pid(self) -> int:
        """Its id."""

    def poll(self) -> int | None:
        """Returns its exit code; None while it runs."""

    def send_signal(self, number: int, /) -> None:
        """Sends a signal to it."""

    def wait(self, timeout: float | None = None) -> int:
        """Waits until it has ended, `timeout` seconds at most, and returns its exit code."""


class ServiceProcess:
    """`python -m services.<name>` with its logs in `directory`; `async with` starts it and kills it.

    `settings` are field names and values: `{"etcd_endpoints": …}` becomes `TIERMESH_<NAME>_ETCD_ENDPOINTS`.
    `module` is run in place of `services.<name>`, for tests of what a mistake in the service would do; `python` is the
    interpreter, of another virtual environment if it needs what is only there.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        settings: Mapping[str, str] | None = None,
        *,
        module: str = "",
        python: str = sys.executable,
    ) -> None:
        self.name = name
        self._python = python
        self._module = module or f"services.{name}"
        self.address = free_address()
        self.admin_address = free_address()
        self._settings = {"listen": self.address, "admin_listen": self.admin_address, **(settings or {})}
        self._log = directory / f"{name}-{self.address.rpartition(':')[2]}.log"
        self._process: Child | None = None

    @property
    def pid(self) -> int:
        """The id of the running process."""
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    async def start(self, *, ready: bool = True) -> None:
        """Starts the process and waits until it is ready, or only until it answers."""
        self.spawn()
        try:
            await eventually(self.ready if ready else self.answers, _START_SECONDS)
        except BaseException:
            await self.kill()
            raise

    def spawn(self) -> None:
        """Starts the process without waiting."""
        self._process = self._launch()

    async def stop(self) -> int:
        """Ends the process by SIGTERM and returns its exit code."""
        return await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """Ends the process by SIGKILL, if it runs."""
        if self._process is not None:
            await self._end(signal.SIGKILL)

    async def ready(self) -> bool:
        """Whether /readyz says yes; fails the test if the process has ended."""
        return await self._get("readyz") == 200

    async def answers(self) -> bool:
        """Whether the process serves /healthz; fails the test if it has ended."""
        return await self._get("healthz") == 200

    async def metrics(self) -> str:
        """Returns /metrics."""
        async with aiohttp.ClientSession() as session, session.get(self._url("metrics")) as response:
            return await response.text()

    def log(self) -> str:
        """Returns everything that the process has logged."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def _launch(self) -> Child:
        command = [self._python, "-m", self._module]
        with self._log.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=self._environment())

    async def _get(self, path: str) -> int:
        if not self.running:
            raise AssertionError(f"{self.name} ended while it should run:\n{self.log()}")
        try:
            async with aiohttp.ClientSession() as session, session.get(self._url(path)) as response:
                return response.status
        except aiohttp.ClientError:
            return 0

    async def _end(self, how: signal.Signals) -> int:
        assert self._process is not None, f"{self.name} is not running"
        process, self._process = self._process, None
        if process.poll() is None:
            process.send_signal(how)
        return await asyncio.to_thread(process.wait, stretched(_STOP_SECONDS))

    def _url(self, path: str) -> str:
        return f"http://{self.admin_address}/{path}"

    def _environment(self) -> dict[str, str]:
        """Returns the environment with these settings and no others of tiermesh's."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TIERMESH_")}
        prefix = f"TIERMESH_{self.name.upper()}_"
        return inherited | {prefix + name.upper(): value for name, value in self._settings.items()}

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()

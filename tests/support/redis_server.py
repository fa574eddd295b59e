"""A real Redis server on a unix socket, which tests may stop, freeze and start again."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import programs
from tests.support.deadlines import stretched
from tests.support.waiting import eventually

_START_SECONDS = 20.0
_STOP_SECONDS = 20.0


class RedisServer:
    """A server in a temporary directory that forgets everything when it ends; `async with` starts and removes it."""

    def __init__(self) -> None:
        # The path of a socket may have 107 characters, fewer than many a temporary folder of a test has.
        self._directory = Path(tempfile.mkdtemp(prefix="tiermesh-redis-", dir="/tmp"))
        self._socket = self._directory / "socket"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For TIERMESH_AUTH_RATE_LIMIT_URL."""
        return f"redis+unix://{self._socket}"

    @property
    def pid(self) -> int:
        """The id of the server's process, which must run."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Starts the server and waits until it listens."""
        self._socket.unlink(missing_ok=True)
        self._process = self._launch()
        await eventually(self._socket.exists, _START_SECONDS)

    async def stop(self) -> None:
        """Ends the server, if it runs."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            await asyncio.to_thread(process.wait, stretched(_STOP_SECONDS))

    def freeze(self) -> None:
        """Makes the server keep its connections but answer nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets a frozen server go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def _launch(self) -> subprocess.Popen[bytes]:
        command = [str(programs.redis_server()), "--port", "0", "--unixsocket", str(self._socket), "--save", ""]
        with (self._directory / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=self._directory)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        shutil.rmtree(self._directory)

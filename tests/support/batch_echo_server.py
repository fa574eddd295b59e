"""The echo server as a process of its own, which tests kill: `python -m tests.support.batch_echo_server ADDRESS`."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from typing import Self

from services.common.lifecycle.process import run_service
from tests.support.batch_echo import EchoServer
from tests.support.deadlines import within

READY = b"ready\n"


class EchoProcess:
    """An echo server in a process; `async with` starts and kills it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._process: Process | None = None

    async def start(self, *, holds: bool = True) -> None:
        """Starts the process and waits until it listens; without `holds` it answers every call at once."""
        command = (sys.executable, "-m", "tests.support.batch_echo_server", self.address, *(["holds"] if holds else []))
        self._process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
        assert self._process.stdout is not None
        async with within(20):
            while await self._process.stdout.readline() != READY:
                assert self._process.returncode is None, "the echo server did not start"

    async def kill(self) -> None:
        """Ends the process by SIGKILL, as a crash does."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.communicate()

    async def terminate(self) -> int:
        """Asks the process to drain and returns its exit status."""
        assert self._process is not None
        self._process.terminate()
        await self._process.communicate()
        assert self._process.returncode is not None
        return self._process.returncode

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()


async def _serve(stop: asyncio.Event) -> None:
    server = EchoServer(sys.argv[1], holds="holds" in sys.argv[2:])
    await server.start()
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    await stop.wait()
    await server.stop()


if __name__ == "__main__":
    run_service(_serve)

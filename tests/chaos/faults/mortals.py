"""What each part of a mesh can suffer: it is killed, drained, frozen, or has no space left."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from pathlib import Path
from typing import Protocol

from tests.support.etcd import EtcdServer
from tests.support.postgres import PostgresServer
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually

READY_SECONDS = 40.0


class Mortal(Protocol):
    """What can suffer."""

    async def kill(self) -> None:
        """Ends it by SIGKILL."""

    async def drain(self) -> int:
        """Ends it by SIGTERM and returns its exit code."""

    async def revive(self) -> None:
        """Starts it again and waits until it serves."""

    def freeze(self) -> None:
        """Stops it where it is."""

    def thaw(self) -> None:
        """Lets it go on."""

    async def fill(self) -> None:
        """Lets it store nothing more."""

    async def free(self) -> None:
        """Gives it space again."""


class MortalService:
    """A service process."""

    def __init__(self, process: ServiceProcess) -> None:
        self._process = process

    async def kill(self) -> None:
        """Ends it by SIGKILL."""
        await self._process.kill()

    async def drain(self) -> int:
        """Ends it by SIGTERM and returns its exit code."""
        return await self._process.stop()

    async def revive(self) -> None:
        """Starts it again; alive is enough, since being ready may need others who are down as well."""
        await asyncio.to_thread(self._process.spawn)
        await eventually(self._process.answers, READY_SECONDS)

    def freeze(self) -> None:
        """Stops it where it is."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        os.kill(self._process.pid, signal.SIGCONT)

    async def fill(self) -> None:
        """Lets it write to no file: the limit works without rights, and Python ignores its signal."""
        self._limit_files(0)

    async def free(self) -> None:
        """Takes the limit away."""
        self._limit_files(resource.RLIM_INFINITY)

    def _limit_files(self, size: int) -> None:
        _, hard = resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size, hard))


class MortalEtcd:
    """etcd."""

    def __init__(self, server: EtcdServer) -> None:
        self._server = server

    async def kill(self) -> None:
        """Ends it by SIGKILL."""
        await self._server.kill()

    async def drain(self) -> int:
        """Ends it by SIGTERM."""
        await self._server.stop()
        return 0

    async def revive(self) -> None:
        """Starts it again and waits until it serves."""
        await self._server.start()

    def freeze(self) -> None:
        """Stops it where it is."""
        self._server.freeze()

    def thaw(self) -> None:
        """Lets it go on."""
        self._server.thaw()

    async def fill(self) -> None:
        """Raises the alarm that a full quota raises."""
        await self._server.set_no_space(True)

    async def free(self) -> None:
        """Ends the alarm."""
        await self._server.set_no_space(False)


class MortalDatabase:
    """A PostgreSQL server."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._frozen: list[int] = []

    async def kill(self) -> None:
        """Ends it as a crash does."""
        await asyncio.to_thread(self._server.kill)

    async def drain(self) -> int:
        """Throws its clients out."""
        await asyncio.to_thread(self._server.stop)
        return 0

    async def revive(self) -> None:
        """Starts it again and waits until it serves."""
        await asyncio.to_thread(self._server.start)

    def freeze(self) -> None:
        """Stops the server first, so that it starts no further process, and then those it has started."""
        parent = self._server.pid
        os.kill(parent, signal.SIGSTOP)
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        self._frozen = [parent, *map(int, children)]
        for process in self._frozen[1:]:
            os.kill(process, signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets all of them go on."""
        for process in reversed(self._frozen):
            os.kill(process, signal.SIGCONT)

    async def fill(self) -> None:
        """Is not done: a server that cannot write its log crashes."""
        raise NotImplementedError

    async def free(self) -> None:
        """Is not done."""
        raise NotImplementedError

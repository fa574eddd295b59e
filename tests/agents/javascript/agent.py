"""Runs an agent as its users do, in a home and a project of its own."""

from __future__ import annotations

import asyncio
import os
import platform
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.agents.javascript.recording_proxy import Exchange, RecordingProxy
from tests.support import programs
from tests.support.account import FundedAccount
from tests.support.deadlines import within
from tests.support.waiting import eventually

MODULES = Path(__file__).parent / "node_modules"
# For agents that are one program for each system: the lock has the one for Linux.
on_linux = pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"), reason="this program is for Linux on x86-64"
)
# What every agent is asked for, and the file before and after.
TASK = "Correct the spelling in notes.txt."
WRONG, RIGHT = "I recieve mail.\n", "I receive mail.\n"
_SECONDS = 100.0


@dataclass(frozen=True)
class Finished:
    """What a program has said, and how it ended."""

    code: int
    output: str
    errors: str

    @property
    def said(self) -> str:
        """All of it."""
        return self.output + self.errors


@dataclass(frozen=True)
class Desk:
    """What a test gives to one agent: a home, a project, a key with credits, and the proxy that listens."""

    home: Path
    project: Path
    account: FundedAccount
    api_key: str
    proxy: RecordingProxy

    def misspelled_note(self) -> Path:
        """Writes the file of the task and returns where it is."""
        path = self.project / "notes.txt"
        path.write_text(WRONG)
        return path

    def environ(self) -> dict[str, str]:
        """Returns the environment of a person who has nothing else installed, without any network but this mesh."""
        return {
            "PATH": f"{programs.node().parent}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "TMPDIR": str(self.home),
            "HTTP_PROXY": self.proxy.url,
            "HTTPS_PROXY": self.proxy.url,
            "NO_PROXY": "127.0.0.1,localhost",
            "DO_NOT_TRACK": "1",
        }

    async def run(
        self,
        *command: str | Path,
        environ: Mapping[str, str] | None = None,
        interrupt: Callable[[], Awaitable[None]] | None = None,
    ) -> Finished:
        """Runs a program in the project to its end; with `interrupt`, Ctrl-C is pressed as soon as that returns."""
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.project,
            env={**self.environ(), **(environ or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with within(_SECONDS), asyncio.TaskGroup() as group:
                pressing = interrupt and group.create_task(_press(process, interrupt))
                output, errors = await process.communicate()
                if pressing:
                    pressing.cancel()
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode is not None
        return Finished(process.returncode, output.decode(), errors.decode())

    async def receipt(self, exchange: Exchange) -> Any:
        """Returns the receipt of a request as soon as there is one."""
        url = f"{self.account.mesh.base_url}/requests/{exchange.request_id}"
        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {self.api_key}"}) as client:

            async def ended() -> bool:
                answer = await client.get(url)
                return answer.status_code == 200 and answer.json()["status"] != "in_flight"

            await eventually(ended)
            return (await client.get(url)).json()

    def paid(self) -> int:
        """Returns the credits that the account has paid; nothing may be held any more."""
        balance = self.account.mesh.command_now("balance", self.account.account)
        assert balance["held"] == 0
        return 1000 - int(balance["available"])


async def _press(process: asyncio.subprocess.Process, interrupt: Callable[[], Awaitable[None]]) -> None:
    await interrupt()
    process.send_signal(signal.SIGINT)

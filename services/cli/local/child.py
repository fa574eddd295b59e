"""One process of the mesh: prepared once, started, awaited, and started again after a pause whenever it dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from services.cli.errors import CliError
from services.cli.local.log_output import LogOutput
from services.cli.local.mesh import Process
from services.common.retry.backoff import Backoff

_POLL_SECONDS = 0.05
_ANSWER_SECONDS = 2.0


FIRST_SECONDS = 0.5
LONGEST_SECONDS = 8.0
# A process that lived this long did not die of its start.
STABLE_SECONDS = 3.0
_LAUNCHER = Path(__file__).with_name("launcher.py")
# What a process that is dead may still have in its pipe is read within this time, in seconds.
_LAST_WORDS_SECONDS = 1.0


async def wait_until_ready(url: str, body: str = "") -> None:
    """Returns once the URL answers 200, however long that takes."""
    while not await answers_ok(url, body):  # noqa: ASYNC110 - another process tells nobody when it is ready
        await asyncio.sleep(_POLL_SECONDS)


async def answers_ok(url: str, body: str = "") -> bool:
    """Asks once, with a body of JSON if there is one.

    Done by hand, because importing an HTTP client takes longer than some of the services to start.
    """
    parts = urlsplit(url)
    content = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    request = f"{'POST' if body else 'GET'} {parts.path} HTTP/1.0\r\nHost: {parts.netloc}\r\n{content}\r\n{body}"
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                writer.write(request.encode())
                status = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return status.split()[1:2] == [b"200"]


class RestartDelay:
    """Doubles from death to death, and starts over after a life that was long enough."""

    def __init__(self) -> None:
        self._backoff = Backoff(FIRST_SECONDS, LONGEST_SECONDS, jitter=0.0)

    def after(self, lifetime: float) -> float:
        """Returns the delay, in seconds, after a life of `lifetime` seconds."""
        if lifetime >= STABLE_SECONDS:
            self._backoff.reset()
        return self._backoff.next()


class StartError(CliError):
    """A process ended before it served; the message shows its last log lines."""


class Child:
    """A process under supervision. `say` tells the user, `started` is called with each new process."""

    def __init__(
        self,
        process: Process,
        output: LogOutput,
        *,
        say: Callable[[str], None],
        started: Callable[[], None],
        monotonic: Callable[[], float],
    ) -> None:
        self.name = process.name
        self.ready = asyncio.Event()
        self._process = process
        self._output = output
        self._say = say
        self._started = started
        self._monotonic = monotonic
        self._stopping = asyncio.Event()
        self._running: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The id of the process, or of the last one while none runs."""
        return self._running.pid if self._running else 0

    async def run(self) -> None:
        """Keeps the process running until it retires; raises StartError if it never served."""
        try:
            await self._prepare()
            delays = RestartDelay()
            while not self._stopping.is_set():
                since = self._monotonic()
                code = await self._live()
                if not self._stopping.is_set() and self._process.irreplaceable and self.ready.is_set():
                    self._say(f"{self.name} {_how_it_ended(code)}: {self._process.irreplaceable}")
                    await self._stopping.wait()
                elif not self._stopping.is_set():
                    await self._recover(code, delays.after(self._monotonic() - since))
        finally:
            self._output.close()

    def failure(self, what: str) -> StartError:
        """Returns the error that shows what the process said last."""
        lines = "".join(f"\n  {line}" for line in self._output.recent) or "\n  (it said nothing)"
        return StartError(f"{self.name} {what}; the last lines of {self._output.path}:{lines}")

    def retire(self) -> None:
        """From now on the process is not started again."""
        self._stopping.set()
        # Its peers end before it or after it, and both would be worth a warning at any other time.
        self._output.show_warnings = False

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the process, if it runs."""
        if self._running is not None and self._running.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._running.send_signal(number)

    async def _prepare(self) -> None:
        if self._process.preparation:
            code = await self._execute(self._process.preparation, shown=False)
            if code != 0 and not self._stopping.is_set():
                raise self.failure("could not prepare its database")

    async def _live(self) -> int:
        """Runs the process once, to its end, and tells when it serves; returns its exit code."""
        watch = asyncio.create_task(self._watch())
        try:
            return await self._execute(self._process.command, shown=True)
        finally:
            watch.cancel()

    async def _watch(self) -> None:
        await wait_until_ready(self._process.ready_url, self._process.ready_body)
        if self.ready.is_set():
            self._say(f"{self.name} serves again")
        self.ready.set()
        self._output.show_warnings = self._process.warnings_matter and not self._stopping.is_set()

    async def _recover(self, code: int, delay: float) -> None:
        """Waits before the next start, or gives up a process that never served."""
        how = _how_it_ended(code)
        if not self.ready.is_set():
            raise self.failure(f"did not start: it {how}")
        self._say(f"{self.name} {how}; starting it again in {delay:g} s")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._stopping.wait()

    async def _execute(self, command: tuple[str, ...], *, shown: bool) -> int:
        # A session of its own keeps Ctrl-C, which the terminal sends to the whole group, from ending all at once.
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), *command),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            env=self._process.environment,
            start_new_session=True,
        )
        self._running = running
        self._started()
        if self._stopping.is_set():
            self.send(signal.SIGTERM)
        if running.stdout is None:
            raise RuntimeError("the output was asked for as a pipe")
        reading = asyncio.create_task(self._output.follow(running.stdout, shown=shown))
        code = await running.wait()
        await asyncio.wait([reading], timeout=_LAST_WORDS_SECONDS)
        reading.cancel()
        return code


def _how_it_ended(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with status {code}"

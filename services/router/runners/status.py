"""One status stream to each runner: it brings the load, and its end is the first sign that a runner died."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import grpc

from services.common.retry.backoff import Backoff, Randomness
from services.common.rpc.channels import OpenChannel
from services.common.telemetry.logs import get_logger
from services.router.runners.live_runner import Health, LiveRunner
from services.router.runners.load import Report
from tiermesh.runner.v1 import runner_pb2, runner_pb2_grpc

log = get_logger()

# A runner that does not say anything within this time, in seconds, is taken for dead.
CONNECT_TIMEOUT = 2.0
FIRST_BACKOFF = 0.05
LONGEST_BACKOFF = 1.0


class StatusListener(Protocol):
    """Hears what the streams bring; the table is one."""

    def report(self, runner: LiveRunner, report: Report) -> None:
        """A status came."""

    def lost(self, runner: LiveRunner, reason: str) -> None:
        """The stream broke or could not be opened."""


class RunnerStatusStreams:
    """Keeps the streams open, each in a task of its own. `random` returns numbers from [0, 1)."""

    def __init__(self, open_channel: OpenChannel, random: Randomness) -> None:
        self._open_channel = open_channel
        self._random = random
        self._tasks: dict[LiveRunner, asyncio.Task[None]] = {}
        # Tasks that have been told to end and still close their channels.
        self._ending: set[asyncio.Task[None]] = set()

    def listen(self, listener: StatusListener) -> None:
        """Sets who hears what the streams bring; to be called before the first `open`."""
        self._listener = listener

    def open(self, runner: LiveRunner, delay: float) -> None:
        """Opens the stream to a runner after `delay` seconds; one that is there already is closed first."""
        self.close(runner)
        self._tasks[runner] = asyncio.create_task(self._keep_open(runner, delay), name=f"status of {runner.id}")

    def close(self, runner: LiveRunner) -> None:
        """Closes the stream to a runner; nothing more is heard of it."""
        task = self._tasks.pop(runner, None)
        if task is None:
            return
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        # A stream that is unwanted because of what it has just brought sees that by itself; to cancel it here would
        # cut short the closing of its channel.
        if task is not asyncio.current_task():
            task.cancel()

    async def close_all(self) -> None:
        """Closes every stream and waits until that is done."""
        for runner in list(self._tasks):
            self.close(runner)
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _is_wanted(self, runner: LiveRunner) -> bool:
        return self._tasks.get(runner) is asyncio.current_task()

    async def _keep_open(self, runner: LiveRunner, delay: float) -> None:
        backoff = Backoff(FIRST_BACKOFF, LONGEST_BACKOFF, random=self._random)
        await asyncio.sleep(delay)
        while True:
            try:
                if await self._follow(runner):
                    backoff.reset()
            except Exception:
                # A defect must not end this loop: the runner would never be heard of again.
                log.exception("status_stream_failed", runner=runner.id)
            if not self._is_wanted(runner):
                return
            await backoff.pause()

    async def _follow(self, runner: LiveRunner) -> bool:
        """Opens the stream and hands on what it brings until it ends. Returns whether it brought anything."""
        heard = False
        try:
            # A fresh channel each time: no back-off of gRPC's own in the way, and rotated certificates are used.
            async with self._open_channel(runner.record.address) as channel:
                reason = await self._read(channel, runner)
                heard = runner.health is Health.UP
                # Before the channel is closed, which takes a while.
                if self._is_wanted(runner):
                    self._listener.lost(runner, reason)
        except OSError as error:
            self._listener.lost(runner, f"a certificate file cannot be read: {error.strerror}")
        return heard

    async def _read(self, channel: grpc.aio.Channel, runner: LiveRunner) -> str:
        """Hands on what a stream brings until it ends or is not wanted any more, and returns why it ended."""
        # Messages of the stream, or grpc.aio.EOF, which the stubs cannot tell apart.
        stream: Any = runner_pb2_grpc.RunnerServiceStub(channel).WatchStatus(runner_pb2.WatchStatusRequest())
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                status = await stream.read()
            while (end := _end(status, runner)) is None:
                self._listener.report(runner, _report(status))
                if not self._is_wanted(runner):
                    return "not wanted any more"
                status = await stream.read()
        except grpc.aio.AioRpcError as error:
            return error.code().name
        except TimeoutError:
            return "no status in time"
        except Exception as error:
            # Whatever it is, a runner that cannot be followed must not stay chosen.
            log.exception("status_stream_failed", runner=runner.id)
            return type(error).__name__
        return end


def _end(status: Any, runner: LiveRunner) -> str | None:
    """Says why a stream that has brought `status` is of no use any more; None if it is."""
    if status is grpc.aio.EOF:
        return "the runner closed the stream"
    if status.runner_id != runner.id:
        return f"the address now belongs to runner {status.runner_id!r}"
    return None


def _report(status: runner_pb2.WatchStatusResponse) -> Report:
    return Report(
        slots=status.slots,
        active=status.active,
        admitted=status.admitted,
        draining=status.state == runner_pb2.WatchStatusResponse.STATE_DRAINING,
        pages_free=status.pages_free,
        tokens_per_second=status.tokens_per_second,
    )

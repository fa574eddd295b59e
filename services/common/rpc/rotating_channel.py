"""A channel that lives long and still uses the certificates of the day."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc

from services.common.retry.outage import Outage
from services.common.rpc.certificate_files import CertificateFiles
from services.common.telemetry.logs import get_logger

log = get_logger()


class _Connection:
    """One channel of gRPC's, and the number of its calls in flight."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def carry(self, call: grpc.aio.Call) -> None:
        self._calls += 1
        self._idle.clear()
        call.add_done_callback(self._done)

    async def close_when_idle(self) -> None:
        await self._idle.wait()
        await self.channel.close()

    def _done(self, _: object) -> None:
        self._calls -= 1
        if not self._calls:
            self._idle.set()


class _Method:
    """One rpc, called on the connection of the moment."""

    def __init__(self, current: Callable[[], _Connection], make: Callable[[grpc.aio.Channel], Any]) -> None:
        self._current = current
        self._make = make
        self._connection: _Connection | None = None
        self._callable: Any = None

    def __call__(self, *args: Any, **options: Any) -> Any:
        connection = self._current()
        if connection is not self._connection:
            self._connection, self._callable = connection, self._make(connection.channel)
        call = self._callable(*args, **options)
        connection.carry(call)
        return call


class RotatingChannel(grpc.aio.Channel):
    """Opens a new connection once the files have changed: new calls use it, those in flight end on the old one.

    Files that are being written, and so do not fit each other, change nothing yet. Raises OSError at its making if the
    files cannot be read. `open_now` opens a channel with what the files hold at that moment.
    """

    def __init__(self, files: CertificateFiles, open_now: Callable[[], grpc.aio.Channel]) -> None:
        self._files = files
        self._open_now = open_now
        self._connection = _Connection(open_now())
        # The connections before, each until its last call has ended.
        self._retiring: dict[asyncio.Task[None], grpc.aio.Channel] = {}
        self._outage = Outage()

    def unary_unary(self, *args: Any, **options: Any) -> Any:
        """Returns a unary-unary rpc, as gRPC's own channel does."""
        return self._method("unary_unary", args, options)

    def unary_stream(self, *args: Any, **options: Any) -> Any:
        """Returns a unary-stream rpc, as gRPC's own channel does."""
        return self._method("unary_stream", args, options)

    def stream_unary(self, *args: Any, **options: Any) -> Any:
        """Returns a stream-unary rpc, as gRPC's own channel does."""
        return self._method("stream_unary", args, options)

    def stream_stream(self, *args: Any, **options: Any) -> Any:
        """Returns a stream-stream rpc, as gRPC's own channel does."""
        return self._method("stream_stream", args, options)

    async def close(self, grace: float | None = None) -> None:
        """Closes every connection; calls in flight get `grace` seconds to end, and are cancelled then."""
        retiring = dict(self._retiring)
        for task in retiring:
            task.cancel()
        await asyncio.gather(*(channel.close(grace) for channel in (self._connection.channel, *retiring.values())))

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Returns the state of the connection."""
        return self._current().channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Waits until the connection has another state."""
        await self._current().channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Waits until the connection is there."""
        await self._current().channel.channel_ready()

    async def __aenter__(self) -> RotatingChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _method(self, kind: str, args: tuple[Any, ...], options: dict[str, Any]) -> _Method:
        return _Method(self._current, lambda channel: getattr(channel, kind)(*args, **options))

    def _current(self) -> _Connection:
        try:
            if self._files.changed:
                self._files.check()
                old, self._connection = self._connection, _Connection(self._open_now())
                self._retire(old)
                self._outage.end()
        except OSError as error:
            self._complain(error)
        return self._connection

    def _retire(self, old: _Connection) -> None:
        task = asyncio.get_running_loop().create_task(old.close_when_idle())
        self._retiring[task] = old.channel
        task.add_done_callback(self._retiring.pop)

    def _complain(self, error: OSError) -> None:
        # Once, not at each of many calls.
        if self._outage.begin(str(error)):
            log.warning("certificate_files_unusable", reason=type(error).__name__, detail=error.strerror)

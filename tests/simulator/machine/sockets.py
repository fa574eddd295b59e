"""Byte streams over the simulated network, for asyncio's protocols: what aiohttp serves HTTP on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.simulator.machine.loop import current_process
from tests.simulator.machine.network import End, Network

# What the sockets at both ends hold of one direction, in bytes; what is beyond waits at the sender.
WINDOW = 4096
_ACK = object()


class Transport(asyncio.Transport):
    """The server's end. The client tells how much it has read, as TCP's window does."""

    def __init__(self, end: End, protocol: Any) -> None:
        super().__init__()
        self._end = end
        self._protocol = protocol
        self._closing = False
        self._unread = 0
        self._high = 64 * 1024
        self._paused = False

    def received(self, item: Any) -> None:
        if isinstance(item, bytes):
            if not self._closing:
                self._protocol.data_received(item)
            return
        self._unread -= item[1]
        if self._paused and self.get_write_buffer_size() <= self._high // 4:
            self._paused = False
            self._protocol.resume_writing()
        if self._closing and not self.get_write_buffer_size():
            self._finish(None)

    def lost(self) -> None:
        self._finish(None)

    def write(self, data: Any) -> None:
        if self._closing and self._end.closed:
            return
        self._unread += len(data)
        self._end.send(bytes(data))
        if not self._paused and self.get_write_buffer_size() > self._high:
            self._paused = True
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            if not self.get_write_buffer_size():
                self._finish(None)

    def abort(self) -> None:
        if self._protocol is not None:
            self._closing = True
            self._end.cut()
            self._finish(None)

    def _finish(self, error: Exception | None) -> None:
        self._closing = True
        self._end.close()
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            asyncio.get_running_loop().call_soon(protocol.connection_lost, error)

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return max(0, self._unread - WINDOW)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        del low
        self._high = 64 * 1024 if high is None else high

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def get_protocol(self) -> Any:
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol


class Listener:
    """What `loop.create_server` returns."""

    sockets: tuple[()] = ()

    def __init__(self, network: Network, protocol_factory: Callable[[], Any], address: str) -> None:
        self._network = network
        self._factory = protocol_factory
        self._address = address
        self._process = current_process()
        network.listen(address, self._process, self._accept)

    def _accept(self, end: End) -> Transport:
        protocol = self._factory()
        transport = Transport(end, protocol)
        protocol.connection_made(transport)
        return transport

    def close(self) -> None:
        self._network.stop_listening(self._address, self._process)

    async def wait_closed(self) -> None: ...


class Reader:
    """The client's end: bytes as they come, read as fast as the client likes."""

    def __init__(self) -> None:
        self.end: End
        self._chunks: list[bytes] = []
        self._lost = False
        self._waiter: asyncio.Future[None] | None = None

    def received(self, item: bytes) -> None:
        self._chunks.append(item)
        self._wake()

    def lost(self) -> None:
        self._lost = True
        self._wake()

    async def read(self) -> bytes:
        """Returns the next bytes, and none once the connection is gone and all has been read."""
        while not self._chunks:
            if self._lost:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        chunk = self._chunks.pop(0)
        self.end.send(("read", len(chunk)))
        return chunk

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

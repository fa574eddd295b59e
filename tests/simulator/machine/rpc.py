"""gRPC over the simulated network, as far as the services use it: the generated stubs and servicers run on it.

Each call has a connection of its own. All services open a channel for each stream, so that is what they have anyway.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import grpc

from services.common.errors import MeshError
from tests.simulator.machine.loop import Process
from tests.simulator.machine.network import End, Network

_MOST_TURNS = 4
_OPEN, _MESSAGE, _HALF, _STATUS = "open", "message", "half", "status"


def _error(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)


class _Inbox:
    """What has come and was not read, and what ended it."""

    def __init__(self) -> None:
        self._items: deque[bytes] = deque()
        self._end: Callable[[], Any] | None = None
        self._waiter: asyncio.Future[None] | None = None

    def put(self, item: bytes) -> None:
        self._items.append(item)
        self._wake()

    def end(self, result: Callable[[], Any], *, at_once: bool = False) -> None:
        """Has reads return or raise what `result` does, once all has been read, or at once."""
        if self._end is None or at_once:
            self._end = result
            if at_once:
                self._items.clear()
            self._wake()

    @property
    def ended(self) -> bool:
        return self._end is not None

    async def take(self) -> Any:
        # gRPC hands each message over in some later turn of the loop, also one that has come long ago.
        for _ in range(random.randrange(_MOST_TURNS)):
            await asyncio.sleep(0)
        while not self._items:
            if self._end is not None:
                return self._end()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._items.popleft()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Call:
    """The client's side of one stream."""

    def __init__(
        self, network: Network, process: Process, address: str, method: str, write: Callable[[Any], bytes], read: Any
    ) -> None:
        self._inbox = _Inbox()
        self._serialize = write
        self._deserialize = read
        self._cancelled = False
        self._end = network.connect(process, address, self)
        self._end.send((_OPEN, method))

    async def read(self) -> Any:
        """Returns a message or EOF; raises AioRpcError for any status but OK, CancelledError after `cancel`."""
        if self._cancelled:
            raise asyncio.CancelledError
        item = await self._inbox.take()
        return self._deserialize(item) if isinstance(item, bytes) else item

    async def write(self, message: Any) -> None:
        """Sends a message; raises what gRPC does once the call has ended."""
        if self._cancelled:
            raise asyncio.CancelledError
        if self._inbox.ended:
            raise asyncio.InvalidStateError("the call has ended")
        self._end.send((_MESSAGE, self._serialize(message)))

    async def done_writing(self) -> None:
        """Says that nothing more will be written."""
        self._end.send((_HALF, None))

    def cancel(self) -> bool:
        """Ends the call from this side."""
        if self._cancelled or (self._inbox.ended and self._end.closed):
            return False
        self._cancelled = True
        self._inbox.end(_cancelled, at_once=True)
        self._end.close()
        return True

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._messages()

    async def _messages(self) -> AsyncIterator[Any]:
        while (message := await self.read()) is not grpc.aio.EOF:
            yield message

    def received(self, item: Any) -> None:
        kind, content = item
        if kind == _MESSAGE:
            self._inbox.put(content)
        else:
            code, details = content
            self._inbox.end(lambda: _end_as(code, details))
            self._end.close()

    def lost(self) -> None:
        self._inbox.end(lambda: _end_as(grpc.StatusCode.UNAVAILABLE, "the connection is gone"))


def _end_as(code: grpc.StatusCode, details: str) -> Any:
    if code is grpc.StatusCode.OK:
        return grpc.aio.EOF
    raise _error(code, details)


def _cancelled() -> Any:
    raise asyncio.CancelledError


class Channel:
    """Makes calls to one address."""

    def __init__(self, network: Network, process: Process, address: str) -> None:
        self._network = network
        self._process = process
        self._address = address
        self._calls: list[Call] = []

    def stream_stream(self, method: str, request_serializer: Any, response_deserializer: Any, **_: Any) -> Any:
        def start() -> Call:
            return self._start(method, request_serializer, response_deserializer)

        return start

    def unary_stream(self, method: str, request_serializer: Any, response_deserializer: Any, **_: Any) -> Any:
        def start(request: Any, **_: Any) -> Call:
            call = self._start(method, request_serializer, response_deserializer)
            call._end.send((_MESSAGE, request_serializer(request)))
            return call

        return start

    def unary_unary(self, *_: Any, **__: Any) -> Any:
        return None

    def _start(self, *codec: Any) -> Call:
        call = Call(self._network, self._process, self._address, *codec)
        self._calls.append(call)
        return call

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for call in self._calls:
            call.cancel()


class Context:
    """The server's side of one stream: what a servicer's method is given."""

    def __init__(self, end: End) -> None:
        self._end = end
        self._inbox = _Inbox()
        self.deserialize: Callable[[bytes], Any]
        self.serialize: Callable[[Any], bytes]

    async def read(self) -> Any:
        item = await self._inbox.take()
        return self.deserialize(item) if isinstance(item, bytes) else item

    async def write(self, message: Any) -> None:
        if self._end.closed:
            raise grpc.aio.BaseError
        self._end.send((_MESSAGE, self.serialize(message)))

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> None:
        del trailing_metadata
        self.finish(code, details)
        raise grpc.aio.AbortError(details)

    def finish(self, code: grpc.StatusCode, details: str) -> None:
        self._end.send((_STATUS, (code, details)))
        self._end.close()


class _Serving:
    """One call at its server."""

    def __init__(self, server: Server, end: End) -> None:
        self._server = server
        self._context = Context(end)
        self._task: asyncio.Task[None] | None = None

    def received(self, item: Any) -> None:
        kind, content = item
        if kind == _OPEN:
            self._task = asyncio.get_running_loop().create_task(self._serve(content))
            self._server.calls[self._task] = None
            self._task.add_done_callback(lambda task: self._server.calls.pop(task, None))
        elif kind == _MESSAGE:
            self._context._inbox.put(content)
        else:
            self._context._inbox.end(lambda: grpc.aio.EOF)

    def lost(self) -> None:
        # gRPC cancels the method of a call whose client is gone.
        if self._task is not None:
            self._task.cancel()

    async def _serve(self, method: str) -> None:
        handler, context = self._server.methods[method], self._context
        context.deserialize, context.serialize = handler.request_deserializer, handler.response_serializer
        try:
            if handler.stream_stream is not None:
                await handler.stream_stream(None, context)
            else:
                async for reply in handler.unary_stream(await context.read(), context):
                    await context.write(reply)
            context.finish(grpc.StatusCode.OK, "")
        except (grpc.aio.AbortError, grpc.aio.BaseError):
            pass
        except asyncio.CancelledError:
            context._end.close()
        except MeshError as error:
            context.finish(grpc.StatusCode.UNAVAILABLE, error.message)


class Server:
    """What the generated `add_…Servicer_to_server` fills."""

    def __init__(self, network: Network, process: Process, address: str) -> None:
        self.methods: dict[str, Any] = {}
        self.calls: dict[asyncio.Task[None], None] = {}
        self._network = network
        self._process = process
        self._address = address

    def add_generic_rpc_handlers(self, _: object) -> None:
        """Is for interceptors; the registered handlers say the same."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        self.methods |= {f"/{service}/{name}": handler for name, handler in handlers.items()}

    def start(self) -> None:
        """Listens."""
        self._network.listen(self._address, self._process, lambda end: _Serving(self, end))

    async def stop(self, drainables: list[Any], seconds: float) -> None:
        """Does what `GrpcServer.stop` does."""
        for drainable in drainables:
            await drainable.drain(seconds)
        self._network.stop_listening(self._address, self._process)
        for task in list(self.calls):
            task.cancel()

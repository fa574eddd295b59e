"""A gRPC server that speaks a runner's status and registration, with a load that the test decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from services.common.etcd import EtcdClient, Registration
from services.common.registry import RunnerRecord
from tests.support.ports import free_address
from tiermesh.runner.v1 import runner_pb2, runner_pb2_grpc

_READY = runner_pb2.WatchStatusResponse.STATE_READY
_DRAINING = runner_pb2.WatchStatusResponse.STATE_DRAINING


class RunnerStub(runner_pb2_grpc.RunnerServiceServicer):
    """One runner. `kill` leaves its registration alive, as a crash does until the lease ends."""

    def __init__(
        self,
        etcd: EtcdClient,
        runner_id: str,
        *,
        models: tuple[str, ...],
        slots: int = 4,
        address: str = "",
        vocabulary: str = "",
    ) -> None:
        self.id = runner_id
        self.record = RunnerRecord(
            id=runner_id,
            address=address or free_address(),
            tier="pro",
            models=list(models),
            context=4096,
            slots=slots,
            engine="stub",
            version="1",
            vocabulary=vocabulary,
        )
        # The calls of edges, what they are answered with at once, and whether the status counts them.
        self.taken: list[runner_pb2.GenerateCall] = []
        self.answer: Callable[[runner_pb2.GenerateCall], list[runner_pb2.GenerateReply]] = lambda _: []
        self.counts = False
        self._etcd = etcd
        self._slots = slots
        self._active = 0
        self._admitted = 0
        self._state = _READY
        self._changed = asyncio.Event()
        self._server: grpc.aio.Server | None = None
        self._registration: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serves, as a new process would: nothing admitted yet."""
        self._active = self._admitted = 0
        self._state = _READY
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        runner_pb2_grpc.add_RunnerServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(self.record.address)
        await self._server.start()

    def register(self, ttl: int = 60) -> None:
        """Registers under a lease and stays registered."""
        registration = Registration(self._etcd, self.record.key, self.record.to_json(), ttl=ttl)
        self._registration = asyncio.create_task(registration.run())

    async def register_once(self) -> None:
        """Registers without a lease, so that the record comes and goes only as the test says."""
        await self._etcd.put(self.record.key, self.record.to_json())

    async def unregister(self) -> None:
        """Gives the registration up."""
        if self._registration is not None:
            registration, self._registration = self._registration, None
            registration.cancel()
            await asyncio.gather(registration, return_exceptions=True)
        else:
            await self._etcd.delete(self.record.key)

    async def kill(self) -> None:
        """Breaks every connection at once."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop(None)

    async def close(self) -> None:
        """Ends whatever still runs."""
        if self._registration is not None:
            await self.unregister()
        await self.kill()

    def admit(self, count: int = 1) -> None:
        """Starts so many requests."""
        self._active += count
        self._admitted += count
        self._tell()

    def finish(self, count: int = 1) -> None:
        """Ends so many requests."""
        self._active -= count
        self._tell()

    def drain(self) -> None:
        """Takes nothing new."""
        self._state = _DRAINING
        self._tell()

    async def WatchStatus(  # noqa: N802 - gRPC names methods in upper camel case
        self, request: runner_pb2.WatchStatusRequest, context: Any
    ) -> AsyncIterator[runner_pb2.WatchStatusResponse]:
        """Sends the load now and after each change."""
        while True:
            changed = self._changed
            yield runner_pb2.WatchStatusResponse(
                runner_id=self.id,
                state=self._state,
                slots=self._slots,
                active=self._active,
                admitted=self._admitted,
            )
            await changed.wait()

    async def Generate(self, request_iterator: Any, context: Any) -> AsyncIterator[runner_pb2.GenerateResponse]:  # noqa: N802 - gRPC names methods in upper camel case
        """Takes calls and answers them as `answer` says; without it, it swallows them."""
        del context
        yield runner_pb2.GenerateResponse()
        async for frame in request_iterator:
            for call in frame.calls:
                self.taken.append(call)
                if self.counts:
                    self.admit()
                replies = self.answer(call)
                if replies:
                    yield runner_pb2.GenerateResponse(replies=replies)

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

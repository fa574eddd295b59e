"""A real etcd, a real router and an edge's two streams to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc

from services.common.batch import BatchClient
from services.common.errors import Code, MeshError
from services.common.etcd import EtcdClient
from services.common.rpc.channels import channel_opener
from services.common.settings import TlsSettings
from tests.support.etcd import EtcdServer
from tests.support.forked_service import ForkedServiceProcess
from tests.support.process import ServiceProcess
from tests.support.runner_stub import RunnerStub
from tests.support.waiting import eventually
from tiermesh.router.v1 import router_pb2, router_pb2_grpc

MODEL = "tiermesh-pro"
RouteClient = BatchClient[router_pb2.RouteCall, router_pb2.RouteReply]
_open_channel = channel_opener(TlsSettings())


def attempt(runner: RunnerStub, result: router_pb2.Attempt.Result.ValueType) -> router_pb2.Attempt:
    return router_pb2.Attempt(runner_id=runner.id, result=result)


def refused(reply: router_pb2.RouteReply) -> MeshError:
    """Returns the error of a reply; fails the test if there is none."""
    assert reply.HasField("error"), f"placed on {reply.runner_id}"
    return MeshError.from_proto(reply.error)


class RouterMesh:
    """What a test of the router needs; use it as `async with router_mesh(…) as mesh`."""

    def __init__(self, etcd: EtcdServer, client: EtcdClient, router: ServiceProcess, stack: AsyncExitStack) -> None:
        self.etcd = etcd
        self.router = router
        self._client = client
        self._stack = stack
        self.edge: RouteClient = BatchClient(
            "router",
            [router.address],
            open_channel=_open_channel,
            open_stream=lambda channel: router_pb2_grpc.RouterServiceStub(channel).Route(),
            new_frame=router_pb2.RouteRequest,
            retry=True,
        )

    async def runner(
        self, runner_id: str, *models: str, slots: int = 4, leased: bool = True, address: str = ""
    ) -> RunnerStub:
        """Starts and registers a runner, and waits until the router uses it.

        With `address` nothing is started: who is there is the test's affair; then it waits until the router knows it.
        """
        stub = RunnerStub(self._client, runner_id, models=models or (MODEL,), slots=slots, address=address)
        self._stack.push_async_callback(stub.close)
        if not address:
            await stub.start()
        if leased:
            stub.register()
        else:
            await stub.register_once()
        await self.until_state(stub, "unknown" if address else "ready")
        return stub

    async def put_record(self, runner_id: bytes, value: bytes) -> None:
        await self._client.put(b"/tiermesh/runners/" + runner_id, value)

    async def route(
        self,
        model: str = MODEL,
        *attempts: router_pb2.Attempt,
        account: str = "x",
        timeout: float = 5.0,
        capabilities: tuple[str, ...] = (),
    ) -> router_pb2.RouteReply:
        call = router_pb2.RouteCall(model=model, account_id=account, attempts=attempts, capabilities=capabilities)
        return await self.edge.request(call, timeout)

    async def place(self, model: str = MODEL, *attempts: router_pb2.Attempt, timeout: float = 5.0) -> str:
        """Routes a request and returns the runner's id; fails the test if there is none."""
        reply = await self.route(model, *attempts, timeout=timeout)
        assert not reply.HasField("error"), f"{reply.error}\n{self.router.log()}"
        return reply.runner_id

    async def refusal(self, model: str = MODEL, *attempts: router_pb2.Attempt, timeout: float = 5.0) -> Code:
        return refused(await self.route(model, *attempts, timeout=timeout)).code

    async def views(self) -> dict[str, router_pb2.RunnerView]:
        async with _open_channel(self.router.address) as channel:
            listing = await router_pb2_grpc.RouterServiceStub(channel).ListRunners(router_pb2.ListRunnersRequest())
        return {view.id: view for view in listing.runners}

    async def until_state(self, runner: RunnerStub, state: str | None) -> None:
        """Waits until the router sees a runner in a state; None means that it is not listed."""

        async def is_so() -> bool:
            view = (await self.views()).get(runner.id)
            return (view and view.state) == state

        await eventually(is_so)

    async def until_waiting(self, count: int) -> None:
        """Waits until so many requests are in the queue of tier pro."""

        async def is_so() -> bool:
            return f'tiermesh_router_queue_depth{{tier="pro"}} {count}.0' in await self.router.metrics()

        await eventually(is_so)

    @asynccontextmanager
    async def availability(self) -> AsyncIterator[AsyncIterator[router_pb2.WatchAvailabilityResponse]]:
        async with _open_channel(self.router.address) as channel:
            yield aiter(self._watch(channel))

    async def _watch(self, channel: grpc.aio.Channel) -> AsyncIterator[router_pb2.WatchAvailabilityResponse]:
        stub = router_pb2_grpc.RouterServiceStub(channel)
        async for response in stub.WatchAvailability(router_pb2.WatchAvailabilityRequest()):
            yield response


@asynccontextmanager
async def router_mesh(directory: Path, *, etcd_up: bool = True, **settings: str) -> AsyncIterator[RouterMesh]:
    """Starts etcd, unless the test does, and a router with these settings."""
    async with AsyncExitStack() as stack:
        etcd = EtcdServer(directory)
        stack.push_async_callback(etcd.kill)
        if etcd_up:
            await etcd.start()
        client = EtcdClient([etcd.endpoint])
        stack.push_async_callback(client.close)
        router = ForkedServiceProcess("router", directory, {"etcd_endpoints": etcd.endpoint, **settings})
        stack.push_async_callback(router.kill)
        await router.start(ready=etcd_up)
        mesh = RouterMesh(etcd, client, router, stack)
        mesh.edge.open()
        stack.push_async_callback(mesh.edge.close)
        yield mesh

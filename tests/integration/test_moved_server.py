"""A server whose name gets another address, as that of a replaced pod does, is found again at once."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.rpc.channels import CONNECTION_OPTIONS, channel_opener
from services.common.rpc.server import GrpcServer
from services.common.settings import TlsSettings
from tests.support.deadlines import within
from tests.support.name_server import NameServer

_NO_TLS = TlsSettings()


async def _is_serving(channel: grpc.aio.Channel) -> bool:
    request = health_pb2.HealthCheckRequest()
    response = await health_pb2_grpc.HealthStub(channel).Check(request, wait_for_ready=True)
    return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


async def test_a_server_is_found_at_its_new_address() -> None:
    open_channel = channel_opener(_NO_TLS, options=CONNECTION_OPTIONS)
    first = GrpcServer("127.0.0.2:0", _NO_TLS)
    await first.start([])
    port = int(first.address.rpartition(":")[2])
    second = GrpcServer(f"127.0.0.3:{port}", _NO_TLS)
    try:
        async with NameServer("127.0.0.2") as names, open_channel(names.target("moving.test", port)) as channel:
            async with within(3):
                assert await _is_serving(channel)
            await first.stop([], 0.0)
            names.address = "127.0.0.3"
            await second.start([])
            # By gRPC's default the old address would be tried for 30 s.
            async with within(3):
                assert await _is_serving(channel)
    finally:
        await first.stop([], 0.0)
        await second.stop([], 0.0)

"""What operators and tools expect of every gRPC server of the mesh."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.common.rpc.server import GrpcServer
from services.common.settings import TlsSettings
from tests.support.batch_echo import NO_TLS, SERVICE, EchoServer
from tests.support.certificates import CertificateAuthority

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
async def server() -> AsyncIterator[EchoServer]:
    async with EchoServer() as server:
        yield server


@pytest.fixture
async def channel(server: EchoServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield channel


@pytest.mark.parametrize("service", ["", SERVICE])
async def test_health_is_serving(channel: grpc.aio.Channel, service: str) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
    assert answer.status == SERVING


async def test_health_turns_to_not_serving_before_the_server_ends(
    server: EchoServer, channel: grpc.aio.Channel
) -> None:
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
    assert (await watch.read()).status == SERVING
    await server.stop()
    assert (await watch.read()).status == NOT_SERVING


async def test_reflection_lists_the_services(channel: grpc.aio.Channel) -> None:
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
    await reflection.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    answer = await reflection.read()
    names = {service.name for service in answer.list_services_response.service}
    assert names >= {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    await reflection.done_writing()


async def test_a_free_port_is_taken_and_told() -> None:
    server = GrpcServer("127.0.0.1:0", NO_TLS)
    await server.start([SERVICE])
    try:
        host, _, port = server.address.partition(":")
        assert (host, int(port) > 0) == ("127.0.0.1", True)
        socket.create_connection((host, int(port))).close()
    finally:
        await server.stop([], 0.0)


async def test_a_taken_port_is_reported_in_words(server: EchoServer) -> None:
    with pytest.raises(OSError, match=rf"cannot listen on {server.address}: is the port taken\?"):
        await GrpcServer(server.address, NO_TLS).start([SERVICE])


async def test_a_missing_certificate_file_is_reported_by_name(tmp_path: Path) -> None:
    files = CertificateAuthority().issue(tmp_path)
    (tmp_path / "tls.key").unlink()
    with pytest.raises(OSError, match=r"tls\.key"):
        await GrpcServer("127.0.0.1:0", files).start([SERVICE])


async def test_a_certificate_file_without_a_certificate_is_reported(tmp_path: Path) -> None:
    files = CertificateAuthority().issue(tmp_path)
    wrong = TlsSettings(ca_file=files.ca_file, cert_file=files.key_file, key_file=files.key_file)
    with pytest.raises(OSError, match="certificate"):
        await GrpcServer("127.0.0.1:0", wrong).start([SERVICE])

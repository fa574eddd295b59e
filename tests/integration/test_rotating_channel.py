"""A channel that stays open while its certificate files are replaced."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.rpc.channels import channel_opener
from services.common.settings import TlsSettings
from tests.support.batch_echo import EchoServer, ask
from tests.support.certificates import CertificateAuthority
from tests.support.waiting import eventually
from tiermesh.auth.v1 import auth_pb2, auth_pb2_grpc

DENIED = grpc.StatusCode.PERMISSION_DENIED


@pytest.fixture
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture
def files(authority: CertificateAuthority, tmp_path: Path) -> TlsSettings:
    """The client's files, made out to "first"."""
    return authority.issue(tmp_path / "client", "first")


@pytest.fixture
async def server(authority: CertificateAuthority, tmp_path: Path) -> AsyncIterator[EchoServer]:
    """Serves "first" and "second"."""
    tls = msgspec.structs.replace(
        authority.issue(tmp_path / "server", "tiermesh-auth"), client_names=("first", "second")
    )
    async with EchoServer(tls=tls) as server:
        yield server


@pytest.fixture
async def channel(server: EchoServer, files: TlsSettings) -> AsyncIterator[grpc.aio.Channel]:
    async with channel_opener(files, "auth")(server.address) as channel:
        yield channel


async def open_stream(channel: grpc.aio.Channel) -> Any:
    """Opens a batch stream and reads the server's hello; raises AioRpcError."""
    stream: Any = auth_pb2_grpc.AuthServiceStub(channel).Authenticate()
    await stream.read()
    return stream


async def is_let_in(channel: grpc.aio.Channel) -> bool:
    try:
        (await open_stream(channel)).cancel()
    except grpc.aio.AioRpcError as error:
        if error.code() is DENIED:
            return False
        raise
    return True


async def test_the_next_call_shows_the_new_certificate(
    channel: grpc.aio.Channel, authority: CertificateAuthority, tmp_path: Path
) -> None:
    for name, expected in (("first", True), ("third", False), ("second", True)):
        authority.issue(tmp_path / "client", name)
        assert await is_let_in(channel) is expected, name


async def test_stubs_made_before_use_the_new_files_too(
    channel: grpc.aio.Channel, authority: CertificateAuthority, tmp_path: Path
) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    assert (await stub.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
    # Both ends change to another authority.
    new = CertificateAuthority()
    new.issue(tmp_path / "server", "tiermesh-auth")
    new.issue(tmp_path / "client", "first")
    assert (await stub.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING


async def test_a_stream_in_flight_ends_on_its_old_connection(
    server: EchoServer, channel: grpc.aio.Channel, authority: CertificateAuthority, tmp_path: Path
) -> None:
    stream = await open_stream(channel)
    call = ask("hold this")
    call.id = 1
    await stream.write(auth_pb2.AuthenticateRequest(calls=[call]))
    await eventually(lambda: bool(server.handler.held))
    authority.issue(tmp_path / "client", "third")
    assert not await is_let_in(channel)
    server.handler.release()
    assert (await stream.read()).replies[0].account_id == "hold this"
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF


async def test_closing_ends_what_is_in_flight_on_old_connections_too(
    server: EchoServer, files: TlsSettings, authority: CertificateAuthority, tmp_path: Path
) -> None:
    channel = channel_opener(files, "auth")(server.address)
    await open_stream(channel)
    authority.issue(tmp_path / "client", "second")
    await open_stream(channel)
    assert server.handler.ended == []
    await channel.close()
    await eventually(lambda: len(server.handler.ended) == 2)


async def test_half_written_files_change_nothing(
    channel: grpc.aio.Channel, authority: CertificateAuthority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await is_let_in(channel)
    key = tmp_path / "client" / "tls.key"
    authority.issue(tmp_path / "other", "third")
    half = key.read_bytes()[:50]
    for content in (half, (tmp_path / "other" / "tls.key").read_bytes()):
        key.write_bytes(content)
        assert await is_let_in(channel)
    key.unlink()
    assert await is_let_in(channel)
    assert "certificate_files_unusable" in capsys.readouterr().out
    # Complete again, they are used.
    authority.issue(tmp_path / "client", "third")
    assert not await is_let_in(channel)


async def test_a_missing_file_is_reported_by_name(server: EchoServer, files: TlsSettings, tmp_path: Path) -> None:
    (tmp_path / "client" / "tls.crt").unlink()
    with pytest.raises(OSError, match=r"tls\.crt"):
        channel_opener(files, "auth")(server.address)


async def test_without_a_role_the_server_needs_a_certificate_for_its_address(
    server: EchoServer, files: TlsSettings
) -> None:
    async with channel_opener(files)(server.address) as channel:
        assert await is_let_in(channel)
    async with channel_opener(files, "billing")(server.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
            await open_stream(channel)

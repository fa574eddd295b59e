"""Mutual TLS between services: both ends prove who they are, and certificates rotate without a restart."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from services.common.errors import MeshError
from services.common.settings import TlsSettings
from tests.support.batch_echo import EchoServer, ask, echo_client
from tests.support.certificates import CertificateAuthority


@pytest.fixture
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture
def tls(authority: CertificateAuthority, tmp_path: Path) -> TlsSettings:
    return authority.issue(tmp_path / "files")


async def is_refused(server: EchoServer, tls: TlsSettings) -> bool:
    """Tells whether a client with these certificates cannot make a call."""
    async with echo_client(server.address, tls=tls, retry=False) as client:
        try:
            await client.request(ask("let me in"), 5.0)
        except MeshError:
            return True
        return False


async def served_subject(server: EchoServer, tls: TlsSettings) -> str:
    """Returns the common name that the server shows to a new connection."""
    host, _, port = server.address.partition(":")
    context = ssl.create_default_context(cafile=tls.ca_file)
    context.load_cert_chain(tls.cert_file, tls.key_file)
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    try:
        certificate = writer.get_extra_info("peercert")
    finally:
        writer.transport.abort()
    return str(dict(pair for (pair,) in certificate["subject"])["commonName"])


async def test_two_services_of_one_authority_talk(tls: TlsSettings) -> None:
    async with EchoServer(tls=tls) as server, echo_client(server.address, tls=tls) as client:
        assert (await client.request(ask("secret"), 5.0)).account_id == "secret"


async def test_a_client_without_tls_is_refused(tls: TlsSettings) -> None:
    async with EchoServer(tls=tls) as server:
        assert await is_refused(server, TlsSettings())
        assert server.handler.texts == []


async def test_a_client_of_a_foreign_authority_is_refused(tls: TlsSettings, tmp_path: Path) -> None:
    foreign = CertificateAuthority("another authority").issue(tmp_path / "foreign")
    # It even trusts the server; its own certificate is what is wrong.
    stranger = TlsSettings(ca_file=tls.ca_file, cert_file=foreign.cert_file, key_file=foreign.key_file)
    async with EchoServer(tls=tls) as server:
        assert await is_refused(server, stranger)
        assert server.handler.texts == []


async def test_a_server_of_a_foreign_authority_is_refused(tls: TlsSettings, tmp_path: Path) -> None:
    foreign = CertificateAuthority("another authority").issue(tmp_path / "foreign")
    impostor = TlsSettings(ca_file=tls.ca_file, cert_file=foreign.cert_file, key_file=foreign.key_file)
    async with EchoServer(tls=impostor) as server:
        assert await is_refused(server, tls)
        assert server.handler.texts == []


async def test_a_replaced_certificate_is_shown_to_new_connections(
    authority: CertificateAuthority, tls: TlsSettings, tmp_path: Path
) -> None:
    async with EchoServer(tls=tls) as server, echo_client(server.address, tls=tls) as client:
        await client.request(ask("before"), 5.0)
        assert await served_subject(server, tls) == "peer"
        authority.issue(tmp_path / "files", "renewed peer")
        assert await served_subject(server, tls) == "renewed peer"
        # The connection that is open stays open.
        assert (await client.request(ask("after"), 5.0)).account_id == "after"
        assert server.handler.ended == []


async def test_a_new_authority_replaces_the_old_one_at_both_ends(tls: TlsSettings, tmp_path: Path) -> None:
    new = CertificateAuthority("new authority")
    renewed = new.issue(tmp_path / "new files")
    async with EchoServer(tls=tls) as server:
        assert await is_refused(server, renewed)
        async with echo_client(server.address, tls=renewed) as client:
            new.issue(tmp_path / "files")
            assert (await client.request(ask("rotated"), 5.0)).account_id == "rotated"


async def test_half_written_files_do_not_stop_a_server(
    authority: CertificateAuthority, tls: TlsSettings, tmp_path: Path
) -> None:
    key = tmp_path / "files" / "tls.key"
    client_files = authority.issue(tmp_path / "client files")
    async with EchoServer(tls=tls) as server:
        half = key.read_bytes()[:100]
        key.unlink()
        assert not await is_refused(server, client_files)
        key.write_bytes(half)
        assert not await is_refused(server, client_files)
        authority.issue(tmp_path / "files", "renewed peer")
        assert await served_subject(server, client_files) == "renewed peer"

"""Certificates, and then their authority, are replaced under a mesh at work: nobody notices."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import openai
import pytest

from services.cli.dev_certificates import PARTS
from services.cli.state import certificate_files
from services.common.etcd import EtcdClient
from services.common.registry import RUNNERS_PREFIX
from tests.support.certificates import CertificateAuthority
from tests.support.mesh import LocalMesh
from tests.support.tls_probe import served_certificate
from tests.support.waiting import eventually

STREAMS = 16
SERVERS = ("auth", "billing", "router", "runner-pro")
# An answer takes about half a second.
SETTINGS = {"TIERMESH_RUNNER_SIMULATED_SPEED": "40"}
QUESTION: Any = {"model": "tiermesh-pro", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 20}


class Load:
    """Streams that follow each other without a pause until the load is told to stop."""

    def __init__(self, mesh: LocalMesh) -> None:
        self.complete = 0
        self.failures: list[str] = []
        self._client = openai.AsyncOpenAI(base_url=mesh.base_url, api_key=mesh.unlimited_key, max_retries=0)
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._run()) for _ in range(STREAMS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()
        await asyncio.gather(*self._tasks)
        await self._client.close()

    async def goes_on(self) -> None:
        """Waits until so many more streams were complete that each of those running now is among them."""
        goal = self.complete + 2 * STREAMS
        await eventually(lambda: self.complete >= goal, 60)

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._stream()
            except openai.APIError as error:
                self.failures.append(repr(error))

    async def _stream(self) -> None:
        reason = None
        # The balance is asked for by a unary call, whose channel outlives the certificates.
        await self._client.get("/balance", cast_to=object)
        async for chunk in await self._client.chat.completions.create(**QUESTION, stream=True):
            reason = chunk.choices[0].finish_reason or reason if chunk.choices else reason
        if reason is None:
            self.failures.append("a stream ended early")
        self.complete += 1


class Rotation:
    """The certificate files of a running mesh."""

    def __init__(self, mesh: LocalMesh) -> None:
        self._mesh = mesh
        self.directory = mesh.state_dir / "tls"

    async def issue(self, authority: CertificateAuthority, bundle: bytes = b"") -> None:
        """Replaces every certificate; `bundle` is trusted by everyone in place of the authority alone."""
        for part in PARTS:
            authority.issue(self.directory / part, f"tiermesh-{part}")
            if bundle:
                self._trust(part, bundle)
        await eventually(self._served)

    async def trust(self, bundle: bytes) -> None:
        """Replaces what everyone trusts; etcd reads that only when it starts."""
        for part in PARTS:
            self._trust(part, bundle)
        old = self._mesh.kill("etcd")
        await self._mesh.until_restarted("etcd", old)
        await eventually(self._served)

    def _trust(self, part: str, bundle: bytes) -> None:
        scratch = self.directory / part / "new"
        scratch.write_bytes(bundle)
        scratch.replace(self.directory / part / "ca.crt")

    async def _served(self) -> bool:
        """Whether new connections see what the files hold."""
        operator = certificate_files(self.directory / "operator")
        for name in (*SERVERS, "etcd"):
            pem = (self.directory / name.partition("-")[0] / "tls.crt").read_text()
            try:
                if await served_certificate(self._mesh.addresses[name], operator) != ssl.PEM_cert_to_DER_cert(pem):
                    return False
            except OSError:
                return False
        return True


@pytest.mark.timeout(300)
async def test_a_rotation_under_load_drops_nothing(tmp_path: Path) -> None:
    old, new = CertificateAuthority(), CertificateAuthority()
    old.issue_all(tmp_path / "state" / "tls")
    async with LocalMesh(tmp_path, "--tls", "--slots", str(2 * STREAMS), environ=SETTINGS) as mesh:
        rotation = Rotation(mesh)
        async with Load(mesh) as load:
            await load.goes_on()
            # New certificates of the same authority.
            await rotation.issue(old)
            await load.goes_on()
            # Then another authority: everyone trusts both, gets a certificate of the new one, and forgets the old one.
            await rotation.trust(old.pem + new.pem)
            await load.goes_on()
            await rotation.issue(new, old.pem + new.pem)
            await load.goes_on()
            await rotation.trust(new.pem)
            await load.goes_on()
        assert load.failures == []
        assert load.complete >= 10 * STREAMS

        # Whoever connects anew does so with the new files, which are all that is trusted now.
        assert await refuses_what_the_old_authority_signed(mesh, old, tmp_path)
        await runner_writes_its_record_again(mesh)
        for service in SERVERS:
            killed = mesh.kill(service)
            await mesh.until_restarted(service, killed)
        await mesh.until_serving()
        async with Load(mesh) as load:
            await load.goes_on()
        assert load.failures == []
        assert (await mesh.command("ledger", "audit"))["violations"] == []
        await eventually(lambda: healthy(mesh), 30)


async def refuses_what_the_old_authority_signed(mesh: LocalMesh, old: CertificateAuthority, directory: Path) -> bool:
    stale = old.issue(directory / "stale", "tiermesh-operator")
    environ = {
        "TIERMESH_TLS_CA_FILE": str(mesh.state_dir / "tls" / "operator" / "ca.crt"),
        "TIERMESH_TLS_CERT_FILE": stale.cert_file,
        "TIERMESH_TLS_KEY_FILE": stale.key_file,
    }
    return (await mesh.run_command("ledger", "audit", environ=environ)).returncode == 1


async def runner_writes_its_record_again(mesh: LocalMesh) -> None:
    """Deletes the runner's record and waits until the runner, over its long-lived client of etcd, has put it back."""
    etcd = EtcdClient([mesh.etcd_endpoint], tls=certificate_files(mesh.state_dir / "tls" / "operator"))
    prefix = RUNNERS_PREFIX.encode()
    (key,) = (await etcd.get_prefix(prefix)).items
    assert await etcd.delete(key) == 1

    async def is_back() -> bool:
        return key in (await etcd.get_prefix(prefix)).items

    await eventually(is_back)
    await etcd.close()


async def healthy(mesh: LocalMesh) -> bool:
    return (await mesh.run_command("doctor")).returncode == 0

"""etcd with TLS and users, set up as docs/operations/tls.md says: the mesh works and reaches nothing else."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from services.common.etcd import AuthenticationError, EtcdClient, EtcdError, EtcdUnavailableError
from services.common.registry import RUNNERS_PREFIX
from tests.support.certificates import CertificateAuthority
from tests.support.etcd import EtcdServer
from tests.support.etcd_administration import administer
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually

_PAGE = Path(__file__).parents[3] / "docs" / "operations" / "tls.md"
_KEY = RUNNERS_PREFIX.encode() + b"one"


def documented_commands() -> list[list[str]]:
    """Returns the page's block of etcdctl commands."""
    block = _PAGE.read_text(encoding="utf-8").split("```sh\n", 1)[1].split("```", 1)[0]
    return [shlex.split(line) for line in block.splitlines()]


class GuardedEtcd:
    """An etcd that wants certificates, and the certificates."""

    def __init__(self, directory: Path) -> None:
        authority = CertificateAuthority()
        names = ("tiermesh-etcd", "root", "tiermesh-runner", "tiermesh-router", "tiermesh-operator", "tiermesh-edge")
        self.files = {name: authority.issue(directory / name, name) for name in names}
        own = self.files["tiermesh-etcd"]
        arguments = (
            f"--cert-file={own.cert_file}",
            f"--key-file={own.key_file}",
            f"--trusted-ca-file={own.ca_file}",
            "--client-cert-auth=true",
        )
        self.server = EtcdServer(directory, arguments=arguments, tls=self.files["root"])

    def client(self, name: str, *, username: str = "", password: str = "") -> EtcdClient:
        return EtcdClient([self.server.endpoint], tls=self.files[name], username=username, password=password)

    async def administer(self, *command: str, name: str = "root") -> grpc.StatusCode:
        """Does what `etcdctl` would do, as the owner of this certificate."""
        return await administer(self.server.endpoint, self.files[name], *command)


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[GuardedEtcd]:
    guarded = GuardedEtcd(tmp_path)
    async with guarded.server:
        for program, *arguments in documented_commands():
            assert program == "etcdctl"
            assert await guarded.administer(*arguments) is grpc.StatusCode.OK, arguments
        yield guarded


async def denied(client: EtcdClient, key: bytes, *, write: bool) -> bool:
    """Whether etcd refuses the access by name."""
    try:
        await (client.put(key, b"x") if write else client.get_prefix(key))
    except EtcdError as error:
        return error.code.name == "PERMISSION_DENIED"
    return False


async def test_the_mesh_can_do_all_that_it_needs(guarded: GuardedEtcd, tmp_path: Path) -> None:
    def settings(name: str) -> dict[str, str]:
        files = guarded.files[name]
        return {
            "etcd_endpoints": guarded.server.endpoint,
            "etcd_ca_file": files.ca_file,
            "etcd_cert_file": files.cert_file,
            "etcd_key_file": files.key_file,
        }

    runner_settings = {**settings("tiermesh-runner"), "engine": "simulated", "lease_seconds": "2"}
    async with (
        ServiceProcess("router", tmp_path, settings("tiermesh-router")) as router,
        ServiceProcess("runner", tmp_path, runner_settings) as runner,
    ):

        async def runners(state: str) -> bool:
            return f'tiermesh_router_runners{{state="{state}",tier="pro"}} 1.0' in await router.metrics()

        await eventually(lambda: runners("ready"))
        # The lease is kept alive, and the key mended after somebody has deleted it.
        client = guarded.client("root")
        (key,) = (await client.get_prefix(RUNNERS_PREFIX.encode())).items
        await client.delete(key)

        async def is_back() -> bool:
            return key in (await client.get_prefix(key)).items

        await eventually(is_back)
        # Its end takes the key away at once, which the watch tells the router.
        assert await runner.stop() == 0
        assert not await is_back()
        await client.close()
        assert "PERMISSION_DENIED" not in router.log() + runner.log()


async def test_a_runner_reaches_nothing_but_the_prefix(guarded: GuardedEtcd) -> None:
    client = guarded.client("tiermesh-runner")
    await client.put(_KEY, b"x")
    assert (await client.get_prefix(b"/tiermesh/")).items == {_KEY: b"x"}
    for key in (b"/", b"/tiermesh", b"/tiermesh0", b"/registry/", b""):
        assert await denied(client, key, write=False), key
    for key in (b"/tiermesh", b"/tiermesh0", b"/other"):
        assert await denied(client, key, write=True), key
    await client.close()
    for command in (("user", "list"), ("role", "grant-permission", "tiermesh-runner", "readwrite", "/x")):
        assert await guarded.administer(*command, name="tiermesh-runner") is grpc.StatusCode.PERMISSION_DENIED
        assert await guarded.administer(*command) is grpc.StatusCode.OK


@pytest.mark.parametrize("name", ["tiermesh-router", "tiermesh-operator"])
async def test_others_only_read(guarded: GuardedEtcd, name: str) -> None:
    client = guarded.client(name)
    assert (await client.get_prefix(b"/tiermesh/")).items == {}
    assert await denied(client, _KEY, write=True)
    await client.close()


async def test_a_certificate_without_a_user_reaches_nothing(guarded: GuardedEtcd) -> None:
    client = guarded.client("tiermesh-edge")
    with pytest.raises(EtcdError) as caught:
        await client.get_prefix(b"/tiermesh/", attempts=1)
    assert not isinstance(caught.value, EtcdUnavailableError)
    await client.close()


async def test_a_password_does_as_well(guarded: GuardedEtcd) -> None:
    assert await guarded.administer("user", "add", "runner:secret") is grpc.StatusCode.OK
    assert await guarded.administer("user", "grant-role", "runner", "tiermesh-runner") is grpc.StatusCode.OK
    client = guarded.client("tiermesh-edge", username="runner", password="secret")
    await client.put(_KEY, b"x")
    assert await denied(client, b"/other", write=True)
    await client.close()
    mistaken = guarded.client("tiermesh-edge", username="runner", password="wrong")
    with pytest.raises(AuthenticationError):
        await mistaken.put(_KEY, b"x")
    await mistaken.close()

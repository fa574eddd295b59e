"""Nobody else on the machine, and no web page in its browser, reaches the etcd of a local mesh."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import httpx2
import pytest

from services.common.etcd import EtcdClient, EtcdError
from services.common.etcd.client import prefix_range
from services.common.registry import RUNNERS_PREFIX
from tests.support.mesh import LocalMesh

PREFIX = RUNNERS_PREFIX.encode()
KEY = PREFIX + b"evil"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    with LocalMesh(tmp_path_factory.mktemp("etcd")) as mesh:
        yield mesh


@pytest.fixture
async def insider(mesh: LocalMesh) -> AsyncIterator[EtcdClient]:
    settings = mesh.etcd_settings
    client = EtcdClient([mesh.etcd_endpoint], username=settings["etcd_username"], password=settings["etcd_password"])
    yield client
    await client.close()


@pytest.mark.parametrize("path", ["kv/put", "kv/range", "kv/deleterange", "auth/authenticate", "lease/grant"])
@pytest.mark.parametrize("version", ["v3", "v3beta", "v3alpha"])
async def test_the_simple_requests_of_web_pages_are_refused(
    mesh: LocalMesh, insider: EtcdClient, version: str, path: str
) -> None:
    start, end = (base64.b64encode(key).decode() for key in prefix_range(PREFIX))
    body = f'{{"key": "{start}", "range_end": "{end}", "value": "AAAA", "name": "root", "password": "root", "TTL": 9}}'
    # What a browser sends without asking first.
    headers = {"Origin": "https://example.com", "Content-Type": "text/plain"}
    before = (await insider.get_prefix(PREFIX)).items
    for port in (mesh.etcd_endpoint, mesh.metrics["etcd"].removeprefix("http://").removesuffix("/metrics")):
        async with httpx2.AsyncClient() as client:
            answer = await client.post(f"http://{port}/{version}/{path}", content=body, headers=headers)
        assert answer.status_code in {403, 404, 405}, answer.text
        assert "Access-Control-Allow-Origin" not in answer.headers or answer.status_code == 404
    after = (await insider.get_prefix(PREFIX)).items
    assert after.keys() == before.keys() != set()


@pytest.mark.parametrize(("username", "password"), [("", ""), ("root", "root"), ("root", "")])
async def test_only_who_knows_the_password_reads_or_writes(mesh: LocalMesh, username: str, password: str) -> None:
    client = EtcdClient([mesh.etcd_endpoint], username=username, password=password)
    try:
        for attempt in (
            client.put(KEY, b"{}"),
            client.get_prefix(PREFIX, attempts=1),
            client.delete(KEY),
        ):
            with pytest.raises(EtcdError) as refusal:
                await attempt
            assert refusal.value.code in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNAUTHENTICATED}
    finally:
        await client.close()


def test_the_password_is_another_at_each_start_and_readable_by_the_owner_only(mesh: LocalMesh, tmp_path: Path) -> None:
    password = mesh.etcd_settings["etcd_password"]
    assert len(password) >= 32
    assert (mesh.state_dir / "mesh.json").stat().st_mode & 0o777 == 0o600
    assert mesh.state_dir.stat().st_mode & 0o777 == 0o700
    assert all(password not in log.read_text(errors="replace") for log in mesh.state_dir.glob("logs/*.log"))
    with LocalMesh(tmp_path) as other:
        assert other.etcd_settings["etcd_password"] != password


async def test_it_demands_the_password_after_a_restart_of_etcd_too(mesh: LocalMesh) -> None:
    await mesh.until_restarted("etcd", mesh.kill("etcd"))
    client = EtcdClient([mesh.etcd_endpoint])
    with pytest.raises(EtcdError) as refusal:
        await client.put(KEY, b"{}")
    await client.close()
    assert refusal.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_doctor_finds_the_password_by_itself(mesh: LocalMesh) -> None:
    assert mesh.command_now("doctor")["healthy"]


async def test_no_admin_port_answers_pages_of_others(mesh: LocalMesh) -> None:
    async with httpx2.AsyncClient() as client:
        for url in mesh.metrics.values():
            answer = await client.get(url, headers={"Origin": "https://example.com"})
            assert answer.status_code == 200
            assert "Access-Control-Allow-Origin" not in answer.headers

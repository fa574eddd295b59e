"""Any one process is killed: requests succeed again within two seconds of its return, and no cent is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.support.deadlines import stretched
from tests.support.mesh import LocalMesh
from tests.support.waiting import eventually

HELLO: Any = {"model": "tiermesh-pro", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    with LocalMesh(tmp_path_factory.mktemp("faults")) as mesh:
        yield mesh


@pytest.fixture
def client(mesh: LocalMesh) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=mesh.base_url, api_key=mesh.unlimited_key, max_retries=0, timeout=40) as client:
        yield client


def succeeds(client: openai.OpenAI) -> bool:
    try:
        return bool(client.chat.completions.create(**HELLO).choices)
    except openai.APIError:
        return False


async def test_a_killed_runner_is_503_at_once_and_comes_back_alone(mesh: LocalMesh, client: openai.OpenAI) -> None:
    assert succeeds(client)
    others = {name: pid for name, pid in mesh.pids.items() if name != "runner-pro"}
    mesh.kill("runner-pro")
    began = time.monotonic()
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(**HELLO)
    assert time.monotonic() - began < stretched(1.0)
    assert caught.value.status_code == 503
    await eventually(lambda: succeeds(client), 20)
    assert {name: pid for name, pid in mesh.pids.items() if name != "runner-pro"} == others


@pytest.mark.parametrize("service", ["auth", "billing", "router"])
async def test_a_killed_service_is_waited_for(mesh: LocalMesh, client: openai.OpenAI, service: str) -> None:
    before = mesh.command_now("balance", mesh.account_id)["available"]
    mesh.kill(service)
    # Nothing is lost meanwhile: the request waits for the service instead of failing.
    assert succeeds(client)
    await mesh.until_serving()
    began = time.monotonic()
    assert succeeds(client)
    assert time.monotonic() - began < stretched(2.0)
    assert before - mesh.command_now("balance", mesh.account_id)["available"] == 20
    assert mesh.command_now("ledger", "audit")["violations"] == []


async def test_a_killed_etcd_is_not_noticed_by_requests(mesh: LocalMesh, client: openai.OpenAI) -> None:
    mesh.kill("etcd")
    for _ in range(20):
        assert succeeds(client)
    await mesh.until_serving()
    assert succeeds(client)
    # The runner registers itself again, so that it outlives its old lease too.
    await eventually(lambda: [runner["state"] for runner in mesh.command_now("runners")] == ["ready"])


async def test_a_killed_edge_serves_again_on_the_same_port(mesh: LocalMesh, client: openai.OpenAI) -> None:
    mesh.kill("edge")
    await eventually(lambda: succeeds(client), 20)

"""PostgreSQL dies for five seconds under load: requests wait or get 503, none is served unpaid, all recovers alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.deadlines import stretched
from tests.support.mesh import LocalMesh
from tests.support.postgres import PostgresServer, create_database
from tests.support.waiting import eventually

PRICE = 10
CLIENTS = 8
OUTAGE_SECONDS = 5.0
REQUEST: Any = {"model": "tiermesh-pro", "messages": [{"role": "user", "content": "Hello there"}], "max_tokens": 3}


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    server = PostgresServer(durable=True)
    server.start()
    yield server
    server.remove()


class Load:
    """Clients that ask again and again, and what they were answered."""

    def __init__(self, mesh: LocalMesh) -> None:
        self.responses: list[httpx2.Response] = []
        self._headers = {"Authorization": f"Bearer {mesh.unlimited_key}"}
        self._url = mesh.base_url + "/chat/completions"
        self._stop = asyncio.Event()

    @property
    def served(self) -> int:
        return sum(response.status_code == 200 for response in self.responses)

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        async with (
            httpx2.AsyncClient(headers=self._headers, timeout=stretched(60)) as http,
            asyncio.TaskGroup() as clients,
        ):
            for _ in range(CLIENTS):
                clients.create_task(self._ask(http))

    async def _ask(self, http: httpx2.AsyncClient) -> None:
        while not self._stop.is_set():
            self.responses.append(await http.post(self._url, json=REQUEST))


async def test_nothing_is_served_unpaid_while_the_database_is_away(server: PostgresServer, tmp_path: Path) -> None:
    databases = {f"TIERMESH_{service}_DATABASE_URL": create_database(server.url) for service in ("AUTH", "BILLING")}
    async with LocalMesh(tmp_path, environ=databases) as mesh:
        load = Load(mesh)
        before = (await mesh.command("balance"))["available"]
        running = asyncio.create_task(load.run())
        await eventually(lambda: load.served > 50)
        server.kill()
        await asyncio.sleep(OUTAGE_SECONDS)  # This is the outage itself, not a wait for something.
        server.start()
        again = load.served + 50
        await eventually(lambda: load.served > again, 30)
        load.stop()
        await running
        await eventually(lambda: mesh.command_now("balance")["held"] == 0, 30)
        refused = [response for response in load.responses if response.status_code != 200]
        assert {response.status_code for response in refused} <= {503}
        assert all(int(response.headers["retry-after"]) > 0 for response in refused)
        assert before - (await mesh.command("balance"))["available"] == PRICE * load.served
        assert (await mesh.command("ledger", "audit"))["violations"] == []

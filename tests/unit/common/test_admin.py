from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.common.admin import AdminServer


@dataclass
class Process:
    """A process that an operator looks at."""

    ready: bool = True
    healthy: bool = True


@pytest.fixture
def process() -> Process:
    return Process()


@pytest.fixture
async def admin(process: Process) -> AsyncIterator[AdminServer]:
    admin = AdminServer("127.0.0.1:0", ready=lambda: process.ready, healthy=lambda: process.healthy)
    await admin.start()
    yield admin
    await admin.stop()


async def get(admin: AdminServer, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://{admin.address}{path}") as response:
        return response.status, await response.text()


async def test_a_process_is_healthy_and_ready_unless_it_says_otherwise() -> None:
    admin = AdminServer("127.0.0.1:0")
    await admin.start()
    try:
        assert await get(admin, "/healthz") == (200, "ok\n")
        assert await get(admin, "/readyz") == (200, "ok\n")
    finally:
        await admin.stop()


async def test_each_probe_has_its_own_answer_and_is_asked_anew(admin: AdminServer, process: Process) -> None:
    process.ready = False
    assert await get(admin, "/readyz") == (503, "not ready\n")
    assert (await get(admin, "/healthz"))[0] == 200
    process.ready, process.healthy = True, False
    assert (await get(admin, "/readyz"))[0] == 200
    assert (await get(admin, "/healthz"))[0] == 503


async def test_metrics_are_what_prometheus_reads(admin: AdminServer) -> None:
    status, text = await get(admin, "/metrics")
    names = {family.name for family in text_string_to_metric_families(text)}
    assert (status, "python_info" in names) == (200, True)


async def test_nothing_else_is_served(admin: AdminServer) -> None:
    assert (await get(admin, "/"))[0] == 404


async def test_a_taken_port_is_an_os_error_that_names_it(admin: AdminServer) -> None:
    port = admin.address.rpartition(":")[2]
    with pytest.raises(OSError, match=f"{port}.*in use"):
        await AdminServer(admin.address).start()


async def test_the_port_is_free_after_stop() -> None:
    first = AdminServer("127.0.0.1:0")
    await first.start()
    await first.stop()
    second = AdminServer(first.address)
    await second.start()
    await second.stop()

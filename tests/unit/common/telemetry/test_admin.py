from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.common.telemetry.admin import AdminServer


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


async def exchange(admin: AdminServer, request: bytes) -> bytes:
    host, _, port = admin.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


async def test_a_head_request_has_no_body(admin: AdminServer) -> None:
    answer = await exchange(admin, b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n")


async def test_other_methods_are_refused(admin: AdminServer) -> None:
    assert (await exchange(admin, b"POST /metrics HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 405 ")


@pytest.mark.parametrize("request_", [b"", b"GET", b"\x16\x03\x01" * 100, b"GET /" + b"a" * 100_000 + b"\r\n\r\n"])
async def test_what_is_no_request_gets_no_answer(admin: AdminServer, request_: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        assert await exchange(admin, request_) == b""
    assert (await get(admin, "/healthz"))[0] == 200

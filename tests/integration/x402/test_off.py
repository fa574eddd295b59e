"""An edge knows of wallets only where an operator has switched them on, and trusts nobody who has not paid yet."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.integration.x402.shop import BODY
from tests.support.deadlines import stretched
from tests.support.ports import free_address
from tests.support.process import ServiceProcess

# What only payments need, or only the clients of tests.
_FOREIGN = re.compile(
    r"\| +((?:services\.edge\.x402|x402|web3|eth_\w+|coincurve|bip32|Crypto)(?:\.\w+)*)$", re.MULTILINE
)
JUNK = {"PAYMENT-SIGNATURE": "%%%"}
OpenEdge = Callable[[dict[str, str]], AbstractAsyncContextManager[tuple[httpx.AsyncClient, ServiceProcess]]]


@pytest.fixture
def edge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenEdge:
    """Starts an edge without a mesh, which tells in its log whatever it imports."""
    nobody = {f"{name}_addresses": free_address() for name in ("auth", "billing", "router")}
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")

    @asynccontextmanager
    async def open_edge(settings: dict[str, str]) -> AsyncIterator[tuple[httpx.AsyncClient, ServiceProcess]]:
        process = ServiceProcess("edge", tmp_path, {**nobody, **settings})
        await process.start(ready=False)
        try:
            async with httpx.AsyncClient(base_url=f"http://{process.address}/v1", timeout=stretched(30)) as http:
                yield http, process
        finally:
            await process.kill()

    return open_edge


def foreign(process: ServiceProcess) -> set[str]:
    """Returns what was imported of payments."""
    log = process.log()
    assert re.search(r"\| +services\.edge\.service$", log, re.MULTILINE)
    return set(_FOREIGN.findall(log))


async def test_without_payments_nothing_of_them_is_imported(edge: OpenEdge) -> None:
    async with edge({}) as (http, process):
        answer = await http.post("/chat/completions", json=BODY)
        # As ever, whatever payment comes with it.
        paid = await http.post("/chat/completions", json=BODY, headers=JUNK)
        document = (await http.get(f"http://{process.address}/openapi.json")).json()
        known = await http.get(f"http://{process.address}/.well-known/x402")
    for refused in (answer, paid):
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
        assert "payment-required" not in refused.headers
    assert "x-payment-info" not in str(document)
    assert known.status_code == 404
    assert foreign(process) == set()


async def test_an_edge_needs_no_library_of_wallets_and_limits_whoever_has_not_paid(edge: OpenEdge) -> None:
    async with edge({"payments_addresses": free_address(), "unpaid_per_minute": "4"}) as (http, process):
        bodies = [BODY, {**BODY, "temperature": 9}, BODY, {**BODY, "temperature": 9}, BODY]
        headers = [{}, {}, JUNK, JUNK, JUNK]
        answers = [
            await http.post("/chat/completions", json=body, headers=each)
            for body, each in zip(bodies, headers, strict=True)
        ]
    # Nobody tells the terms here.
    assert [answer.status_code for answer in answers] == [503, 400, 400, 400, 429]
    params = [answer.json()["error"]["param"] for answer in answers]
    assert params == [None, "temperature", "PAYMENT-SIGNATURE", "temperature", None]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    modules = foreign(process)
    assert "services.edge.x402.wallets" in modules
    assert {name for name in modules if not name.startswith("services.")} == set()

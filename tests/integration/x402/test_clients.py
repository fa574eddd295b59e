"""The official clients for Node, of both versions of the protocol, and the samples of docs/x402.md."""

from __future__ import annotations

import asyncio
import re
import runpy
import subprocess
from pathlib import Path

import pytest

from tests.integration.x402.shop import CREDIT, PRICE, Shop, Wallet, decoded
from tests.support import programs
from tests.support.deadlines import stretched
from tests.support.node import JAVASCRIPT, run_sample

ATOMIC = PRICE * CREDIT
PAGE = programs.ROOT / "docs" / "x402.md"
_SECONDS = 60.0


@pytest.mark.parametrize("name", ["x402", "x402-version-1"])
async def test_a_client_for_node_pays_for_whole_answers_and_streams(shop: Shop, wallet: Wallet, name: str) -> None:
    before = shop.taken()
    environ = {"API_KEY": "x402", "PRIVATE_KEY": wallet.private_key}
    told = await asyncio.to_thread(run_sample, name, shop.mesh, **environ)
    assert shop.taken() == before + 2 * ATOMIC
    assert told["whole"]
    assert told["streamed"]
    assert told["charged"]["credits_charged"] == PRICE
    paid = decoded(told["paid"])
    assert paid["success"]
    transactions = {paid["transaction"], told["charged"]["transaction"]}
    assert len(transactions) == 2
    assert all(shop.chain.rpc("eth_getTransactionReceipt", each)["status"] == "0x1" for each in transactions)
    await shop.agrees()
    assert await wallet.balance() == (0, 0)


def sample(language: str, shop: Shop, wallet: Wallet) -> str:
    """Returns a sample of the page for this mesh and this wallet."""
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(found) == 1
    for place, value in (("http://127.0.0.1:8000/v1", shop.mesh.base_url), ("0x…", wallet.private_key)):
        assert found[0].count(place) == 1
        found[0] = found[0].replace(place, value)
    return found[0]


def test_the_sample_in_python(shop: Shop, wallet: Wallet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = shop.taken()
    path = tmp_path / "sample.py"
    path.write_text(sample("python", shop, wallet))
    runpy.run_path(str(path))
    assert capsys.readouterr().out.strip()
    assert shop.taken() == before + ATOMIC


def test_the_sample_for_node(shop: Shop, wallet: Wallet) -> None:
    before = shop.taken()
    done = subprocess.run(
        [programs.node(), "--input-type=module", "-"],
        input=sample("javascript", shop, wallet),
        cwd=JAVASCRIPT,
        capture_output=True,
        text=True,
        timeout=stretched(_SECONDS),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert shop.taken() == before + ATOMIC

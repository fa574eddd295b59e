"""`tiermesh up --chain`: a chain, a faucet and payments on one machine, from the first start to the last."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from services.cli.chain.dollar import balance
from services.cli.chain.local_chain import ChainFiles
from services.cli.chain.program import OLDEST, find_anvil, version_of
from services.cli.chain.rpc import Rpc
from services.cli.chain.wallet import read_key
from tests.support import programs
from tests.support.mesh import LocalMesh, any_alive, run_tiermesh
from tests.support.waiting import eventually

STRANGER = "0x" + 39 * "0" + "7"


def new_mesh(directory: Path) -> LocalMesh:
    return LocalMesh(directory, "--chain", environ={"PATH": programs.path_with_anvil()})


def chain_of(mesh: LocalMesh) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((mesh.state_dir / "mesh.json").read_bytes())["chain"]
    return found


def metric(mesh: LocalMesh, line: str) -> bool:
    with urllib.request.urlopen(mesh.metrics["payments"], timeout=10) as response:
        return line in response.read().decode()


def headers_for_a_page(url: str) -> list[str]:
    body = b'{"jsonrpc": "2.0", "id": 1, "method": "eth_accounts", "params": []}'
    headers = {"Origin": "https://example.com", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as response:
        return list(response.headers)


@pytest.mark.timeout(300)
async def test_a_deposit_is_made_in_one_command_at_each_start(tmp_path: Path) -> None:
    mesh = new_mesh(tmp_path)
    files = ChainFiles(mesh.state_dir / "chain")
    await mesh.start()
    first = chain_of(mesh)
    account = mesh.account_id
    (shown,) = await mesh.command("deposits", "address", account)
    assert f"  deposits  {shown['address']}".lower() in mesh.output.lower()
    assert f"faucet {account} 25" in mesh.output
    paid = await mesh.command("faucet", account, "25")
    assert (paid["credits"], paid["available"]) == (2_500, 1_002_500)
    to_nobody = await mesh.command("faucet", STRANGER, "0.50")
    assert to_nobody["atomic"] == 500_000
    # And one request is paid by a wallet, without an account.
    assert "x402 pay 'What is the capital of France?'" in mesh.output
    bought = await mesh.command("x402", "pay", "Name a colour.", "--max-tokens", "3")
    assert bought["answer"]
    assert bought["transaction"].startswith("0x")
    treasury = read_key(files.treasury_key.read_text()).address
    assert balance(Rpc(first["url"]), treasury) == bought["atomic"] == 100_000
    keys = (files.treasury_key, files.relayer_key, files.wallet_key)
    for path in (files.mnemonic, *keys, files.record, mesh.state_dir / "mesh.json"):
        assert path.stat().st_mode & 0o777 == 0o600
    # No web page that a browser on this machine shows reads the answers of the chain.
    assert "Access-Control-Allow-Origin" not in await asyncio.to_thread(headers_for_a_page, first["url"])
    processes = mesh.processes()
    assert await mesh.stop() == 0
    assert not any_alive(processes)

    # The chain goes on where it ended, and so do its readers.
    await mesh.start()
    assert chain_of(mesh)["chain_id"] == first["chain_id"]
    assert (await mesh.command("faucet", account, "0.015"))["available"] == 1_002_501
    assert (await mesh.command("faucet", account, "0.005"))["available"] == 1_002_502
    assert metric(mesh, 'tiermesh_payments_stopped{watcher="first"} 0.0')

    # A chain that was killed has lost its blocks: the mesh says so, and serves on.
    mesh.kill("chain")
    await eventually(lambda: "chain was killed by SIGKILL: the chain is lost" in mesh.output)
    assert (await mesh.command("balance"))["available"] == 1_002_502
    await mesh.stop()

    # Another chain begins, and nobody takes it for the old one with another history.
    async with mesh:
        assert f"the local chain {first['chain_id']} was not saved" in mesh.output
        second = chain_of(mesh)
        assert second["chain_id"] != first["chain_id"]
        assert (await mesh.command("faucet", account, "1"))["available"] == 1_002_602
        assert len(await mesh.command("deposits", "address", account)) == 2
        assert metric(mesh, 'tiermesh_payments_stopped{watcher="first"} 0.0')
        assert not (await mesh.command("ledger", "audit"))["violations"]
        assert Rpc(second["url"]).call("eth_chainId") == hex(second["chain_id"])
        assert (await mesh.command("x402", "pay", "Name a colour.", "--max-tokens", "3"))["transaction"]
        # Each secret is in one file: in no log, no database and no description of the mesh.
        for file in (files.mnemonic, *keys):
            secret = file.read_bytes().strip().removeprefix(b"0x")
            told = [path for path in mesh.state_dir.rglob("*") if path.is_file() and secret in path.read_bytes()]
            assert told == [file]
            assert secret.decode() not in mesh.output


async def test_a_mesh_without_a_chain_has_no_faucet(tmp_path: Path) -> None:
    done = await run_tiermesh("faucet", "anybody", "1", "--state-dir", str(tmp_path))
    assert done.returncode == 1
    assert "Start one with `tiermesh up --chain`" in done.stderr


def test_anvil_is_installed_as_the_lock_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where the tests run, no anvil is there.
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    said: list[str] = []
    found = find_anvil(tmp_path / "anvil", said.append)
    assert version_of(found) == OLDEST
    assert len(said) == 1
    # Once is enough.
    assert find_anvil(tmp_path / "anvil", said.append) == found
    assert len(said) == 1

"""Sweeps on a real chain: planned beside billing, signed offline, sent by a key that has nothing but gas."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.cli.chain.wallet import SigningKey, Wallet
from services.common.ethereum.addresses import with_checksum
from tests.integration.payments.world import ACCOUNTS, World
from tests.support.chain import XPUB, Chain, TokenContract
from tests.support.commands import run_forked
from tests.support.deadlines import within
from tests.support.mesh import TIERMESH
from tests.support.node_proxy import honest
from tests.support.process import ServiceProcess

MNEMONIC = "test test test test test test test test test test test junk"
GAS_KEY = "11" * 32
TREASURY = with_checksum("0x" + 20 * "7e")
ETHER = hex(10**18)
# With each transaction a block that is final at once.
AT_ONCE = 0


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    chain = Chain(epoch=AT_ONCE)
    asyncio.run(chain.start())
    yield chain
    chain.stop()


class Operator:
    """Runs the operator's commands on a world, with files of its own."""

    def __init__(self, world: World, billing: ServiceProcess, directory: Path) -> None:
        self.world = world
        self._directory = directory
        self._billing = billing.address
        self.mnemonic = directory / "mnemonic"
        self.mnemonic.write_text(f"{MNEMONIC}\n")
        self._gas_key = directory / "gas-key"
        self._gas_key.write_text(GAS_KEY)
        world.chain.rpc("anvil_setBalance", SigningKey(bytes.fromhex(GAS_KEY)).address, ETHER)

    def file(self, name: str) -> Path:
        return self._directory / f"{name}.json"

    def arguments(self, *command: str, token: bool = True, url: str = "") -> list[str]:
        state = ["--state-dir", str(self._directory / "state"), "--billing-address", self._billing]
        named = ["--token", self.world.token.address] if token else []
        return ["deposits", *command, *state, "--rpc-url", url or self.world.chain.url, *named]

    def run(self, *command: str, token: bool = True, url: str = "") -> subprocess.CompletedProcess[str]:
        return run_forked(*self.arguments(*command, token=token, url=url))

    def plan(self, name: str = "plan", *options: str) -> dict[str, Any]:
        done = self.run("sweep", "plan", "--output", str(self.file(name)), "--least", "0", *options)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(self.file(name).read_bytes())
        return found

    def sign(self, name: str = "plan", to: str = TREASURY, mnemonic: Path | None = None) -> str:
        done = run_forked(
            *("deposits", "sweep", "sign", str(self.file(name)), "--to", to),
            *("--output", str(self.file(f"signed-{name}")), "--mnemonic-file", str(mnemonic or self.mnemonic)),
        )
        return "" if done.returncode == 0 else done.stderr

    def send_command(self, name: str = "plan", url: str = "") -> list[str]:
        options = ("--gas-key-file", str(self._gas_key), "--json")
        return self.arguments("sweep", "send", str(self.file(f"signed-{name}")), *options, token=False, url=url)

    def send(self, name: str = "plan", url: str = "") -> tuple[int, dict[str, tuple[str, str]]]:
        """Returns the exit status, and what became of each address and why."""
        done = run_forked(*self.send_command(name, url))
        rows = json.loads(done.stdout) if done.stdout else []
        return done.returncode, {row["address"]: (row["state"], row["reason"]) for row in rows}


@pytest.fixture
async def world(chain: Chain, billing: ServiceProcess) -> AsyncIterator[World]:
    async with World(chain, billing.address) as world:
        yield world


@pytest.fixture
def operator(world: World, billing: ServiceProcess, tmp_path: Path) -> Operator:
    return Operator(world, billing, tmp_path)


async def deposit(world: World, **amounts: int) -> None:
    """Sends tokens to accounts, and has the watchers read them."""
    for name, atomic in amounts.items():
        world.token.transfer(world.addresses[name], atomic)
    for name in ("first", "second"):
        await world.read(world.watcher(name))


def treasury(world: World) -> int:
    return world.token.balance(TREASURY)


def low(world: World, name: str) -> str:
    return world.addresses[name].lower()


async def test_deposits_reach_the_operator_and_the_books_agree(operator: Operator) -> None:
    world = operator.world
    await deposit(world, ada=2_005_000, grace=1_000_000, edsger=9_999)
    checked = await asyncio.to_thread(operator.run, "check")
    assert checked.returncode == 0, checked.stderr
    assert "3.014999" in checked.stdout
    plan = await asyncio.to_thread(operator.plan)
    assert [each["atomic"] for each in plan["sweeps"]] == [2_005_000, 1_000_000, 9_999]
    assert await asyncio.to_thread(operator.sign) == ""
    # What arrives after the plan stays.
    await deposit(world, grace=500)
    status, sent = await asyncio.to_thread(operator.send)
    assert status == 0
    assert set(sent.values()) == {("sent", "")}
    assert treasury(world) == 3_014_999
    assert [world.token.balance(world.addresses[name]) for name in ACCOUNTS] == [0, 500, 0]
    # Credits are those of the deposits, wherever the tokens are.
    assert await world.credits() == {"ada": 200, "grace": 100, "edsger": 0}
    await deposit(world)
    assert (await asyncio.to_thread(operator.run, "check")).returncode == 0
    later = await asyncio.to_thread(operator.plan, "later")
    assert [(each["address"], each["atomic"]) for each in later["sweeps"]] == [(low(world, "grace"), 500)]
    assert later["sweeps"][0]["nonce"] not in {each["nonce"] for each in plan["sweeps"]}


async def test_nothing_is_moved_twice(operator: Operator) -> None:
    world = operator.world
    await deposit(world, ada=40_000, grace=50_000)
    # Two plans of the same deposits, both signed.
    for name in ("one", "two"):
        await asyncio.to_thread(operator.plan, name)
        assert await asyncio.to_thread(operator.sign, name) == ""
    before = treasury(world)
    assert (await asyncio.to_thread(operator.send, "one"))[0] == 0
    await deposit(world, ada=70_000)
    for name in ("one", "two"):
        status, sent = await asyncio.to_thread(operator.send, name)
        assert (status, set(sent.values())) == (0, {("already sent", "")})
    assert treasury(world) - before == 90_000
    assert world.token.balance(world.addresses["ada"]) == 70_000


@pytest.mark.parametrize("sent_before", [1, 2])
async def test_a_command_that_was_killed_is_repeated(operator: Operator, sent_before: int) -> None:
    world = operator.world
    await deposit(world, ada=10_000, grace=20_000, edsger=30_000)
    await asyncio.to_thread(operator.plan)
    assert await asyncio.to_thread(operator.sign) == ""
    before = treasury(world)
    running = await asyncio.create_subprocess_exec(
        TIERMESH, *operator.send_command(url=world.proxy.url), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    seen = 0

    def kill(call: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
        nonlocal seen
        seen += call["method"] == "eth_sendRawTransaction"
        if seen == sent_before and running.returncode is None:
            running.send_signal(signal.SIGKILL)
        return reply

    world.proxy.change = kill
    async with within(60):
        assert await running.wait() == -signal.SIGKILL
    world.proxy.change = honest
    status, sent = await asyncio.to_thread(operator.send)
    states = [state for state, _ in sent.values()]
    assert (status, states) == (0, ["already sent"] * sent_before + ["sent"] * (3 - sent_before))
    assert treasury(world) - before == 60_000
    await deposit(world)
    assert (await asyncio.to_thread(operator.run, "check")).returncode == 0


async def test_an_emptied_address_holds_up_no_other(operator: Operator) -> None:
    world = operator.world
    await deposit(world, ada=40_000, grace=50_000)
    await asyncio.to_thread(operator.plan)
    assert await asyncio.to_thread(operator.sign) == ""
    # Somebody has the mnemonic, and was faster.
    address = low(world, "ada")
    world.chain.rpc("anvil_impersonateAccount", address)
    world.chain.rpc("anvil_setBalance", address, ETHER)
    stolen = "0xa9059cbb" + f"{7:064x}" + f"{30_000:064x}"
    tx = world.chain.rpc("eth_sendTransaction", {"from": address, "to": world.token.address, "data": stolen})
    world.chain.confirmed(tx)
    status, sent = await asyncio.to_thread(operator.send)
    assert status == 1
    assert sent[address][0] == "refused"
    assert "exceeds balance" in sent[address][1]
    assert sent[low(world, "grace")] == ("sent", "")
    # What was taken is recorded as what it is, a transfer away from the address, so that the books agree again.
    await deposit(world)
    assert (await asyncio.to_thread(operator.run, "check")).returncode == 0
    assert await world.credits() == {"ada": 4, "grace": 5, "edsger": 0}


async def test_a_balance_that_the_books_do_not_explain_is_named(operator: Operator) -> None:
    world = operator.world
    await deposit(world, ada=40_000)
    slot = world.token.balance_slot(world.addresses["ada"])
    world.chain.rpc("anvil_setStorageAt", world.token.address, slot, f"0x{50_000:064x}")
    world.chain.mine()
    await deposit(world)
    done = await asyncio.to_thread(operator.run, "check")
    assert done.returncode == 1
    assert low(world, "ada") in done.stdout
    # Only what the books explain is swept.
    plan = await asyncio.to_thread(operator.plan)
    assert [each["atomic"] for each in plan["sweeps"]] == [40_000]


async def test_an_expired_signature_is_not_sent(operator: Operator) -> None:
    world = operator.world
    await deposit(world, ada=40_000)
    await asyncio.to_thread(operator.plan, "plan", "--hours", "1")
    assert await asyncio.to_thread(operator.sign) == ""
    before = treasury(world)
    world.chain.rpc("evm_increaseTime", 3700)
    world.chain.mine()
    status, sent = await asyncio.to_thread(operator.send)
    assert (status, sent[low(world, "ada")][0]) == (1, "expired")
    assert treasury(world) == before


async def test_another_chain_or_token_is_refused(operator: Operator, billing: ServiceProcess) -> None:
    world = operator.world
    await deposit(world, ada=40_000)
    await asyncio.to_thread(operator.plan)
    assert await asyncio.to_thread(operator.sign) == ""
    async with Chain(chain_id=49_999) as other:
        done = await asyncio.to_thread(run_forked, *operator.send_command(url=other.url))
        assert "signed for the chain 31337, but the node serves the chain 49999" in done.stderr
        # Billing knows nothing of that chain.
        done = await asyncio.to_thread(operator.run, "check", url=other.url)
        assert "Payments has read nothing of the token" in done.stderr
    signed = json.loads(operator.file("signed-plan").read_bytes())
    signed["domain"]["token"] = TokenContract(world.chain, "Other Coin").address.lower()
    operator.file("signed-plan").write_text(json.dumps(signed))
    done = await asyncio.to_thread(run_forked, *operator.send_command())
    assert "signed for the token 'USD Coin'" in done.stderr
    assert world.token.balance(world.addresses["ada"]) == 40_000


async def test_a_node_with_another_history_gets_no_plan(operator: Operator) -> None:
    world = operator.world
    await deposit(world, ada=40_000)

    def rewritten(call: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
        other = call["method"] == "eth_getBlockByNumber"
        return {**reply, "result": {**reply["result"], "hash": "0x" + 64 * "e"}} if other else reply

    world.proxy.change = rewritten
    done = await asyncio.to_thread(operator.run, "check", url=world.proxy.url)
    world.proxy.change = honest
    assert "Find out which history is true" in done.stderr


async def test_what_must_not_be_signed_is_refused(operator: Operator, tmp_path: Path) -> None:
    await deposit(operator.world, ada=40_000)
    plan = await asyncio.to_thread(operator.plan)
    wrong = tmp_path / "wrong"
    wrong.write_text(MNEMONIC.replace("junk", "able"))
    assert "No address of the plan belongs to this mnemonic" in await asyncio.to_thread(
        operator.sign, "plan", TREASURY, wrong
    )
    assert "do not agree with its checksum" in await asyncio.to_thread(operator.sign, "plan", TREASURY.lower())
    plan["sweeps"][0]["index"] += 1
    operator.file("plan").write_text(json.dumps(plan))
    assert "has another address than" in await asyncio.to_thread(operator.sign)
    operator.file("plan").write_text("{}")
    assert "Cannot use the file" in await asyncio.to_thread(operator.sign)


def test_the_wallet_is_that_of_every_other_program() -> None:
    wallet = Wallet(f"  {MNEMONIC.replace(' ', '   ')}\n")
    assert wallet.xpub == XPUB
    assert wallet.key(9).address == "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720"

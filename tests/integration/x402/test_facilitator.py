"""A facilitator in place of the relayer: the official one, behind its HTTP interface, on the same chain."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.payments.chain.transactions import GasKey
from tests.integration.x402.facilitator_server import AUTHORIZATION
from tests.integration.x402.mortal_shop import MortalShop
from tests.integration.x402.shop import CHAIN_ID, CREDIT, PRICE, TOKEN, Shop, Wallet, decoded, is_whole, transfer_call
from tests.support.ports import free_address
from tests.support.waiting import eventually

ATOMIC = PRICE * CREDIT
GAS_KEY = "0x" + "8d" * 32


class FacilitatedShop(MortalShop):
    """A shop whose payments a facilitator sends."""

    treasury = "0x" + "79" * 20

    def __init__(self, host: Shop, directory: Path) -> None:
        super().__init__(host, directory)
        self.facilitator = free_address()
        self.mode = directory / "mode"
        self.mode.write_text("")
        self._server: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Returns once a wallet can pay."""
        self.chain.rpc("anvil_setBalance", GasKey(GAS_KEY).address, hex(10**19))
        self.serve()
        await super().start()

    def serve(self) -> None:
        """Starts the facilitator."""
        module = "tests.integration.x402.facilitator_server"
        arguments = (self.facilitator, self.chain.url, f"eip155:{CHAIN_ID}", GAS_KEY, str(self.mode))
        self._server = subprocess.Popen([sys.executable, "-m", module, *arguments])

    def end(self) -> None:
        """Ends the facilitator."""
        assert self._server is not None
        self._server.kill()
        self._server.wait()

    def payments_settings(self) -> dict[str, str]:
        """Returns the settings of payments."""
        facilitator = {"facilitator_url": f"http://{self.facilitator}", "facilitator_authorization": AUTHORIZATION}
        own = {"facilitator_timeout": "5", "relayer_key": ""}
        return {**super().payments_settings(), **facilitator, **own}


@pytest.fixture(scope="module")
def facilitated(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FacilitatedShop]:
    facilitated = FacilitatedShop(shop, tmp_path_factory.mktemp("facilitated"))
    asyncio.run(facilitated.start())
    yield facilitated
    asyncio.run(facilitated.stop())
    facilitated.end()


async def _answer(shop: FacilitatedShop, wallet: Wallet, **changes: Any) -> Any:
    """Asks until the facilitator is there."""

    answers: list[Any] = []

    async def served() -> bool:
        answers.append(await shop.post(await wallet.payment(**changes), **changes))
        return bool(answers[-1].status_code != 503)

    await eventually(served)
    return answers[-1]


async def test_a_facilitator_settles_whole_and_streamed_answers(facilitated: FacilitatedShop) -> None:
    wallet = Wallet(facilitated)
    whole = await _answer(facilitated, wallet)
    assert whole.status_code == 200, whole.text
    transaction = decoded(whole.headers["payment-response"])["transaction"]
    sender = facilitated.chain.rpc("eth_getTransactionByHash", transaction)["from"]
    assert sender.lower() == GasKey(GAS_KEY).address.lower()
    streamed = await _answer(facilitated, wallet, stream=True)
    assert is_whole(streamed.text), streamed.text
    assert facilitated.taken() == 2 * ATOMIC
    assert await wallet.balance() == (0, 0)
    await facilitated.agrees()


async def test_without_a_facilitator_nothing_is_served_and_nothing_moves(facilitated: FacilitatedShop) -> None:
    wallet, before = Wallet(facilitated), facilitated.taken()
    facilitated.end()
    answer = await facilitated.post(await wallet.payment())
    assert answer.status_code == 503
    facilitated.serve()
    assert facilitated.taken() == before
    assert (await _answer(facilitated, wallet)).status_code == 200
    await facilitated.agrees()


async def test_what_moves_after_payments_has_died_is_not_lost(facilitated: FacilitatedShop) -> None:
    wallet = Wallet(facilitated)
    assert (await _answer(facilitated, wallet)).status_code == 200
    headers = await wallet.payment(stream=True)
    # It is noted that the facilitator has it, and payments hears nothing of what it does.
    facilitated.failpoint.write_text("payments after write_down")
    asking = asyncio.create_task(facilitated.post(headers, stream=True))
    await eventually(lambda: not facilitated.parts["payments"].running)
    payload = decoded(next(iter(headers.values())))["payload"]
    facilitated.chain.send(TOKEN, transfer_call(payload))
    await facilitated.parts["payments"].start()
    assert is_whole((await asking).text)
    await facilitated.agrees()


def test_the_header_of_the_facilitator_is_in_no_log(facilitated: FacilitatedShop) -> None:
    assert AUTHORIZATION not in json.dumps(facilitated.parts["payments"].log())


async def test_what_a_facilitator_says_is_not_believed(facilitated: FacilitatedShop) -> None:
    wallet, before = Wallet(facilitated), facilitated.taken()
    facilitated.mode.write_text("deny")
    assert (await _answer(facilitated, wallet)).status_code == 200
    assert facilitated.taken() == before + ATOMIC
    await facilitated.agrees()


async def test_what_a_facilitator_refuses_is_not_served(facilitated: FacilitatedShop) -> None:
    wallet, before = Wallet(facilitated), facilitated.taken()
    facilitated.mode.write_text("refuse")
    answer = await facilitated.post(await wallet.payment())
    assert (answer.status_code, answer.json()["error"]["code"]) == (402, "payment_failed")
    assert "refused by the facilitator (refuse)" in answer.json()["error"]["message"]
    # It is looked for until its time is over, because it could still move.
    assert [each.payer for each in await facilitated.payments_in("SENT")] == [wallet.address.lower()]
    assert (facilitated.taken(), await wallet.balance()) == (before, (0, 0))

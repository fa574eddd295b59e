"""What a wallet has paid for an answer that never came is its balance: it pays for the next answer, or goes back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from services.cli.payouts.plan import SignedRefunds
from services.cli.sweeps.plan import read_file
from services.payments.chain.transactions import GasKey
from tests.integration.x402.asking import ask_and_die, spent
from tests.integration.x402.mortal_shop import MortalShop
from tests.integration.x402.shop import CREDIT, PRICE, TOKEN, Wallet, decoded, encoded
from tests.support.commands import run_forked

ATOMIC = PRICE * CREDIT
GAS_KEY = "0x" + "7c" * 32


@pytest.fixture
async def creditor(mortal: MortalShop) -> Wallet:
    """A wallet that has paid for an answer that was not finished."""
    wallet = Wallet(mortal)
    await ask_and_die(mortal, wallet, "edge after settle")
    assert await spent(mortal, wallet) == (PRICE, PRICE)
    return wallet


def owned(wallet: Wallet) -> int:
    return wallet.shop.token.balance(wallet.address)


async def test_the_next_payment_is_taken_from_the_balance(mortal: MortalShop, creditor: Wallet) -> None:
    before = owned(creditor)
    headers = await creditor.payment()
    first = await mortal.post(headers)
    assert first.status_code == 200, first.text
    assert first.headers["x-tiermesh-credits-charged"] == str(PRICE)
    told = decoded(first.headers["payment-response"])
    assert (told["success"], told["transaction"]) == (True, "")
    assert owned(creditor) == before
    assert await creditor.balance() == (0, 0)
    # What was signed is used up, though nothing of it was sent.
    again = await mortal.post(headers)
    assert (again.status_code, again.json()["error"]["code"]) == (402, "payment_invalid")
    # And the payment after it moves tokens.
    answer = await creditor.client().chat.completions.create(
        model="tiermesh-pro", messages=[{"role": "user", "content": "Name a colour."}], max_tokens=5
    )
    assert answer.choices[0].message.content
    assert owned(creditor) == before - ATOMIC
    await mortal.agrees()


async def test_a_balance_needs_no_tokens_and_survives_an_empty_answer(mortal: MortalShop, creditor: Wallet) -> None:
    _empty(creditor)
    word = await mortal.first_word()
    empty = await mortal.post(await creditor.payment(stop=[word]), stop=[word])
    assert (empty.status_code, empty.headers["x-tiermesh-credits-charged"]) == (200, "0")
    assert await creditor.balance() == (PRICE, 0)
    streamed = await mortal.post(await creditor.payment(stream=True), stream=True)
    assert "[DONE]" in streamed.text
    assert await creditor.balance() == (0, 0)
    refused = await mortal.post(await creditor.payment())
    assert (refused.status_code, refused.json()["error"]["code"]) == (402, "payment_invalid")
    assert "more than the wallet has" in refused.json()["error"]["message"]
    await mortal.agrees()


async def test_a_balance_is_spent_once_by_requests_at_once(mortal: MortalShop, creditor: Wallet) -> None:
    before = owned(creditor)
    payments = [await creditor.payment() for _ in range(4)]
    answers = await asyncio.gather(*(mortal.post(headers) for headers in payments))
    assert {answer.status_code for answer in answers} == {200}
    assert owned(creditor) == before - 3 * ATOMIC
    assert await creditor.balance() == (0, 0)
    await mortal.agrees()


async def test_a_payment_that_was_changed_spends_no_balance(mortal: MortalShop, creditor: Wallet) -> None:
    ((name, value),) = (await creditor.payment()).items()
    payment = decoded(value)
    payment["payload"]["signature"] = (await _signature(Wallet(mortal, 1)))[:]
    answer = await mortal.post({name: encoded(payment)})
    assert (answer.status_code, answer.json()["error"]["code"]) == (402, "payment_invalid")
    assert await creditor.balance() == (PRICE, 0)


@pytest.mark.parametrize("point", ["billing before CoverWalletPayment", "billing after CoverWalletPayment"])
async def test_billing_dies_around_a_payment_by_balance(mortal: MortalShop, creditor: Wallet, point: str) -> None:
    mortal.orphans.add(creditor.address.lower())
    answer = await ask_and_die(mortal, creditor, point)
    gone, left = await spent(mortal, creditor)
    assert (gone, left) == ((PRICE, 0) if "[DONE]" in answer else (PRICE, PRICE))


class Operator:
    """Refunds by the commands, with files of its own."""

    def __init__(self, mortal: MortalShop, directory: Path) -> None:
        self._shop = mortal
        self._directory = directory
        self._keys = {"treasury": mortal.treasury_key, "gas": GAS_KEY}
        for name, key in self._keys.items():
            (directory / name).write_text(key)
        mortal.chain.rpc("anvil_setBalance", GasKey(GAS_KEY).address, hex(10**18))

    def owed(self) -> dict[str, tuple[int, int]]:
        """Returns the credits that each wallet has, and the smallest units that it is owed."""
        found = self._shop.command("x402", "list")
        return {each["account_id"]: (each["available"], each["owed_atomic"]) for each in found}

    def plan(self, *accounts: str, name: str = "plan") -> dict[str, Any]:
        options = ("--output", self.file(name), "--rpc-url", self._shop.chain.url, "--token", TOKEN)
        self._shop.command("x402", "refund", "plan", *accounts, *options)
        found: dict[str, Any] = json.loads(Path(self.file(name)).read_bytes())
        return found

    def sign(self, name: str = "plan", key: str = "treasury") -> str:
        output = ("--output", self.file(f"signed-{name}"), "--key-file", str(self._directory / key))
        done = run_forked("x402", "refund", "sign", self.file(name), *output)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def send(self, name: str = "plan", *, status: int = 0) -> list[tuple[str, str]]:
        """Returns what became of each refund, by wallets."""
        options = ("--gas-key-file", str(self._directory / "gas"), "--rpc-url", self._shop.chain.url)
        mined = ("x402", "refund", "send", self.file(f"signed-{name}"), *options)
        return [(row["wallet"], row["state"]) for row in self._shop.command(*mined, status=status)]

    def file(self, name: str) -> str:
        return str(self._directory / f"{name}.json")


@pytest.fixture
def operator(mortal: MortalShop, tmp_path: Path) -> Operator:
    return Operator(mortal, tmp_path)


async def test_a_refund_is_made_once(mortal: MortalShop, creditor: Wallet, operator: Operator) -> None:
    before, account, address = owned(creditor), creditor.account_id, creditor.address.lower()
    assert operator.owed()[account] == (PRICE, 0)
    first = operator.plan(account, name="first")
    assert [(each["wallet"], each["atomic"]) for each in first["refunds"]] == [(address, ATOMIC)]
    # It cannot be spent any more, and a plan that is made again has the same refund.
    assert operator.owed()[account] == (0, ATOMIC)
    second = operator.plan(account, name="second")
    assert second["refunds"] == first["refunds"]
    for name in ("first", "second"):
        operator.sign(name)
    sending = asyncio.create_task(asyncio.to_thread(operator.send, "first"))
    assert await _mined(mortal, sending) == [(address, "sent")]
    assert owned(creditor) == before + ATOMIC
    assert account not in operator.owed()
    for name in ("first", "second"):
        sending = asyncio.create_task(asyncio.to_thread(operator.send, name))
        assert await _mined(mortal, sending) == [(address, "already sent")]
    assert owned(creditor) == before + ATOMIC
    await mortal.agrees()


async def test_a_refund_that_was_sent_and_not_recorded_is_recorded(
    mortal: MortalShop, creditor: Wallet, operator: Operator
) -> None:
    before, account, address = owned(creditor), creditor.account_id, creditor.address.lower()
    operator.plan(account)
    operator.sign()
    # The command was killed after this, or somebody else has the file.
    (signed,) = read_file(Path(operator.file("signed-plan")), SignedRefunds).transfers
    mortal.chain.send(TOKEN, signed.call)
    assert operator.owed()[account] == (0, ATOMIC)
    # A plan that is made later finds it, too.
    assert operator.plan(account, name="later")["refunds"][0]["nonce"] == signed.transfer.nonce
    operator.sign("later")
    assert await _mined(mortal, asyncio.create_task(asyncio.to_thread(operator.send, "later"))) == [
        (address, "already sent")
    ]
    assert account not in operator.owed()
    assert owned(creditor) == before + ATOMIC
    await mortal.agrees()


async def test_only_the_treasury_can_refund(mortal: MortalShop, creditor: Wallet, operator: Operator) -> None:
    before, account = owned(creditor), creditor.account_id
    operator.plan(account)
    assert "owed by another address" in operator.sign(key="gas")
    assert operator.send() == []
    assert operator.owed()[account] == (0, ATOMIC)
    assert owned(creditor) == before
    # All that is owed, in one plan.
    assert account in {f"wallet:eip155:8453:{each['wallet']}" for each in operator.plan()["refunds"]}
    operator.sign()
    states = await _mined(mortal, asyncio.create_task(asyncio.to_thread(operator.send)))
    assert (creditor.address.lower(), "sent") in states
    assert owned(creditor) == before + ATOMIC
    await mortal.agrees()


async def _mined(mortal: MortalShop, sending: asyncio.Task[list[tuple[str, str]]]) -> list[tuple[str, str]]:
    """Adds blocks until all that was sent is final."""
    while not sending.done():
        mortal.chain.mine(2)
        await asyncio.wait([sending], timeout=0.3)
    return await sending


async def _signature(wallet: Wallet) -> str:
    ((_, value),) = (await wallet.payment()).items()
    return str(decoded(value)["payload"]["signature"])


def _empty(wallet: Wallet) -> None:
    """Moves all tokens of a wallet away, as its owner can."""
    chain = wallet.shop.chain
    chain.rpc("anvil_impersonateAccount", wallet.address)
    chain.rpc("anvil_setBalance", wallet.address, hex(10**18))
    data = "0xa9059cbb" + f"{int(chain.accounts[4], 16):064x}{owned(wallet):064x}"
    call = {"from": wallet.address, "to": TOKEN, "data": data, "gas": hex(200_000)}
    chain.confirmed(chain.rpc("eth_sendTransaction", call))

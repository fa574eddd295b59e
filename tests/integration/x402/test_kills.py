"""Kills of every part at every step: chain and books agree to the last unit, and nobody pays twice.

A payment that has moved for an answer that never came is the wallet's balance.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from functools import partial

import pytest

from tests.integration.x402.asking import WAIT_SECONDS, ask, ask_and_die, spent
from tests.integration.x402.mortal_shop import MortalShop
from tests.integration.x402.shop import PRICE, Wallet, is_whole
from tests.support.waiting import eventually

_ROUNDS, _STREAMS = 6, 4
# What each part does for an answer that is paid for, and for an empty one, in order. The ledger's transactions are
# called by what they do.
_PAID = {
    "payments": ("claim", "write_down", "send", "settle"),
    "billing": ("claim", "write_down", "SettleWalletPayment", "Settle"),
    "edge": ("claim", "settle", "capture"),
}
_UNPAID = {"payments": ("end",), "billing": ("end",), "edge": ("release",)}


def _points(steps: Mapping[str, tuple[str, ...]]) -> list[str]:
    return [f"{part} {when} {step}" for part in steps for step in steps[part] for when in ("before", "after")]


@pytest.mark.parametrize("point", _points(_PAID))
async def test_a_part_dies_between_any_two_writes_of_a_paid_answer(mortal: MortalShop, point: str) -> None:
    wallet = Wallet(mortal)
    answer = await ask_and_die(mortal, wallet, point)
    gone_and_left = await spent(mortal, wallet)
    if is_whole(answer) or point == "edge after capture":
        # The capture is durable before the client sees the end, for wallets as for accounts.
        assert gone_and_left == (PRICE, 0)
    else:
        assert gone_and_left in {(0, 0), (PRICE, PRICE)}


@pytest.mark.parametrize("point", _points(_UNPAID))
async def test_a_part_dies_around_the_end_of_an_answer_that_is_not_paid_for(mortal: MortalShop, point: str) -> None:
    wallet = Wallet(mortal)
    await ask_and_die(mortal, wallet, point, stop=[await mortal.first_word()])
    assert await spent(mortal, wallet) == (0, 0)


@pytest.mark.parametrize("point", _points({"payments": ("end",), "billing": ("end",)}))
async def test_a_part_dies_when_a_payment_is_final(mortal: MortalShop, point: str) -> None:
    wallet = Wallet(mortal)
    assert is_whole(await ask(mortal, await wallet.payment(stream=True)))
    mortal.failpoint.write_text(point)
    mortal.chain.mine(4)
    part = mortal.parts[point.partition(" ")[0]]
    await eventually(lambda: not part.running, WAIT_SECONDS)
    await part.start()

    async def forgotten() -> bool:
        return not await mortal.payments_in("SETTLED")

    await eventually(forgotten)
    assert await spent(mortal, wallet) == (PRICE, 0)


async def test_every_part_may_die_at_any_moment(mortal: MortalShop) -> None:
    chance = random.Random(11)
    wallets = [Wallet(mortal) for _ in range(_STREAMS)]
    mortal.orphans.update(wallet.address.lower() for wallet in wallets)
    whole = dict.fromkeys(range(_STREAMS), 0)

    async def one(number: int) -> None:
        answer = await ask(mortal, await wallets[number].payment(stream=True), max_tokens=20)
        whole[number] += is_whole(answer)

    def begun(before: int) -> bool:
        return mortal.taken() > before or chance.random() < 0.05

    for turn in range(_ROUNDS):
        asking = [asyncio.create_task(one(number)) for number in range(_STREAMS)]
        victim = mortal.parts[("payments", "edge", "billing")[turn % 3]]
        # Somewhere between the claim and the end.
        await eventually(partial(begun, mortal.taken()), WAIT_SECONDS)
        await victim.kill()
        await victim.start()
        await asyncio.gather(*asking, return_exceptions=True)
        await eventually(mortal.asks_for_payment)
    for number, wallet in enumerate(wallets):
        gone, left = await spent(mortal, wallet)
        # What is not its balance was charged for answers, and each whole answer was charged.
        charged = (gone - left) // PRICE
        assert whole[number] <= charged <= _ROUNDS

"""Kills of every part at every step: chain and books agree to the last unit, and nobody pays twice.

A payment that has moved for an answer that never came is the wallet's balance.
"""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import Any

import httpx
import pytest

from tests.integration.x402.dying_payments import POINTS
from tests.integration.x402.shop import BODY, CREDIT, NO_TLS, PRICE, Shop, Wallet, is_whole
from tests.support.deadlines import stretched
from tests.support.waiting import eventually

ATOMIC = PRICE * CREDIT
_ROUNDS, _STREAMS = 6, 4
# How long a request may go on in a mesh without one of its parts, in seconds.
_WAIT_SECONDS = 60


async def ask(shop: Shop, headers: dict[str, str], **changes: Any) -> str:
    """Returns what a client reads of a stream, up to where it breaks off."""
    received = ""
    try:
        async with (
            httpx.AsyncClient(verify=NO_TLS, timeout=stretched(_WAIT_SECONDS)) as http,
            http.stream(
                "POST",
                f"{shop.mesh.base_url}/chat/completions",
                json={**BODY, "stream": True, **changes},
                headers=headers,
            ) as answer,
        ):
            async for text in answer.aiter_text():
                received += text
    except httpx.HTTPError:
        pass
    return received


async def spent(shop: Shop, wallet: Wallet) -> tuple[int, int]:
    """Returns what the treasury has of a wallet, and what of that is still the wallet's, in credits."""
    await shop.agrees()

    async def nothing_held() -> bool:
        return (await wallet.balance())[1] == 0

    await eventually(nothing_held)
    gone = 100 * 100 * CREDIT - shop.token.balance(wallet.address)
    return gone // CREDIT, (await wallet.balance())[0]


_CASES = [(point, True) for point in POINTS] + [("before claim", False), ("after claim", False)]


@pytest.mark.parametrize(("point", "served"), _CASES)
async def test_payments_may_die_between_any_two_writes(shop: Shop, wallet: Wallet, point: str, served: bool) -> None:
    changes: dict[str, Any] = {} if served else {"stop": [await shop.first_word()]}
    headers = await wallet.payment(stream=True, **changes)
    shop.failpoint.write_text(point)
    asking = asyncio.create_task(ask(shop, headers, **changes))
    await eventually(lambda: not shop.failpoint.exists() or asking.done(), _WAIT_SECONDS)
    if shop.failpoint.exists():
        # It came by no such point.
        shop.failpoint.unlink()
    else:
        # The client may hear of its death first.
        await eventually(lambda: not shop.payments.running)
        await shop.payments.start()
    answer = await asking
    gone, left = await spent(shop, wallet)
    whole = is_whole(answer)
    if served and whole:
        assert (gone, left) == (PRICE, 0)
    elif served:
        assert (gone, left) in {(0, 0), (PRICE, PRICE)}
    else:
        assert (gone, left) == (0, 0)


async def test_every_part_may_die_at_any_moment(shop: Shop) -> None:
    chance = random.Random(11)
    wallets = [Wallet(shop) for _ in range(_STREAMS)]
    shop.orphans.update(wallet.address.lower() for wallet in wallets)
    whole = dict.fromkeys(range(_STREAMS), 0)

    async def one(number: int) -> None:
        answer = await ask(shop, await wallets[number].payment(stream=True), max_tokens=20)
        whole[number] += is_whole(answer)

    def begun(before: int) -> bool:
        return shop.taken() > before or chance.random() < 0.05

    for turn in range(_ROUNDS):
        asking = [asyncio.create_task(one(number)) for number in range(_STREAMS)]
        victim = ("payments", "edge", "billing")[turn % 3]
        before = shop.taken()
        # Somewhere between the claim and the end.
        await eventually(partial(begun, before), _WAIT_SECONDS)
        if victim == "payments":
            await shop.payments.kill()
            await shop.payments.start()
        else:
            shop.mesh.kill(victim)
        await asyncio.gather(*asking, return_exceptions=True)
        await shop.mesh.until_serving()
        await eventually(shop.asks_for_payment)
    for number, wallet in enumerate(wallets):
        gone, left = await spent(shop, wallet)
        # What is not its balance was charged for answers, and each whole answer was charged.
        charged = (gone - left) // PRICE
        assert whole[number] <= charged <= _ROUNDS

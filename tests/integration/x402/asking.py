"""Requests in a mesh whose parts die, and what they have cost."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from tests.integration.x402.mortal_shop import MortalShop
from tests.integration.x402.shop import BODY, CREDIT, NO_TLS, Shop, Wallet
from tests.support.deadlines import stretched
from tests.support.waiting import eventually

# How long a request may go on in a mesh without one of its parts, in seconds.
WAIT_SECONDS = 60


async def ask(shop: Shop, headers: dict[str, str], **changes: Any) -> str:
    """Returns what a client reads of a stream, up to where it breaks off."""
    received = ""
    try:
        async with (
            httpx.AsyncClient(verify=NO_TLS, timeout=stretched(WAIT_SECONDS)) as http,
            http.stream(
                "POST", f"{shop.base_url}/chat/completions", json={**BODY, "stream": True, **changes}, headers=headers
            ) as answer,
        ):
            async for text in answer.aiter_text():
                received += text
    except httpx.HTTPError:
        pass
    return received


async def ask_and_die(shop: MortalShop, wallet: Wallet, point: str, **changes: Any) -> str:
    """Asks for a stream, has a part die at the point and start again; returns what the client has read."""
    part = shop.parts[point.partition(" ")[0]]
    if part.name == "edge":
        # Nobody gives up what it has claimed, which moves nothing and ends with its authorization.
        shop.orphans.add(wallet.address.lower())
    shop.failpoint.write_text(point)
    asking: asyncio.Task[str] | None = None

    async def came_by() -> bool:
        nonlocal asking
        # In this order: whoever dies has taken the file away before the client can hear of it.
        over = asking is None or (asking.done() and "data: " not in asking.result())
        if not shop.failpoint.exists():
            return True
        if over:
            # An edge that has not found a part again, which has died before, serves nothing.
            headers = await wallet.payment(stream=True, **changes)
            asking = asyncio.create_task(ask(shop, headers, **changes))
        return False

    await eventually(came_by, WAIT_SECONDS)
    assert asking is not None
    await eventually(lambda: not part.running, WAIT_SECONDS)
    await part.start()
    answer = await asking
    await eventually(shop.asks_for_payment)
    return answer


async def spent(shop: Shop, wallet: Wallet) -> tuple[int, int]:
    """Returns what the treasury has of a wallet, and what of that is still the wallet's, in credits."""
    await shop.agrees()

    async def nothing_held() -> bool:
        return (await wallet.balance())[1] == 0

    await eventually(nothing_held)
    gone = 100 * 100 * CREDIT - shop.token.balance(wallet.address)
    return gone // CREDIT, (await wallet.balance())[0]

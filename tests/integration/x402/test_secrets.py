"""Nobody finds a private key or the signature of a payment: in no log, no table and no metric."""

from __future__ import annotations

import sqlite3
from typing import Any

import httpx2

from tests.integration.x402.shop import RELAYER_KEY, Shop, Wallet, decoded
from tests.support.waiting import eventually


async def test_no_key_and_no_signature_is_anywhere(shop: Shop) -> None:
    settled, refused = Wallet(shop), Wallet(shop, 0)
    released = Wallet(shop)
    word = await shop.first_word()
    headers = [await settled.payment(), await refused.payment(), await released.payment(stop=[word])]
    changes: list[dict[str, Any]] = [{}, {}, {"stop": [word]}]
    statuses = [(await shop.post(each, **change)).status_code for each, change in zip(headers, changes, strict=True)]
    assert statuses == [200, 402, 200]
    await shop.agrees()
    shop.chain.mine(4)

    async def final() -> bool:
        return not await shop.payments_in("SETTLED")

    await eventually(final)
    secrets = {"relayer": RELAYER_KEY[2:]}
    for name, header in zip(("settled", "refused", "released"), headers, strict=True):
        ((_, value),) = header.items()
        signature = decoded(value)["payload"]["signature"].removeprefix("0x").lower()
        # Its halves are what calls hold.
        secrets |= {f"{name} r": signature[:64], f"{name} s": signature[64:128], f"{name} header": value}
    places = _places(shop)
    # The search finds what is there.
    assert any(settled.address.lower() in text for text in places.values())
    found = [(name, place) for place, text in places.items() for name, secret in secrets.items() if secret in text]
    assert found == []


def _places(shop: Shop) -> dict[str, str]:
    """Returns everything that is kept or shown, in lower case where it is hexadecimal."""
    places = {"payments.log": shop.payments.log()}
    for path in shop.mesh.state_dir.rglob("*.log"):
        places[path.name] = path.read_text(errors="replace")
    for path in shop.mesh.state_dir.rglob("*.db"):
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            places[path.name] = "\n".join(database.iterdump())
    urls = {**shop.mesh.metrics, "payments": f"http://{shop.payments.admin_address}/metrics"}
    for name, url in urls.items():
        places[f"metrics of {name}"] = httpx2.get(url).text
    return places

"""The table of docs/x402.md, row by row: what the client sees, what the chain has, and what the ledger says."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from msgspec import UNSET

from tests.integration.x402.shop import (
    BODY,
    CHAIN_ID,
    CREDIT,
    NO_TLS,
    PRICE,
    PROMPT,
    TOKEN,
    TREASURY,
    Shop,
    Wallet,
    decoded,
    encoded,
    is_whole,
    transfer_call,
)
from tests.support.account import FundedAccount
from tests.support.forked_service import ForkedServiceProcess
from tests.support.waiting import eventually

ATOMIC = PRICE * CREDIT


async def test_a_request_without_a_key_is_told_what_it_costs(shop: Shop) -> None:
    for headers in ({}, {"Authorization": "Bearer x402"}, {"Authorization": "Bearer"}):
        answer = await shop.post(headers)
        assert answer.status_code == 402
        error = answer.json()["error"]
        assert (error["type"], error["code"]) == ("invalid_request_error", "payment_required")
        required = decoded(answer.headers["payment-required"])
        assert required["x402Version"] == 2
        (terms,) = required["accepts"]
        assert (terms["scheme"], terms["network"]) == ("exact", f"eip155:{CHAIN_ID}")
        assert (terms["asset"], terms["amount"], terms["payTo"]) == (TOKEN, str(ATOMIC), TREASURY)
        assert terms["extra"] == {"name": "USD Coin", "version": "2"}
        # Version 1, in the body.
        assert answer.json()["x402Version"] == 1
        (old,) = answer.json()["accepts"]
        assert (old["network"], old["maxAmountRequired"]) == ("base", str(ATOMIC))


async def test_programs_find_what_wallets_can_pay_for(shop: Shop) -> None:
    root = shop.mesh.base_url.removesuffix("/v1")
    async with httpx.AsyncClient(verify=NO_TLS) as http:
        found = (await http.get(f"{root}/.well-known/x402")).json()
        document = (await http.get(f"{root}/openapi.json")).json()
    assert f"{shop.mesh.base_url}/chat/completions" in found["resources"]
    paid = {path: operations["post"] for path, operations in document["paths"].items() if "post" in operations}
    priced = {path for path, operation in paid.items() if "x-payment-info" in operation}
    assert priced == {path for path, operation in paid.items() if "402" in operation["responses"]}
    assert {url.removeprefix(root) for url in found["resources"]} == priced
    info = paid["/v1/chat/completions"]["x-payment-info"]
    assert info["price"] == {"mode": "dynamic", "currency": "USD", "min": "0.01", "max": "0.20"}


async def test_what_is_wrong_is_told_before_the_price(shop: Shop) -> None:
    assert (await shop.post(temperature=9)).status_code == 400
    assert (await shop.post(model="nothing")).status_code == 404
    assert (await shop.post({"Authorization": "Bearer sk-tiermesh-unknown"})).status_code == 401
    assert (await shop.post({"x-api-key": "unknown"})).status_code == 401


async def test_the_official_client_pays_for_a_whole_answer(shop: Shop, wallet: Wallet) -> None:
    before = shop.taken()
    raw = await wallet.client().chat.completions.with_raw_response.create(**BODY)
    answer = raw.parse()
    assert answer.choices[0].message.content
    told = decoded(raw.headers["payment-response"])
    assert told["success"]
    assert told["payer"].lower() == wallet.address.lower()
    assert shop.chain.rpc("eth_getTransactionReceipt", told["transaction"])["status"] == "0x1"
    assert raw.headers["x-tiermesh-credits-charged"] == str(PRICE)
    receipt = await shop.receipt(raw.http_response)
    assert (receipt.outcome, receipt.unit_price, receipt.charged) == ("completed", PRICE, PRICE)
    assert receipt.transaction == told["transaction"]
    assert shop.taken() == before + ATOMIC
    assert await wallet.balance() == (0, 0)
    await shop.agrees()


async def test_the_official_client_pays_for_a_stream(shop: Shop, wallet: Wallet) -> None:
    before = shop.taken()
    stream = await wallet.client().chat.completions.create(**BODY, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"
    charged: Any = chunks[-1].model_extra
    assert charged["tiermesh"]["credits_charged"] == PRICE
    assert charged["tiermesh"]["transaction"].startswith("0x")
    assert shop.taken() == before + ATOMIC
    assert await wallet.balance() == (0, 0)
    await shop.agrees()


async def test_empty_refused_and_failed_answers_never_reach_the_chain(shop: Shop, wallet: Wallet) -> None:
    before, client, first = shop.taken(), wallet.client(), await shop.first_word()
    for stream in (False, True):
        headers = await wallet.payment(stop=[first], stream=stream)
        answer = await shop.post(headers, stop=[first], stream=stream)
        assert answer.status_code == 200
        assert first not in answer.text
        receipt = await shop.receipt(answer)
        assert (receipt.outcome, receipt.charged, receipt.transaction) == ("empty", 0, UNSET)
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(**{**BODY, "temperature": 9})
    # Its tier has no runner.
    with pytest.raises(openai.InternalServerError):
        await client.chat.completions.create(**{**BODY, "model": "tiermesh-max"})
    await shop.agrees()
    assert shop.taken() == before
    assert await wallet.balance() == (0, 0)
    assert (await shop.count())["released"] >= 3


async def test_an_account_without_credits_may_pay_by_wallet(shop: Shop, wallet: Wallet) -> None:
    account = FundedAccount(shop.mesh)
    key = account.new_key("--monthly-cap", "1")["api_key"]
    headers = {"Authorization": f"Bearer {key}"}
    answer = await shop.post(headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (402, "insufficient_credits")
    assert decoded(answer.headers["payment-required"])["accepts"][0]["amount"] == str(ATOMIC)
    before = shop.taken()
    assert (await shop.post({**headers, **await wallet.payment()})).status_code == 200
    assert shop.taken() == before + ATOMIC
    assert shop.mesh.command_now("balance", account.account)["available"] == 1000


async def test_of_twenty_equal_payments_at_once_one_is_served(shop: Shop, wallet: Wallet) -> None:
    before, headers = shop.taken(), await wallet.payment()
    answers = await asyncio.gather(*(shop.post(headers) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] + [402] * 19
    # And none later.
    assert (await shop.post(headers)).json()["error"]["code"] == "payment_invalid"
    await shop.agrees()
    assert shop.taken() == before + ATOMIC


FORGERIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "value": lambda payment: payment["payload"]["authorization"].update(value="1"),
    "amount": lambda payment: payment["accepted"].update(amount="1"),
    "receiver": lambda payment: payment["payload"]["authorization"].update(to="0x" + "11" * 20),
    "payTo": lambda payment: payment["accepted"].update(payTo="0x" + "11" * 20),
    "nonce": lambda payment: payment["payload"]["authorization"].update(nonce="0x" + "00" * 32),
    "later end": lambda payment: payment["payload"]["authorization"].update(validBefore="99999999999"),
    "expired": lambda payment: payment["payload"]["authorization"].update(validBefore="1"),
    "not yet": lambda payment: payment["payload"]["authorization"].update(validAfter="99999999999"),
    "signature": lambda payment: payment["payload"].update(signature="0x" + "11" * 65),
    "long signature": lambda payment: payment["payload"].update(signature="0x" + "11" * 300),
    "payer": lambda payment: payment["payload"]["authorization"].update({"from": TREASURY}),
    "asset": lambda payment: payment["accepted"].update(asset="0x" + "11" * 20),
    "network": lambda payment: payment["accepted"].update(network="eip155:1"),
    "no terms": lambda payment: payment.update(accepted=None),
}
JUNK = {
    "not base64": "%%%",
    "no object": encoded([]),
    "empty": encoded({}),
    "null": encoded(None),
    "number": encoded(1),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_payment_that_was_changed_pays_for_nothing(shop: Shop, forgery: str) -> None:
    before = shop.taken()
    wallet = Wallet(shop, 1)
    ((name, value),) = (await wallet.payment()).items()
    payment = decoded(value)
    FORGERIES[forgery](payment)
    answer = await shop.post({name: encoded(payment)})
    assert answer.status_code == 402
    assert answer.json()["error"]["code"] == "payment_invalid"
    assert decoded(answer.headers["payment-required"])["accepts"]
    assert shop.taken() == before


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("name", ["PAYMENT-SIGNATURE", "X-PAYMENT"])
async def test_what_is_no_payment_is_a_bad_request(shop: Shop, name: str, junk: str) -> None:
    answer = await shop.post({name: JUNK[junk]})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


async def test_a_payment_for_a_cheaper_model_does_not_pay(shop: Shop, wallet: Wallet) -> None:
    answer = await shop.post(await wallet.payment(), model="tiermesh-max")
    assert (answer.status_code, answer.json()["error"]["code"]) == (402, "payment_invalid")


async def test_a_wallet_without_tokens_gets_the_terms_again(shop: Shop) -> None:
    poor = Wallet(shop, 0)
    answer = await shop.post(await poor.payment())
    assert (answer.status_code, answer.json()["error"]["code"]) == (402, "payment_invalid")
    assert "more than the wallet has" in answer.json()["error"]["message"]


async def test_a_wallet_cannot_promise_more_than_it_has(shop: Shop) -> None:
    wallet = Wallet(shop, 0)
    shop.token.mint(wallet.address, ATOMIC)
    before = shop.taken()
    payments = [await wallet.payment() for _ in range(4)]
    answers = await asyncio.gather(*(shop.post(headers) for headers in payments))
    assert min(answer.status_code for answer in answers) == 200
    assert {answer.status_code for answer in answers} == {200, 402}
    await shop.agrees()
    assert shop.taken() == before + ATOMIC


async def test_an_authorization_that_somebody_else_sends_counts_as_paid(shop: Shop, wallet: Wallet) -> None:
    before, headers = shop.taken(), await wallet.payment(stream=True)
    serving = asyncio.create_task(shop.post(headers, stream=True))
    await _until_claimed(shop, wallet)
    payload = decoded(next(iter(headers.values())))["payload"]
    transaction = shop.chain.send(TOKEN, transfer_call(payload))
    answer = await serving
    assert is_whole(answer.text), answer.text
    assert (await shop.receipt(answer)).transaction == transaction
    assert shop.taken() == before + ATOMIC
    await shop.agrees()
    assert await wallet.balance() == (0, 0)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_wallet_that_is_emptied_meanwhile_gets_no_end(shop: Shop, stream: bool) -> None:
    wallet = Wallet(shop, 1)
    before, headers = shop.taken(), await wallet.payment(stream=stream, max_tokens=100)
    serving = asyncio.create_task(shop.post(headers, stream=stream, max_tokens=100))
    await _until_claimed(shop, wallet)
    shop.chain.rpc("anvil_impersonateAccount", wallet.address)
    shop.chain.rpc("anvil_setBalance", wallet.address, hex(10**18))
    data = "0xa9059cbb" + f"{int(shop.chain.accounts[4], 16):064x}{100 * CREDIT:064x}"
    shop.chain.confirmed(
        shop.chain.rpc("eth_sendTransaction", {"from": wallet.address, "to": TOKEN, "data": data, "gas": hex(200_000)})
    )
    answer = await serving
    if stream:
        assert "payment_failed" in answer.text
        assert "[DONE]" not in answer.text
        assert answer.text.count("data: ") < 50
        receipt = await shop.receipt(answer)
        assert (receipt.outcome, receipt.charged, receipt.transaction) == ("failed", 0, UNSET)
    else:
        assert (answer.status_code, answer.json()["error"]["code"]) == (402, "payment_failed")
        assert not decoded(answer.headers["payment-response"])["success"]
    await shop.agrees()
    assert shop.taken() == before
    assert await wallet.balance() == (0, 0)


async def test_what_a_client_repeats_under_one_name_is_paid_for_once(shop: Shop, wallet: Wallet) -> None:
    before, named = shop.taken(), {"Idempotency-Key": f"order-{wallet.address}"}
    first = {**await wallet.payment(), **named}
    second = {**await wallet.payment(), **named}
    assert (await shop.post(first)).status_code == 200
    repeated = await shop.post(second)
    assert (repeated.status_code, repeated.json()["error"]["param"]) == (409, "Idempotency-Key")
    await shop.agrees()
    assert shop.taken() == before + ATOMIC


async def test_a_client_that_leaves_a_stream_has_paid(shop: Shop, wallet: Wallet) -> None:
    before = shop.taken()
    stream = await wallet.client().chat.completions.create(
        model="tiermesh-pro", messages=PROMPT, max_tokens=200, stream=True
    )
    await anext(aiter(stream))
    await stream.close()
    await eventually(lambda: shop.taken() == before + ATOMIC)
    await shop.agrees()

    async def charged() -> bool:
        return await wallet.balance() == (0, 0)

    await eventually(charged)


async def test_a_settlement_that_a_reorganisation_drops_is_sent_again(shop: Shop, wallet: Wallet) -> None:
    before = shop.taken()
    answer = await shop.post(await wallet.payment())
    transaction = decoded(answer.headers["payment-response"])["transaction"]
    first = shop.chain.rpc("eth_getTransactionReceipt", transaction)["blockHash"]
    shop.chain.rewrite(1)

    def again() -> bool:
        receipt = shop.chain.rpc("eth_getTransactionReceipt", transaction)
        return receipt is not None and receipt["blockHash"] != first

    await eventually(again)
    assert shop.taken() == before + ATOMIC
    await shop.agrees()


async def test_a_client_of_version_1_pays(shop: Shop, wallet: Wallet) -> None:
    before = shop.taken()
    ((_, value),) = (await wallet.payment()).items()
    old = {"x402Version": 1, "scheme": "exact", "network": "base", "payload": decoded(value)["payload"]}
    assert (await shop.post({"X-PAYMENT": encoded({**old, "network": "base-sepolia"})})).status_code == 402
    answer = await shop.post({"X-PAYMENT": encoded(old)})
    assert decoded(answer.headers["x-payment-response"])["success"]
    assert shop.taken() == before + ATOMIC
    await shop.agrees()


async def test_only_requests_that_do_not_pay_count_for_their_address(
    shop: Shop, wallet: Wallet, tmp_path: Path
) -> None:
    addresses = {f"{name}_addresses": shop.mesh.addresses[name] for name in ("auth", "billing", "router")}
    limits = {"unpaid_per_minute": "3", "trusted_proxies": "1"}
    settings = {**addresses, "payments_addresses": shop.payments_address, **limits}
    async with ForkedServiceProcess("edge", tmp_path, settings) as edge:
        url = f"http://{edge.address}/v1"

        async def status(headers: dict[str, str]) -> int:
            async with httpx.AsyncClient(verify=NO_TLS) as http:
                return (await http.post(f"{url}/chat/completions", json=BODY, headers=headers)).status_code

        async def knows_the_terms() -> bool:
            # From an address of its own each time.
            return await status({"X-Forwarded-For": str(ip_address(next(hosts)))}) == 402

        hosts = itertools.count(int(ip_address("10.0.0.1")))
        await eventually(knows_the_terms)
        for _ in range(4):
            assert (await wallet.client(base_url=url).chat.completions.create(**BODY)).choices
        # The first two are wrong, whatever payment comes with them.
        headers = [{"PAYMENT-SIGNATURE": "%%%"}, {"X-PAYMENT": "%%%"}, {}, {}]
        assert [await status(each) for each in headers] == [400, 400, 402, 429]
    await shop.agrees()


async def _until_claimed(shop: Shop, wallet: Wallet) -> None:
    async def claimed() -> bool:
        return any(each.payer == wallet.address.lower() for each in await shop.payments_in("CLAIMED"))

    await eventually(claimed)

"""Payments of wallets on both databases: each authorization counts once, and the ledger agrees with what was paid."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.billing.ledger.holds import Outcome
from services.billing.ledger.wallet_payments import PaymentState, SettleWalletPayment, WalletPayment
from services.billing.store.store import LedgerStore
from services.billing.store.wallet_payments import Claim, WalletPaymentStore
from services.common.database.base import Database
from services.common.errors import Code, MeshError
from tests.integration.billing.deposits_for_tests import ACCOUNTS, CHAIN, TOKEN, add_addresses, address_of, hash_of
from tests.integration.billing.operations_for_tests import assert_sound, code, commit, execute, one, settle

PAYER, TREASURY, RELAYER = "0x" + "a1" * 20, "0x" + "77" * 20, "0x" + "5e" * 20
WALLET = f"wallet:eip155:{CHAIN}:{PAYER}"
PRICE = 10


@pytest.fixture
def payments(database: Database) -> WalletPaymentStore:
    return WalletPaymentStore(database)


def payment(number: int, **changes: Any) -> WalletPayment:
    """Returns the payment for the request of a number."""
    usual: dict[str, Any] = {
        "chain_id": CHAIN,
        "token": TOKEN,
        "payer": PAYER,
        "nonce": hash_of(number),
        "pay_to": TREASURY,
        "atomic": PRICE * 10_000,
        "valid_before": 2_000_000_000,
        "from_block": 5,
        "request_id": f"req_{number}",
        "account_id": WALLET,
        "model": "tiermesh-pro",
        "quantity": 1,
        "unit_price": PRICE,
        "idempotency_key": None,
        "claimed_ms": 1,
    }
    return WalletPayment(**{**usual, **changes})


async def send(payments: WalletPaymentStore, number: int, nonce: int | None = None) -> None:
    """Writes down the transaction for the payment of a number."""
    await payments.send(
        f"req_{number}",
        relayer=RELAYER,
        relayer_nonce=number if nonce is None else nonce,
        raw_transaction=f"0xraw{number}",
        tx_hash=hash_of(1_000 + number),
    )


def transfer(number: int, **changes: Any) -> SettleWalletPayment:
    """Returns the transfer of the payment of a number."""
    usual: dict[str, Any] = {"tx_hash": hash_of(1_000 + number), "log_index": 1, "block_number": 9}
    return SettleWalletPayment(**{"request_id": f"req_{number}", **usual, "block_hash": hash_of(9), **changes})


async def refusal(work: Any) -> MeshError:
    with pytest.raises(MeshError) as caught:
        await work
    return caught.value


async def test_an_authorization_is_claimed_once(payments: WalletPaymentStore) -> None:
    assert (await payments.claim(payment(1))).outstanding == 100_000
    # The same caller asks again, as it did not hear the answer.
    assert (await payments.claim(payment(1))).outstanding == 100_000
    assert (await payments.claim(payment(2))).outstanding == 200_000
    assert (await refusal(payments.claim(payment(1, request_id="req_other")))).param == "nonce"
    assert (await refusal(payments.claim(payment(3, request_id="req_1")))).param == "request_id"
    await payments.end("req_1", PaymentState.RELEASED)
    # What was given up stays used: its signature may be known.
    assert (await refusal(payments.claim(payment(1)))).param == "nonce"
    assert (await payments.claim(payment(4))).outstanding == 200_000


async def test_of_many_claims_at_once_one_is_taken(payments: WalletPaymentStore) -> None:
    claims = [payments.claim(payment(1, request_id=f"req_{number}")) for number in range(8)]
    results = await asyncio.gather(*claims, return_exceptions=True)
    assert sum(result == (100_000, 0) for result in results) == 1
    assert all(isinstance(result, (Claim, MeshError)) for result in results)


async def test_an_idempotency_key_is_paid_for_once_until_the_payment_has_ended_without_a_transfer(
    payments: WalletPaymentStore,
) -> None:
    await payments.claim(payment(1, idempotency_key="order"))
    assert (await refusal(payments.claim(payment(2, idempotency_key="order")))).param == "Idempotency-Key"
    await payments.claim(payment(3, idempotency_key="order", payer="0x" + "b2" * 20))
    await payments.end("req_1", PaymentState.FAILED)
    await payments.claim(payment(4, idempotency_key="order"))


async def test_a_deposit_address_cannot_be_paid(payments: WalletPaymentStore, database: Database) -> None:
    await add_addresses(database)
    refused = await refusal(payments.claim(payment(1, pay_to=address_of(ACCOUNTS[0]))))
    assert (refused.code, refused.param) == (Code.INVALID_REQUEST, "pay_to")


async def test_no_two_transactions_have_one_nonce(payments: WalletPaymentStore) -> None:
    assert await payments.next_nonce(CHAIN, RELAYER) == 0
    for number in (1, 2):
        await payments.claim(payment(number))
    await send(payments, 1, 7)
    await send(payments, 1, 7)
    assert (await refusal(send(payments, 2, 7))).param == "relayer_nonce"
    await send(payments, 2, 8)
    assert await payments.next_nonce(CHAIN, RELAYER) == 9
    found = await payments.find("req_1")
    assert (found.state, found.raw_transaction, found.tx_hash) == ("sent", "0xraw1", hash_of(1_001))


async def test_what_is_sent_is_not_given_up(payments: WalletPaymentStore) -> None:
    await payments.claim(payment(1))
    await send(payments, 1)
    assert (await refusal(payments.end("req_1", PaymentState.RELEASED))).code is Code.CONFLICT
    assert (await refusal(payments.end("req_9", PaymentState.RELEASED))).code is Code.NOT_FOUND
    await payments.end("req_1", PaymentState.FAILED)
    await payments.end("req_1", PaymentState.FAILED)
    assert (await payments.find("req_1")).raw_transaction is None
    assert (await refusal(send(payments, 1, 20))).code is Code.CONFLICT


async def test_a_transfer_is_a_deposit_that_holds_the_price(store: LedgerStore, payments: WalletPaymentStore) -> None:
    await payments.claim(payment(1))
    await send(payments, 1)
    for _ in range(2):
        effect = await one(store, transfer(1))
        assert (effect.amount, effect.available, effect.held) == (PRICE, 0, PRICE)
    await assert_sound(store)
    await one(store, settle("req_1"))
    balance = await store.balance(WALLET)
    assert (balance.available, balance.held) == (0, 0)
    hold = await store.request("req_1")
    assert hold is not None
    assert (hold.account_id, hold.key_id, hold.charged) == (WALLET, "x402", PRICE)
    assert [each.request_id for each in await payments.page(PaymentState.SETTLED, "", 10)] == ["req_1"]
    # Once it is final, its transaction is forgotten.
    await payments.end("req_1", PaymentState.SETTLED)
    assert await payments.page(PaymentState.SETTLED, "", 10) == []
    await assert_sound(store)


async def test_what_was_paid_for_a_request_that_has_ended_is_the_wallet_s(
    store: LedgerStore, payments: WalletPaymentStore
) -> None:
    for number in (1, 2, 3):
        await payments.claim(payment(number))
    await send(payments, 1)
    # The edge has given up before billing heard of the transfer, and after it.
    await one(store, settle("req_1", Outcome.FAILED))
    await one(store, transfer(1))
    await one(store, transfer(2))
    await one(store, settle("req_2", Outcome.FAILED))
    # Somebody else has sent an authorization that was given up.
    await payments.end("req_3", PaymentState.RELEASED)
    await one(store, transfer(3))
    balance = await store.balance(WALLET)
    assert (balance.available, balance.held) == (3 * PRICE, 0)
    await assert_sound(store)


async def test_one_transfer_pays_for_one_request(store: LedgerStore, payments: WalletPaymentStore) -> None:
    for number in (1, 2):
        await payments.claim(payment(number))
    await one(store, transfer(1))
    (again,) = await commit(store, transfer(2, tx_hash=hash_of(1_001)))
    assert code(again) is Code.CONFLICT
    (unknown,) = await commit(store, transfer(9))
    assert code(unknown) is Code.NOT_FOUND
    # And in one transaction.
    first, second = await commit(store, transfer(2, tx_hash=hash_of(7)), transfer(2, tx_hash=hash_of(8)))
    assert first == second
    assert (await store.balance(WALLET)).held == 2 * PRICE
    await assert_sound(store)


async def test_the_audit_finds_a_payment_without_its_deposit(
    store: LedgerStore, payments: WalletPaymentStore, database: Database
) -> None:
    await payments.claim(payment(1))
    await one(store, transfer(1))
    await execute(database, "UPDATE wallet_payments SET atomic = 200000")
    assert any("has paid 200000 for req_1" in found for found in (await store.audit()).violations)

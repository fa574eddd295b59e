"""Balances of wallets on both databases: they pay first, and what is left of them is paid out once."""

from __future__ import annotations

import asyncio

import pytest

from services.billing.ledger.holds import Outcome
from services.billing.ledger.wallet_payments import CoverWalletPayment, PayOut, Payout
from services.billing.store.payouts import PayoutStore
from services.billing.store.store import LedgerStore
from services.billing.store.wallet_payments import WalletPaymentStore
from services.common.database.base import Database
from services.common.errors import Code, MeshError
from tests.integration.billing.deposits_for_tests import CHAIN, TOKEN, hash_of
from tests.integration.billing.guards_for_tests import drop_guards
from tests.integration.billing.operations_for_tests import assert_sound, code, commit, execute, grant, one, settle
from tests.integration.billing.test_wallet_payments import PAYER, PRICE, TREASURY, WALLET, payment, refusal, transfer


@pytest.fixture
def payments(database: Database) -> WalletPaymentStore:
    return WalletPaymentStore(database)


@pytest.fixture
def payouts(database: Database) -> PayoutStore:
    return PayoutStore(database)


@pytest.fixture
async def paid(store: LedgerStore, payments: WalletPaymentStore) -> LedgerStore:
    """A ledger in which the wallet has paid for two answers that failed."""
    for number in (1, 2):
        await payments.claim(payment(number))
        await one(store, transfer(number))
        await one(store, settle(f"req_{number}", Outcome.FAILED))
    assert (await store.balance(WALLET)).available == 2 * PRICE
    return store


async def record(payouts: PayoutStore, payout: Payout, number: int = 1) -> bool:
    return await payouts.record(
        payout.payout_id, tx_hash=hash_of(2_000 + number), log_index=3, block_number=7, block_hash=hash_of(7)
    )


async def test_a_balance_pays_for_a_claim(paid: LedgerStore, payments: WalletPaymentStore) -> None:
    claim = await payments.claim(payment(3))
    assert (claim.outstanding, claim.available) == (PRICE * 10_000, 2 * PRICE)
    for _ in range(2):
        effect = await one(paid, CoverWalletPayment("req_3"))
        assert (effect.amount, effect.available, effect.held) == (PRICE, PRICE, PRICE)
    # Nothing of it is promised to the chain, and the same caller may ask again.
    assert (await payments.claim(payment(3))).outstanding == 0
    assert (await refusal(payments.claim(payment(3, request_id="req_other")))).param == "nonce"
    assert code((await commit(paid, transfer(9)))[0]) is Code.NOT_FOUND
    await one(paid, settle("req_3"))
    balance = await paid.balance(WALLET)
    assert (balance.available, balance.held) == (PRICE, 0)
    # After its end it pays for nothing.
    assert code((await commit(paid, CoverWalletPayment("req_3")))[0]) is Code.CONFLICT
    await assert_sound(paid)


async def test_a_claim_that_only_a_balance_can_pay_is_not_made_without_one(
    paid: LedgerStore, payments: WalletPaymentStore
) -> None:
    for number in (3, 4):
        assert (await payments.claim(payment(number), balance_only=True)).available == (5 - number) * PRICE
        await one(paid, CoverWalletPayment(f"req_{number}"))
    assert (await refusal(payments.claim(payment(5), balance_only=True))).code is Code.INSUFFICIENT_CREDITS
    assert (await refusal(payments.find("req_5"))).code is Code.NOT_FOUND
    await payments.claim(payment(5))
    assert code((await commit(paid, CoverWalletPayment("req_5")))[0]) is Code.INSUFFICIENT_CREDITS
    await assert_sound(paid)


async def test_a_balance_is_spent_once_by_claims_at_once(paid: LedgerStore, payments: WalletPaymentStore) -> None:
    numbers = range(3, 11)
    for number in numbers:
        await payments.claim(payment(number))
    answers = await asyncio.gather(*(commit(paid, CoverWalletPayment(f"req_{number}")) for number in numbers))
    assert sum(not isinstance(answer, MeshError) for (answer,) in answers) == 2
    balance = await paid.balance(WALLET)
    assert (balance.available, balance.held) == (0, 2 * PRICE)
    await assert_sound(paid)


async def test_a_request_that_has_ended_is_not_covered(paid: LedgerStore, payments: WalletPaymentStore) -> None:
    await payments.claim(payment(3))
    # Its edge did not hear of the claim, and has given it up.
    await one(paid, settle("req_3", Outcome.FAILED))
    assert code((await commit(paid, CoverWalletPayment("req_3")))[0]) is Code.CONFLICT
    assert (await paid.balance(WALLET)).available == 2 * PRICE
    await assert_sound(paid)


async def test_a_name_is_given_back_by_an_answer_that_has_failed(
    store: LedgerStore, payments: WalletPaymentStore
) -> None:
    await payments.claim(payment(1, idempotency_key="order"))
    await one(store, transfer(1))
    assert (await refusal(payments.claim(payment(2, idempotency_key="order")))).param == "Idempotency-Key"
    await one(store, settle("req_1", Outcome.FAILED))
    await payments.claim(payment(2, idempotency_key="order"))
    await one(store, CoverWalletPayment("req_2"))
    assert (await refusal(payments.claim(payment(3, idempotency_key="order")))).param == "Idempotency-Key"
    await one(store, settle("req_2"))
    assert (await refusal(payments.claim(payment(3, idempotency_key="order")))).param == "Idempotency-Key"
    await assert_sound(store)


async def test_an_expired_request_keeps_its_name(store: LedgerStore, payments: WalletPaymentStore) -> None:
    await payments.claim(payment(1, idempotency_key="order"))
    await one(store, transfer(1))
    await one(store, settle("req_1", Outcome.EXPIRED))
    assert (await refusal(payments.claim(payment(2, idempotency_key="order")))).param == "Idempotency-Key"


async def test_a_wallet_is_paid_out_once(paid: LedgerStore, payouts: PayoutStore) -> None:
    for _ in range(2):
        await one(paid, PayOut(WALLET))
        payout = await payouts.open(WALLET)
    assert payout[1:8] == (WALLET, CHAIN, TOKEN, PAYER, TREASURY, 2 * PRICE, 2 * PRICE * 10_000)
    assert (await paid.balance(WALLET)).available == 0
    await assert_sound(paid)
    (listed,) = await payouts.balances("", 10)
    assert listed == (WALLET, 0, 0, 2 * PRICE * 10_000)
    assert await record(payouts, payout)
    assert not await record(payouts, payout)
    assert (await refusal(record(payouts, payout, 2))).param == "tx_hash"
    assert await payouts.balances("", 10) == []
    assert (await refusal(payouts.open(WALLET))).code is Code.NOT_FOUND
    assert code((await commit(paid, PayOut(WALLET)))[0]) is Code.CONFLICT
    await assert_sound(paid)


async def test_each_payout_has_a_transfer_of_its_own(
    paid: LedgerStore, payouts: PayoutStore, payments: WalletPaymentStore
) -> None:
    await one(paid, PayOut(WALLET))
    first = await payouts.open(WALLET)
    await record(payouts, first)
    await payments.claim(payment(3))
    await one(paid, transfer(3))
    await one(paid, settle("req_3", Outcome.FAILED))
    await one(paid, PayOut(WALLET))
    second = await payouts.open(WALLET)
    assert (second.credits, second.payout_id != first.payout_id) == (PRICE, True)
    assert (await refusal(record(payouts, second))).param == "tx_hash"
    assert await record(payouts, second, 2)
    await assert_sound(paid)


async def test_payouts_at_once_are_one(paid: LedgerStore, payouts: PayoutStore) -> None:
    await asyncio.gather(*(one(paid, PayOut(WALLET)) for _ in range(6)))
    assert (await payouts.open(WALLET)).credits == 2 * PRICE
    await assert_sound(paid)


async def test_what_was_granted_or_held_is_not_paid_out(
    paid: LedgerStore, payouts: PayoutStore, payments: WalletPaymentStore
) -> None:
    await one(paid, grant(500, WALLET))
    await payments.claim(payment(3))
    await one(paid, CoverWalletPayment("req_3"))
    await one(paid, PayOut(WALLET))
    assert (await payouts.open(WALLET)).credits == 2 * PRICE
    assert code((await commit(paid, PayOut("acct")))[0]) is Code.CONFLICT
    await assert_sound(paid)


async def test_a_payout_never_changes(paid: LedgerStore, payouts: PayoutStore, database: Database) -> None:
    await one(paid, PayOut(WALLET))
    for statement in ("UPDATE payouts SET credits = 1", "DELETE FROM payouts"):
        with pytest.raises(Exception, match="payout"):
            await execute(database, statement)
    await record(payouts, await payouts.open(WALLET))
    with pytest.raises(Exception, match="payout"):
        await execute(database, f"UPDATE payouts SET tx_hash = '{hash_of(1)}'")


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE payouts SET atomic = 1", "for 1 smallest units"),
        ("UPDATE payouts SET credits = 3", "pays out 3, but its entries take 20"),
        ("DELETE FROM payouts", "belongs to no payout"),
        ("UPDATE payouts SET account_id = 'acct'", "but it is 20 to acct"),
        ("UPDATE deposits SET credits = 5", "20 were paid out"),
    ],
)
async def test_the_audit_compares_payouts_with_entries_and_deposits(
    paid: LedgerStore, database: Database, statement: str, told: str
) -> None:
    await one(paid, PayOut(WALLET))
    await drop_guards(database)
    await execute(database, statement)
    assert any(told in found for found in (await paid.audit()).violations)

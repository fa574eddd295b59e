"""The rows of wallets' payments: in ledger transactions that settle them, and in short ones of their own before that.

Every transaction on PostgreSQL locks payments before balances, and so none waits for another in a circle.
"""

# ruff: noqa: S608 - every statement consists of constants.

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from services.billing.ledger import refusals
from services.billing.ledger.wallet_payments import PaymentBooks, PaymentState, WalletPayment
from services.common.database.base import Database
from services.common.database.statements import execute_many_sqlite, fetch_postgresql, fetch_sqlite
from services.common.database.transactions import RetryTransaction

_COLUMNS = ", ".join(WalletPayment._fields)
_READ = f"SELECT {_COLUMNS} FROM wallet_payments WHERE request_id "
_LOCK_SQLITE = _READ + "IN (SELECT value FROM json_each(?))"
_LOCK_POSTGRESQL = _READ + "= ANY ($1::text[]) ORDER BY request_id FOR UPDATE"
_SETTLE_SQLITE = "UPDATE wallet_payments SET state = 'settled', tx_hash = ?, log_index = ? WHERE request_id = ?"
_SETTLE_POSTGRESQL = "UPDATE wallet_payments SET state = 'settled', tx_hash = $1, log_index = $2 WHERE request_id = $3"
_COVER_SQLITE = "UPDATE wallet_payments SET state = 'covered' WHERE request_id = ?"
_COVER_POSTGRESQL = "UPDATE wallet_payments SET state = 'covered' WHERE request_id = $1"

_OF_REQUEST = sa.text(_READ + "= :request_id")
_OF_AUTHORIZATION = sa.text(f"""
    SELECT {_COLUMNS} FROM wallet_payments
    WHERE chain_id = :chain_id AND token = :token AND payer = :payer AND nonce = :nonce
""")
_PAID_ALREADY = sa.text("""
    SELECT request_id FROM wallet_payments
    WHERE payer = :payer AND idempotency_key = :idempotency_key AND state IN ('claimed', 'sent', 'settled', 'covered')
""")
# An answer that has failed for good gives its name back. One that has expired may still be charged.
_GIVE_BACK_NAME = sa.text("""
    UPDATE wallet_payments SET idempotency_key = NULL
    WHERE payer = :payer AND idempotency_key = :idempotency_key AND state IN ('settled', 'covered') AND EXISTS (
        SELECT 1 FROM holds
        WHERE holds.request_id = wallet_payments.request_id AND holds.state = 'released' AND holds.outcome <> 'expired'
    )
""")
_AVAILABLE = sa.text("SELECT available FROM balances WHERE account_id = :account_id")
_DEPOSIT_ADDRESS = sa.text("SELECT 1 FROM deposit_addresses WHERE chain_id = :chain_id AND address = :pay_to")
_CLAIM = sa.text(f"""
    INSERT INTO wallet_payments ({_COLUMNS}) VALUES ({", ".join(f":{name}" for name in WalletPayment._fields)})
    ON CONFLICT DO NOTHING RETURNING 1
""")
_OUTSTANDING = sa.text("""
    SELECT coalesce(sum(atomic), 0) FROM wallet_payments
    WHERE payer = :payer AND state IN ('claimed', 'sent') AND chain_id = :chain_id AND token = :token
""")
_SEND = sa.text("""
    UPDATE wallet_payments SET state = 'sent', relayer = :relayer, relayer_nonce = :relayer_nonce,
        raw_transaction = :raw_transaction, tx_hash = :tx_hash
    WHERE request_id = :request_id AND state = 'claimed' RETURNING 1
""")
_NONCE_TAKEN = sa.text("""
    SELECT 1 FROM wallet_payments
    WHERE relayer = :relayer AND relayer_nonce = :relayer_nonce AND request_id <> :request_id
        AND chain_id = (SELECT chain_id FROM wallet_payments WHERE request_id = :request_id)
""")
_NEXT_NONCE = sa.text("""
    SELECT coalesce(max(relayer_nonce) + 1, 0) FROM wallet_payments WHERE chain_id = :chain_id AND relayer = :relayer
""")
_ENDS = {
    PaymentState.RELEASED: "SET state = 'released' WHERE state = 'claimed'",
    PaymentState.FAILED: "SET state = 'failed', raw_transaction = NULL WHERE state IN ('claimed', 'sent')",
    # The transfer is final, so that its transaction is not needed any more.
    PaymentState.SETTLED: "SET raw_transaction = NULL WHERE state = 'settled'",
}
_LIST = f"SELECT {_COLUMNS} FROM wallet_payments WHERE state = :state AND request_id > :after"
_NOT_FINAL = " AND raw_transaction IS NOT NULL"
_PAGE = " ORDER BY request_id LIMIT :limit"


NO_PAYMENTS = PaymentBooks()


def lock_payments(connection: sa.Connection, request_ids: Sequence[str]) -> PaymentBooks:
    """Locks and reads the payments of these requests, for a ledger transaction."""
    if connection.dialect.name == "sqlite":
        rows = fetch_sqlite(connection, _LOCK_SQLITE, json.dumps(request_ids))
    else:
        rows = fetch_postgresql(connection, _LOCK_POSTGRESQL, request_ids)
    payments = [WalletPayment(*row) for row in rows]
    return PaymentBooks({payment.request_id: payment for payment in payments})


def write_payments(connection: sa.Connection, books: PaymentBooks) -> None:
    """Writes which payments a ledger transaction has settled, and which the balances of wallets pay."""
    settled = [(payment.tx_hash, payment.log_index, payment.request_id) for payment in books.settled]
    covered = [(payment.request_id,) for payment in books.covered]
    if connection.dialect.name == "sqlite":
        execute_many_sqlite(connection, _SETTLE_SQLITE, settled)
        execute_many_sqlite(connection, _COVER_SQLITE, covered)
        return
    for settling in settled:
        fetch_postgresql(connection, _SETTLE_POSTGRESQL, *settling)
    for covering in covered:
        fetch_postgresql(connection, _COVER_POSTGRESQL, *covering)


class Claim(NamedTuple):
    """What a claimed payment finds."""

    # What the wallet has promised with it, in smallest units.
    outstanding: int
    # The credits of the wallet.
    available: int


class WalletPaymentStore:
    """Payments outside the ledger. Every method is durable when it returns, and may be repeated.

    Raises MeshError UNAVAILABLE while the database is away.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, payment: WalletPayment, *, balance_only: bool = False) -> Claim:
        """Takes a payment for its request; raises MeshError CONFLICT.

        With `balance_only`, it raises INSUFFICIENT_CREDITS, having taken nothing, if the wallet's balance does not pay.
        """
        return await self._database.transaction(partial(_claim, payment, balance_only))

    async def send(
        self, request_id: str, *, relayer: str, relayer_nonce: int, raw_transaction: str, tx_hash: str
    ) -> None:
        """Writes down the transaction of a claimed payment; raises MeshError CONFLICT and NOT_FOUND."""
        written = {
            "request_id": request_id,
            "relayer": relayer,
            "relayer_nonce": relayer_nonce,
            "raw_transaction": raw_transaction,
            "tx_hash": tx_hash,
        }

        def send(connection: sa.Connection) -> None:
            if connection.execute(_NONCE_TAKEN, written).first() is not None:
                raise refusals.relayer_nonce_taken()
            try:
                done = connection.execute(_SEND, written).first()
            except IntegrityError as error:
                raise RetryTransaction from error
            found = _find(connection, request_id)
            if done is None and (found.state, found.tx_hash) != (PaymentState.SENT, tx_hash):
                raise refusals.payment_moved_on(found.state)

        await self._database.transaction(send)

    async def end(self, request_id: str, state: PaymentState) -> None:
        """Ends a payment without a transfer, or forgets the transaction of a settled one.

        Raises MeshError CONFLICT and NOT_FOUND.
        """
        statement = sa.text(f"UPDATE wallet_payments {_ENDS[state]} AND request_id = :request_id RETURNING 1")

        def end(connection: sa.Connection) -> None:
            done = connection.execute(statement, {"request_id": request_id}).first()
            if done is None and (found := _find(connection, request_id)).state != state:
                raise refusals.payment_moved_on(found.state)

        await self._database.transaction(end)

    async def find(self, request_id: str) -> WalletPayment:
        """Reads the payment of a request; raises MeshError NOT_FOUND."""
        return await self._database.read(lambda connection: _find(connection, request_id))

    async def page(self, state: PaymentState, after: str, limit: int) -> Sequence[WalletPayment]:
        """Reads payments in a state, by the ids of their requests; of the settled ones, those that are not final."""
        query = sa.text(_LIST + (_NOT_FINAL if state == PaymentState.SETTLED else "") + _PAGE)
        parameters = {"state": state.value, "after": after, "limit": limit}

        def read(connection: sa.Connection) -> list[WalletPayment]:
            return [WalletPayment(*row) for row in connection.execute(query, parameters)]

        return await self._database.read(read)

    async def next_nonce(self, chain_id: int, relayer: str) -> int:
        """Reads the first nonce of a relayer that no written transaction has."""
        parameters = {"chain_id": chain_id, "relayer": relayer}
        return await self._database.read(
            lambda connection: int(connection.execute(_NEXT_NONCE, parameters).scalar_one())
        )


def _claim(payment: WalletPayment, balance_only: bool, connection: sa.Connection) -> Claim:
    row = payment._asdict()
    found = connection.execute(_OF_AUTHORIZATION, row).first()
    available = int(connection.execute(_AVAILABLE, row).scalar() or 0)
    if found is None:
        price = payment.unit_price * payment.quantity
        if balance_only and available < price:
            raise refusals.insufficient_credits(payment.model, price, available)
        _check_new(connection, payment)
        if connection.execute(_CLAIM, row).first() is None:
            # Another process was faster, and what it has claimed is there now.
            raise RetryTransaction
    elif found.request_id != payment.request_id or found.state not in {PaymentState.CLAIMED, PaymentState.COVERED}:
        raise refusals.authorization_claimed()
    elif found.state == PaymentState.COVERED:
        # Asked again, and paid by the balance, whatever is left of that.
        available = payment.unit_price * payment.quantity
    return Claim(int(connection.execute(_OUTSTANDING, row).scalar_one()), available)


def _check_new(connection: sa.Connection, payment: WalletPayment) -> None:
    if connection.execute(_OF_REQUEST, {"request_id": payment.request_id}).first() is not None:
        raise refusals.request_id_taken()
    row = payment._asdict()
    if payment.idempotency_key is not None:
        connection.execute(_GIVE_BACK_NAME, row)
    if payment.idempotency_key is not None and (paid := connection.execute(_PAID_ALREADY, row).first()) is not None:
        raise refusals.paid_already(paid.request_id)
    if connection.execute(_DEPOSIT_ADDRESS, row).first() is not None:
        raise refusals.pays_a_deposit_address()


def _find(connection: sa.Connection, request_id: str) -> WalletPayment:
    row = connection.execute(_OF_REQUEST, {"request_id": request_id}).first()
    if row is None:
        raise refusals.no_such_payment()
    return WalletPayment(*row)

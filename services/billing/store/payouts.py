"""The rows of payouts: new ones in ledger transactions, and their transfers once they are final.

Who has locked the balance of a wallet may pay it out.
"""

# ruff: noqa: S608 - every statement consists of constants.

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from services.billing.ledger import refusals
from services.billing.ledger.wallet_payments import PaidWallet, Payout, PayoutBooks
from services.common.database.base import Database
from services.common.database.lanes import Lane

_COLUMNS = ", ".join(Payout._fields)
_TERMS = sa.text("""
    SELECT chain_id, token, payer, pay_to FROM wallet_payments
    WHERE account_id = :account_id AND state = 'settled' ORDER BY claimed_ms DESC LIMIT 1
""")
_DEPOSITED = sa.text("SELECT atomic FROM deposit_totals WHERE account_id = :account_id")
_PAID_OUT = sa.text("""
    SELECT count(*), coalesce(sum(credits), 0), count(CASE WHEN tx_hash IS NULL THEN 1 END) FROM payouts
    WHERE account_id = :account_id
""")
_ADD = sa.text(f"INSERT INTO payouts ({_COLUMNS}) VALUES ({', '.join(f':{name}' for name in Payout._fields)})")
_OPEN = sa.text(f"SELECT {_COLUMNS} FROM payouts WHERE account_id = :account_id AND tx_hash IS NULL")
_ONE = sa.text(f"SELECT {_COLUMNS} FROM payouts WHERE payout_id = :payout_id")
_RECORD = sa.text("""
    UPDATE payouts SET tx_hash = :tx_hash, log_index = :log_index, block_number = :block_number,
        block_hash = :block_hash
    WHERE payout_id = :payout_id AND tx_hash IS NULL RETURNING 1
""")
# Every account of a wallet begins so, and nothing else is between these two.
_WALLETS = "account_id >= 'wallet\\:' AND account_id < 'wallet;'"
_BALANCES = sa.text(f"""
    SELECT w.account_id, coalesce(b.available, 0) AS available, coalesce(b.held, 0) AS held,
        coalesce(p.atomic, 0) AS owed
    FROM (
        SELECT account_id FROM balances WHERE {_WALLETS} AND account_id > :after AND (available > 0 OR held > 0)
        UNION
        SELECT account_id FROM payouts WHERE tx_hash IS NULL AND account_id > :after
    ) w LEFT JOIN balances b ON b.account_id = w.account_id
        LEFT JOIN payouts p ON p.account_id = w.account_id AND p.tx_hash IS NULL
    ORDER BY w.account_id LIMIT :limit
""")


class WalletBalance(NamedTuple):
    """What a wallet has: credits, and smallest units that are being paid out."""

    account_id: str
    available: int
    held: int
    owed: int


def read_payouts(connection: sa.Connection, account_ids: Iterable[str]) -> PayoutBooks:
    """Reads what there is of wallets whose balances this transaction has locked."""
    return PayoutBooks({account_id: _wallet(connection, {"account_id": account_id}) for account_id in account_ids})


def write_payouts(connection: sa.Connection, books: PayoutBooks) -> None:
    """Adds the new ones."""
    for payout in books.new:
        connection.execute(_ADD, payout._asdict())


class PayoutStore:
    """Payouts outside the ledger. Every method raises MeshError UNAVAILABLE while the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def balances(self, after: str, limit: int) -> list[WalletBalance]:
        """Reads the wallets that have something, or are owed something, by their accounts."""
        parameters = {"after": after, "limit": limit}

        def read(connection: sa.Connection) -> list[WalletBalance]:
            return [WalletBalance(row[0], *map(int, row[1:])) for row in connection.execute(_BALANCES, parameters)]

        return await self._database.read(read, Lane.REPORT)

    async def open(self, account_id: str) -> Payout:
        """Reads the payout of a wallet that is not made yet; raises MeshError NOT_FOUND."""

        def read(connection: sa.Connection) -> Payout:
            return _payout(connection.execute(_OPEN, {"account_id": account_id}).first())

        return await self._database.read(read)

    async def record(self, payout_id: str, *, tx_hash: str, log_index: int, block_number: int, block_hash: str) -> bool:
        """Notes the transfer of a payout, durably; returns False if it is noted already.

        Raises MeshError NOT_FOUND, and CONFLICT for another transfer than the one that is noted.
        """
        transfer = {"tx_hash": tx_hash, "log_index": log_index, "block_number": block_number, "block_hash": block_hash}

        def write(connection: sa.Connection) -> bool:
            try:
                done = connection.execute(_RECORD, {**transfer, "payout_id": payout_id}).first()
            except IntegrityError as error:
                raise refusals.payout_differs(payout_id, tx_hash) from error
            if done is None:
                found = _payout(connection.execute(_ONE, {"payout_id": payout_id}).first())
                if (found.tx_hash, found.log_index) != (tx_hash, log_index):
                    raise refusals.payout_differs(payout_id, tx_hash)
            return done is not None

        return await self._database.transaction(write)


def _wallet(connection: sa.Connection, account: dict[str, str]) -> PaidWallet:
    terms = connection.execute(_TERMS, account).first()
    payouts, paid_out, is_open = map(int, connection.execute(_PAID_OUT, account).one())
    return PaidWallet(
        terms=(int(terms[0]), terms[1], terms[2], terms[3]) if terms is not None else None,
        deposited=int(connection.execute(_DEPOSITED, account).scalar() or 0),
        payouts=payouts,
        paid_out=paid_out,
        is_open=bool(is_open),
    )


def _payout(row: Sequence[object] | None) -> Payout:
    if row is None:
        raise refusals.no_such_payout()
    return Payout(*row)  # type: ignore[arg-type] # The columns are those of the fields.

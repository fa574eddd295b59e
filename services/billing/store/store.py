"""The ledger in its database: a batch of operations is one transaction of a fixed number of statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from services.billing.ledger.deposits import DepositBooks, RecordDeposits
from services.billing.ledger.entries import NumberedEntry
from services.billing.ledger.grants import GrantedCredits
from services.billing.ledger.holds import Hold
from services.billing.ledger.idempotency import Claims, asked_keys
from services.billing.ledger.ledger import Balance, Ledger, OpenHolds
from services.billing.ledger.operations import Expire, Grant, Locked, Operation, Reserve, Result, Settle, needs_sync
from services.billing.ledger.spending import Spending, asked_months
from services.billing.ledger.usage import GroupBy, UsageSums
from services.billing.ledger.wallet_payments import CoverWalletPayment, PaymentBooks, PayOut, SettleWalletPayment
from services.billing.metrics import CREDITS
from services.billing.store import deposits as store_deposits
from services.billing.store import postgresql as store_postgresql
from services.billing.store import sqlite as store_sqlite
from services.billing.store.audit.audits import Audits
from services.billing.store.audit.report import Report
from services.billing.store.deposits import NOTHING_CLAIMED, Claimed
from services.billing.store.entries import read_balance, read_entries, read_horizon, read_newest, read_older
from services.billing.store.grants import read_newest_grants
from services.billing.store.idempotency import read_holders
from services.billing.store.payouts import read_payouts, write_payouts
from services.billing.store.spending import read_spent, write_spent
from services.billing.store.usage import read_request, read_usage
from services.billing.store.usage_backfill import backfill_usage, is_backfilled
from services.billing.store.wallet_payments import NO_PAYMENTS, lock_payments, write_payments
from services.common.database.base import Database
from services.common.database.lanes import Lane

MIGRATIONS = Path(__file__).parents[1] / "migrations"

_OVERDUE = sa.text(
    "SELECT request_id FROM holds WHERE state = 'open' AND reserved_ms < :before ORDER BY reserved_ms LIMIT :limit"
)
_OPEN_HOLDS = sa.text("SELECT count(*), coalesce(sum(amount), 0), min(reserved_ms) FROM holds WHERE state = 'open'")


class LedgerStore:
    """The ledger's rows. Every method raises MeshError UNAVAILABLE while the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._audits = Audits(database)
        self._sql = store_sqlite if database.dialect == "sqlite" else store_postgresql

    async def commit(self, operations: Sequence[Operation], now_ms: int) -> list[Result]:
        """Does all operations in one transaction and returns what became of each, once that is durable.

        Operations of which none needs that are not durable before the next transaction with others (`needs_sync`).
        Raises RowLockedError if another process has locked one of the accounts for long.
        """
        answers = await self._transact(operations, now_ms, skip_locked=False)
        return [answer for answer in answers if not isinstance(answer, Locked)]

    async def commit_unlocked(self, operations: Sequence[Operation], now_ms: int) -> list[Result | Locked]:
        """Does the same, but leaves out what is of accounts that another process has locked, and waits for none."""
        return await self._transact(operations, now_ms, skip_locked=True)

    async def balance(self, account_id: str) -> Balance:
        """Reads one account's balance; zero if it has none."""
        return await self._database.read(lambda connection: read_balance(connection, account_id))

    async def request(self, request_id: str) -> Hold | None:
        """Reads one request."""
        return await self._database.read(lambda connection: read_request(connection, request_id))

    async def usage(self, account_id: str, from_ms: int, to_ms: int, group_by: GroupBy) -> UsageSums:
        """Adds up an account's requests."""
        return await self._database.read(
            lambda connection: read_usage(connection, account_id, from_ms, to_ms, group_by), Lane.REPORT
        )

    async def usage_is_complete(self) -> bool:
        """Whether every ended hold is in the daily sums."""
        return await self._database.read(is_backfilled)

    async def backfill_usage(self, holds: int) -> bool:
        """Adds about so many holds to the daily sums; returns whether there may be more."""
        return await self._database.transaction(lambda connection: backfill_usage(connection, holds))

    async def newest_entries(self, account_id: str, limit: int) -> tuple[Balance, list[NumberedEntry]]:
        """Reads an account's balance and newest entries, of one moment."""
        return await self._database.read(lambda connection: read_newest(connection, account_id, limit))

    async def older_entries(self, account_id: str, before: int, limit: int) -> list[NumberedEntry]:
        """Reads an account's entries before one, newest first."""
        return await self._database.read(lambda connection: read_older(connection, account_id, before, limit))

    async def newest_grants(self, account_id: str, limit: int) -> list[GrantedCredits]:
        """Reads an account's newest grants, newest first."""
        return await self._database.read(
            lambda connection: read_newest_grants(connection, account_id, limit), Lane.REPORT
        )

    async def horizon(self) -> int:
        """Reads the last entry of now, once everything before it is committed."""
        return await self._database.transaction(read_horizon)

    async def entries(self, account_id: str, after: int, horizon: int, limit: int) -> list[NumberedEntry]:
        """Reads the entries of an account, or of all, oldest first."""
        return await self._database.read(
            lambda connection: read_entries(connection, account_id, after, horizon, limit), Lane.REPORT
        )

    async def overdue(self, before_ms: int, limit: int) -> list[str]:
        """The ids of open holds made before a time, oldest first."""
        parameters = {"before": before_ms, "limit": limit}
        return await self._database.read(lambda connection: list(connection.execute(_OVERDUE, parameters).scalars()))

    async def open_holds(self) -> OpenHolds:
        """What is held now."""
        count, held, oldest_ms = await self._database.read(lambda connection: connection.execute(_OPEN_HOLDS).one())
        return OpenHolds(count, int(held), oldest_ms)

    async def audit(self) -> Report:
        """Checks every invariant over all rows, slice by slice."""
        return await self._audits.audit_all()

    async def audit_new(self) -> Report:
        """Proves what came since the last audit, and compares all balances with it."""
        return await self._audits.audit_new()

    async def _transact(
        self, operations: Sequence[Operation], now_ms: int, *, skip_locked: bool
    ) -> list[Result | Locked]:
        work = partial(self._apply, operations, now_ms, skip_locked=skip_locked)
        answers, moved = await self._database.transaction(work, synced=any(map(needs_sync, operations)))
        for kind, moved_credits in moved.items():
            CREDITS.labels(kind).inc(moved_credits)
        return answers

    def _apply(
        self, operations: Sequence[Operation], now_ms: int, connection: sa.Connection, *, skip_locked: bool
    ) -> tuple[list[Result | Locked], dict[str, int]]:
        asked = _asked(operations)
        requests, accounts, grants, ranges, transfers = asked[:5]
        # Nothing of deposits costs a statement without a range of blocks in the batch, nor anything of payments and
        # payouts without one.
        claimed = store_deposits.claim(connection, ranges, skip_locked=skip_locked) if ranges else NOTHING_CLAIMED
        payments = lock_payments(connection, asked.paid) if asked.paid or asked.paid_out else NO_PAYMENTS
        accounts.update(payments.accounts, *map(claimed.accounts, ranges))
        holds, balances, locked = self._sql.read_holds(connection, requests, accounts, skip_locked=skip_locked)
        left_out = {
            at: Locked(next(iter(held_up)))
            for at, operation in enumerate(operations if locked or claimed.locked else ())
            if (held_up := _held_up(operation, holds, claimed, payments, locked))
        }
        if left_out:
            operations = [operation for at, operation in enumerate(operations) if at not in left_out]
        known = self._sql.read_grants(connection, grants) if grants else {}
        # Both are empty, and cost no statement, unless a request in the batch has an idempotency key or a cap.
        keys, months = asked_keys(operations, holds), asked_months(operations, now_ms)
        claims = Claims(read_holders(connection, keys, holds)) if keys else None
        spending = Spending(read_spent(connection, months)) if months else None
        books = _read_books(connection, ranges, claimed, payments, transfers) if ranges or transfers else None
        if asked.paid_out:
            payments.payouts = read_payouts(connection, asked.paid_out)
        ledger = Ledger(
            *(holds, balances, known),
            now_ms=now_ms,
            claims=claims,
            spending=spending,
            deposits=books,
            payments=payments,
        )
        answers = [ledger.apply(operation) for operation in operations]
        self._sql.write(connection, ledger, now_ms)
        if ledger.spending.changes:
            write_spent(connection, ledger.spending.changes)
        if books is not None:
            store_deposits.write_books(connection, books)
        if payments.settled or payments.covered:
            write_payments(connection, payments)
        if payments.payouts.new:
            write_payouts(connection, payments.payouts)
        done = iter(answers)
        return [left_out.get(at) or next(done) for at in range(len(answers) + len(left_out))], ledger.moved


class _Asked(NamedTuple):
    """What a batch is about, as far as its operations say."""

    requests: set[str]
    accounts: set[str]
    grants: set[str]
    ranges: list[RecordDeposits]
    transfers: list[SettleWalletPayment]
    # The requests whose payments of wallets it locks, and the wallets that it pays out.
    paid: list[str]
    paid_out: set[str]


def _asked(operations: Sequence[Operation]) -> _Asked:
    asked = _Asked(set(), set(), set(), [], [], [], set())
    for operation in operations:
        match operation:
            case Reserve():
                asked.requests.add(operation.request_id)
                asked.accounts.add(operation.account_id)
            case Settle() | Expire():
                asked.requests.add(operation.request_id)
            case Grant():
                asked.grants.add(operation.grant_id)
                asked.accounts.add(operation.account_id)
            case RecordDeposits():
                asked.ranges.append(operation)
            case SettleWalletPayment():
                asked.transfers.append(operation)
                asked.paid.append(operation.request_id)
                asked.requests.add(operation.request_id)
            case CoverWalletPayment():
                asked.paid.append(operation.request_id)
                asked.requests.add(operation.request_id)
            case PayOut():
                asked.paid_out.add(operation.account_id)
                asked.accounts.add(operation.account_id)
    return asked


def _read_books(
    connection: sa.Connection,
    ranges: Sequence[RecordDeposits],
    claimed: Claimed,
    payments: PaymentBooks,
    transfers: Sequence[SettleWalletPayment],
) -> DepositBooks:
    return store_deposits.read_books(connection, ranges, claimed, payments.deposits(transfers))


def _held_up(
    operation: Operation,
    holds: Mapping[str, Hold],
    claimed: Claimed,
    payments: PaymentBooks,
    locked: set[str],
) -> set[str]:
    """Returns the accounts, or the watcher, that another process has locked and an operation is about."""
    match operation:
        case RecordDeposits():
            watcher = {operation.cursor.watcher} if operation.cursor in claimed.locked else set()
            return watcher | (claimed.accounts(operation) & locked)
        case SettleWalletPayment() | CoverWalletPayment():
            return payments.account(operation.request_id) & locked
        case Settle() | Expire():
            # A request that is unknown is nobody's.
            hold = holds.get(operation.request_id)
            return {hold.account_id} & locked if hold else set()
        case _:
            return {operation.account_id} & locked

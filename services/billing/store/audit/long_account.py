"""Checks an account with very many entries, in parts. What the parts before have found is carried in memory.

All transactions on an account take turns, so that its entries are committed in their order, and no part misses one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import sqlalchemy as sa

from services.billing.ledger.usage import DAY_MS
from services.billing.store.audit.account_ranges import AccountRange
from services.billing.store.audit.accounts import Period, check_caps, check_deposits_of, check_usage
from services.billing.store.audit.moves import Moves, read_states, read_unfinished_of
from services.billing.store.entries import read_nth_entry

_SUMS = sa.text("""
    SELECT coalesce(sum(CASE WHEN pocket = 'available' THEN amount ELSE 0 END), 0) AS available,
        coalesce(sum(CASE WHEN pocket = 'held' THEN amount ELSE 0 END), 0) AS held,
        count(CASE WHEN kind = 'reserve' AND pocket = 'held' THEN 1 END) AS holds,
        count(CASE WHEN kind = 'grant' THEN 1 END) AS grants,
        coalesce(sum(CASE WHEN kind = 'grant' THEN amount ELSE 0 END), 0) AS granted,
        count(CASE WHEN kind = 'deposit' THEN 1 END) AS deposits,
        coalesce(sum(CASE WHEN kind = 'deposit' THEN amount ELSE 0 END), 0) AS deposited,
        count(CASE WHEN kind = 'payout' THEN 1 END) AS payouts,
        coalesce(sum(CASE WHEN kind = 'payout' THEN -amount ELSE 0 END), 0) AS paid_out
    FROM account_entries WHERE account_id = :account_id AND entry_id > :after AND entry_id <= :upto
""")
_BALANCE = sa.text("SELECT available, held FROM balances WHERE account_id = :account_id")
# Spelled so that the small index of open holds serves it, and not that of all holds of the account.
_OPEN = sa.text("SELECT coalesce(sum(amount), 0) FROM holds WHERE state = 'open' AND account_id || '' = :account_id")
_HOLDS = sa.text("SELECT count(*) FROM account_holds WHERE account_id = :account_id")
_GRANTS = sa.text("SELECT count(*), coalesce(sum(credits), 0) FROM grants WHERE account_id = :account_id")
# What is less than a credit has no entries.
_DEPOSITS = sa.text("""
    SELECT count(*), coalesce(sum(credits), 0) FROM deposits WHERE account_id = :account_id AND credits > 0
""")
_PAYOUTS = sa.text("SELECT count(*), coalesce(sum(credits), 0) FROM payouts WHERE account_id = :account_id")
# When the hold was made that comes after so many; on SQLite, where holds are indexed by days, the beginning of its day.
_NEXT_HOLD = {
    "sqlite": f"""
        WITH RECURSIVE walk (day, found) AS (
            SELECT (
                SELECT reserved_ms / {DAY_MS} FROM holds WHERE reserved_ms / {DAY_MS} >= :first_ms / {DAY_MS}
                ORDER BY reserved_ms / {DAY_MS} LIMIT 1
            ), 0
            UNION ALL
            SELECT (
                SELECT reserved_ms / {DAY_MS} FROM holds WHERE reserved_ms / {DAY_MS} > day
                ORDER BY reserved_ms / {DAY_MS} LIMIT 1
            ), found + (
                SELECT count(*) FROM holds WHERE reserved_ms / {DAY_MS} = day AND account_id = :account_id
            )
            FROM walk WHERE found <= :holds AND day IS NOT NULL
        )
        SELECT CASE WHEN max(found) > :holds THEN max(CASE WHEN found <= :holds THEN day END) * {DAY_MS} END FROM walk
    """,  # noqa: S608 - constants only
    "postgresql": """
        SELECT reserved_ms FROM holds WHERE account_id = :account_id AND reserved_ms >= :first_ms
        ORDER BY reserved_ms LIMIT 1 OFFSET :holds
    """,
}
_MONTHS = sa.text(
    "SELECT DISTINCT begins_ms, ends_ms FROM key_months WHERE account_id = :account_id ORDER BY begins_ms"
)

# After every entry and every moment.
_END = 2**62


class LongAccount:
    """One account. `read` it part by part until it is at its end; `violations` has what was found so far.

    A part that could not be read changes nothing here, so that it may be read again.
    """

    def __init__(self, account: AccountRange, entries: int) -> None:
        self._account = account
        self._id = account.first
        self._entries = entries
        self._after = 0
        self._sums = _Sums(*[0] * len(_Sums._fields))
        # The holds that have not ended, as far as their entries were read.
        self._running: dict[str, Moves] = {}
        # Where the comparison of usage goes on, and the months whose caps are left; None before it begins.
        self._day_ms = 0
        self._months: list[Period] | None = None
        self.violations: list[str] = []

    def read(self, connection: sa.Connection) -> bool:
        """Reads the next part; returns whether there is another one."""
        if self._months is None:
            self._read_entries(connection)
            return True
        if self._day_ms < _END:
            self._read_days(connection)
        elif self._months:
            self.violations.extend(check_caps(connection, self._account, self._months[-1]))
            self._months.pop()
        return self._day_ms < _END or bool(self._months)

    def _read_entries(self, connection: sa.Connection) -> None:
        parameters = {"account_id": self._id, "after": self._after}
        following = read_nth_entry(connection, self._id, self._after, self._entries + 1)
        upto = _END if following is None else following
        more = connection.execute(_SUMS, {**parameters, "upto": upto}).one()
        sums = _Sums(*(mine + int(others) for mine, others in zip(self._sums, more, strict=True)))
        unfinished = read_unfinished_of(connection, self._id, self._after, upto, self._running)
        running = {name: moves for name, moves in self._running.items() if name not in set(unfinished.finished)}
        running |= unfinished.counted
        if following is None:
            found = [*self._compare(connection, sums), *_disagreements(connection, running)]
            rows = connection.execute(_MONTHS, {"account_id": self._id}).all()
            self._months = [Period(row.begins_ms, row.ends_ms) for row in rows]
            self.violations.extend(found)
        self._after, self._sums, self._running = upto, sums, running

    def _compare(self, connection: sa.Connection, sums: _Sums) -> Iterator[str]:
        """Compares all entries with everything else, on the snapshot in which the last ones were read."""
        account = {"account_id": self._id}
        balance = connection.execute(_BALANCE, account).first()
        if balance is None:
            yield f"account {self._id} has entries but no balance"
            return
        if (balance.available, balance.held) != (sums.available, sums.held):
            yield (
                f"account {self._id} has {balance.available} available and {balance.held} held, "
                f"but its entries sum to {sums.available} and {sums.held}"
            )
        if balance.available < 0 or balance.held < 0:
            yield f"account {self._id} is negative: {balance.available} available, {balance.held} held"
        open_credits = int(connection.execute(_OPEN, account).scalar_one())
        if open_credits != balance.held:
            yield f"account {self._id} has {balance.held} held, but its open holds sum to {open_credits}"
        holds = connection.execute(_HOLDS, account).scalar_one()
        if holds != sums.holds:
            yield f"account {self._id} has {holds} holds, but {sums.holds} reserve movements"
        grants, granted = connection.execute(_GRANTS, account).one()
        if (grants, int(granted)) != (sums.grants, sums.granted):
            yield (
                f"account {self._id} has {grants} grants of {int(granted)} credits, "
                f"but {sums.grants} grant movements of {sums.granted}"
            )
        deposits, deposited = connection.execute(_DEPOSITS, account).one()
        if (deposits, int(deposited)) != (sums.deposits, sums.deposited):
            yield (
                f"account {self._id} has {deposits} deposits of {int(deposited)} credits, "
                f"but {sums.deposits} deposit movements of {sums.deposited}"
            )
        payouts, paid_out = connection.execute(_PAYOUTS, account).one()
        if (payouts, int(paid_out)) != (sums.payouts, sums.paid_out):
            yield (
                f"account {self._id} has {payouts} payouts of {int(paid_out)} credits, "
                f"but {sums.payouts} payout movements of {sums.paid_out}"
            )
        yield from check_deposits_of(connection, self._account)

    def _read_days(self, connection: sa.Connection) -> None:
        parameters = {"account_id": self._id, "first_ms": self._day_ms, "holds": self._entries}
        last_ms = connection.execute(sa.text(_NEXT_HOLD[connection.dialect.name]), parameters).scalar()
        end_ms = _END if last_ms is None else max(last_ms // DAY_MS * DAY_MS, self._day_ms + DAY_MS)
        self.violations.extend(check_usage(connection, self._account, Period(self._day_ms, end_ms)))
        self._day_ms = end_ms


class _Sums(NamedTuple):
    """What the entries that were read add up to; the order is that of the query."""

    available: int
    held: int
    holds: int
    grants: int
    granted: int
    deposits: int
    deposited: int
    payouts: int
    paid_out: int


def _disagreements(connection: sa.Connection, running: dict[str, Moves]) -> Iterator[str]:
    states = read_states(connection, list(running))
    for request_id, moves in running.items():
        state = states.get(request_id, "missing")
        if not moves.agree_with(state):
            yield moves.disagreement(request_id, state)

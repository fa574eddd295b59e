"""Checks the movements among a slice's entries: two lines that cancel out, of one account, as what they belong to says.

Neither the entries nor what is compared with them ever changes, so it does not matter when a slice is read. Totals of
deposits change, but in the transaction that adds the deposit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa

from services.billing.ledger.ledger import DEPOSITS, GRANTS, REVENUE
from services.billing.store.audit.deposits import REFERENCE, check_credited, disagreement
from services.billing.store.audit.report import MAX_NAMED, whole_numbers
from services.billing.store.audit.searches import EACH

# How many entries are read at a time.
SLICE = 5_000
# The lines of a movement are neighbours on SQLite. On PostgreSQL, replicas that write at once may come between them.
_NEIGHBOURS = {"sqlite": 4, "postgresql": 2_000}
# How far the lines of a movement are looked for before it is said that some are missing.
_REACH = 20_000

_STRADDLING = sa.text("""
    SELECT max(entry_id) FROM entries WHERE entry_id > :upto AND entry_id <= :high AND (reference, kind) IN (
        SELECT reference, kind FROM entries WHERE entry_id > :low AND entry_id <= :upto
    )
""")
_FLOWS = ", ".join(
    f"coalesce(sum(CASE WHEN account_id = '{account}' THEN {amount} ELSE 0 END), 0)"
    for account, amount in ((GRANTS, "-amount"), (DEPOSITS, "-amount"), (REVENUE, "amount"))
).replace(":", r"\:")
_COUNT = sa.text(f"""
    SELECT count(*), coalesce(sum(amount), 0), {_FLOWS} FROM entries WHERE entry_id > :after AND entry_id <= :upto
""")  # noqa: S608 - constants only
_FLOWS_AFTER = sa.text(f"SELECT {_FLOWS} FROM entries WHERE entry_id > :after")  # noqa: S608 - constants only
_MOVEMENTS = """
    WITH movements AS (
        SELECT reference, kind, count(*) AS line_count, sum(amount) AS total, max(amount) AS amount,
            min(CASE WHEN account_id LIKE 'system:%' THEN NULL ELSE account_id END) AS account_id,
            max(CASE WHEN account_id LIKE 'system:%' THEN NULL ELSE account_id END) AS other_account_id
        FROM entries WHERE entry_id > :after AND entry_id <= :upto GROUP BY reference, kind
    )
"""
_OF_A_HOLD = "m.kind IN ('reserve', 'capture', 'release', 'refund')"
_REFERENCE = REFERENCE.format(table="d").replace(":", r"\:")
_SUSPICIOUS = f"""
    {_MOVEMENTS}
    SELECT m.*, h.request_id, h.amount AS price, h.account_id AS payer, g.grant_id, g.credits, g.account_id AS granted,
        d.deposit_id, d.credits AS deposited, d.account_id AS depositor,
        p.payout_id, p.credits AS paid_out, p.account_id AS paid_to
    FROM movements m LEFT JOIN holds h ON h.request_id = {{hold}}
        LEFT JOIN grants g ON g.grant_id = {{grant}}
        LEFT JOIN deposits d ON {_REFERENCE} = {{deposit}}
        LEFT JOIN payouts p ON p.payout_id = {{payout}}
    WHERE m.line_count <> 2 OR m.total <> 0 OR m.account_id IS NULL OR m.account_id <> m.other_account_id
        OR ({_OF_A_HOLD} AND (h.request_id IS NULL OR m.amount <> h.amount OR m.account_id <> h.account_id))
        OR (m.kind = 'grant' AND (g.grant_id IS NULL OR m.amount <> g.credits OR m.account_id <> g.account_id))
        OR (m.kind = 'deposit'
            AND (d.deposit_id IS NULL OR m.amount <> d.credits OR m.account_id <> d.account_id))
        OR (m.kind = 'payout' AND (p.payout_id IS NULL OR m.amount <> p.credits OR m.account_id <> p.account_id))
    ORDER BY m.reference, m.kind LIMIT {MAX_NAMED}
"""  # noqa: S608 - constants only
# Nothing is looked for where a movement is of another kind.
_OWNERS = {"hold": _OF_A_HOLD} | {kind: f"m.kind = '{kind}'" for kind in ("grant", "deposit", "payout")}
_SUSPICIOUS_IN = {
    dialect: sa.text(
        _SUSPICIOUS.format_map(
            {name: each.format(f"CASE WHEN {kind} THEN m.reference END") for name, kind in _OWNERS.items()}
        )
    )
    for dialect, each in EACH.items()
}
_LINES = sa.text("""
    SELECT count(*) AS line_count, coalesce(sum(amount), 0) AS total FROM entries
    WHERE entry_id > :low AND entry_id <= :high AND reference = :reference AND kind = :kind
""")


class Flows(NamedTuple):
    """Credits that some entries have granted, deposited and charged.

    What was paid out is not deposited any more, and what was refunded is not charged.
    """

    granted: int
    deposited: int
    revenue: int

    def plus(self, other: Flows) -> Flows:
        """Returns the sums."""
        return Flows(*(mine + others for mine, others in zip(self, other, strict=True)))


NO_FLOWS = Flows(0, 0, 0)


class EntrySlice(NamedTuple):
    """The entries after one and up to another, how many they are, what they sum to, and what flows they are."""

    after: int
    upto: int
    entries: int
    total: int
    flows: Flows
    violations: list[str]


def read_slice(connection: sa.Connection, after: int, horizon: int, size: int) -> EntrySlice:
    """Checks the next slice of entries up to the horizon; all of them are committed."""
    upto = _boundary(connection, min(after + size, horizon))
    parameters = {"after": after, "upto": upto}
    entries, total, *flows = connection.execute(_COUNT, parameters).one()
    suspicious = connection.execute(_SUSPICIOUS_IN[connection.dialect.name], parameters).all()
    sentences = [_sentence(connection, row, after, upto) for row in suspicious]
    violations = [sentence for sentence in sentences if sentence is not None]
    violations.extend(check_credited(connection, after, upto))
    return EntrySlice(after, upto, int(entries), int(total), Flows(*map(int, flows)), violations)


def read_flows(connection: sa.Connection, after: int) -> Flows:
    """Returns what flows there are in all entries after one."""
    return Flows(*map(int, connection.execute(_FLOWS_AFTER, {"after": after}).one()))


def _boundary(connection: sa.Connection, upto: int) -> int:
    """Returns the next entry from here on that ends all movements that begin before it."""
    near = _NEIGHBOURS[connection.dialect.name]
    while True:
        parameters = {"low": upto - near, "upto": upto, "high": upto + near}
        straddling = connection.execute(_STRADDLING, parameters).scalar()
        if straddling is None:
            return upto
        upto = int(straddling)


def _is_whole(row: Any) -> bool:
    return (row.line_count, row.total) == (2, 0)


def _sentence(connection: sa.Connection, row: Any, after: int, upto: int) -> str | None:
    """Returns what is wrong with a movement; None if its lines are only further apart than lines ever are."""
    name = f"the {row.kind} of {row.reference}"
    if not _is_whole(row):
        parameters = {"low": after - _REACH, "high": upto + _REACH, "reference": row.reference, "kind": row.kind}
        lines = whole_numbers(connection.execute(_LINES, parameters).one())
        wrong = f"{name} has {lines.line_count} entries that sum to {lines.total}, not 2 and 0"
        return None if _is_whole(lines) else wrong
    if row.account_id is None or row.account_id != row.other_account_id:
        return f"{name} is not of exactly one account"
    return _disagreement(row, name)


def _disagreement(row: Any, name: str) -> str:
    """Returns what a movement has other than its hold, grant, deposit or payout."""
    if row.kind == "grant":
        known = row.grant_id is not None
        return f"grant {row.reference} and its entries disagree" if known else f"{name} belongs to no grant"
    owner = {"deposit": row.deposit_id, "payout": row.payout_id}.get(row.kind, row.request_id)
    if owner is None:
        return f"{name} belongs to no {row.kind if row.kind in {'deposit', 'payout'} else 'hold'}"
    if row.kind == "deposit":
        return disagreement(row.reference, row.depositor, row.deposited, row.amount, row.account_id)
    if row.kind == "payout":
        return f"{name} takes {row.amount} of {row.account_id}, but it is {row.paid_out} to {row.paid_to}"
    return f"{name} moves {row.amount} of {row.account_id}, but its hold is {row.price} of {row.payer}"

"""The ledger's proof: queries that find no row in a sound ledger, and name each row that breaks an invariant.

All of them run on one snapshot, so that the audit of a busy ledger raises no false alarm and holds nobody up.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy as sa

from services.billing.ledger.ledger import DEPOSITS, GRANTS, REVENUE
from services.billing.store.deposit_audit import DEPOSIT_CHECKS, DEPOSIT_VIEWS

# Each check names at most this many rows: after a disaster the first ones tell what it was.
MAX_NAMED = 100


class Report(NamedTuple):
    """What an audit has seen. The ledger is sound if there are no violations."""

    violations: list[str]
    entries: int
    accounts: int
    open_holds: int
    # The sum of all entries: 0, because each movement is two lines that cancel out.
    imbalance: int
    # Credits that were ever granted or deposited, that were charged, that accounts can spend, and that are held.
    granted: int
    deposited: int
    revenue: int
    available: int
    held: int


class Check(NamedTuple):
    """A query whose rows are violations, and the sentence for each."""

    query: str
    sentence: Callable[[Any], str]


def _formatted(sentence: str, row: Any) -> str:
    # PostgreSQL's sums are decimal numbers, which would be shown as 3E+4.
    whole = {name: int(value) if isinstance(value, Decimal) else value for name, value in row._mapping.items()}  # noqa: SLF001 - SQLAlchemy's public name
    return sentence.format_map(whole)


_VIEWS = """
    WITH movements AS (
        SELECT reference, kind, count(*) AS lines, sum(amount) AS total, max(amount) AS amount,
            min(CASE WHEN account_id LIKE 'system:%' THEN NULL ELSE account_id END) AS account_id,
            max(CASE WHEN account_id LIKE 'system:%' THEN NULL ELSE account_id END) AS other_account_id
        FROM entries GROUP BY reference, kind
    ), sums AS (
        SELECT account_id,
            sum(CASE WHEN pocket = 'available' THEN amount ELSE 0 END) AS available,
            sum(CASE WHEN pocket = 'held' THEN amount ELSE 0 END) AS held
        FROM entries WHERE account_id NOT LIKE 'system:%' GROUP BY account_id
    ), moves AS (
        SELECT h.request_id, h.state,
            count(CASE WHEN m.kind = 'reserve' THEN 1 END) AS reserves,
            count(CASE WHEN m.kind = 'capture' THEN 1 END) AS captures,
            count(CASE WHEN m.kind = 'release' THEN 1 END) AS releases,
            count(CASE WHEN m.kind = 'refund' THEN 1 END) AS refunds
        FROM holds h LEFT JOIN movements m ON m.reference = h.request_id AND m.kind <> 'grant' AND m.kind <> 'deposit'
        WHERE h.account_id <> ''
        GROUP BY h.request_id, h.state
    ), open_holds AS (
        SELECT account_id, sum(amount) AS amount FROM holds WHERE state = 'open' GROUP BY account_id
    ), grant_movements AS (
        SELECT * FROM movements WHERE kind = 'grant'
    ), counted AS (
        SELECT account_id, key_id AS counted_under, reserved_ms, amount FROM holds
        WHERE key_monthly_cap IS NOT NULL AND capped_keys IS NULL AND state <> 'released'
        UNION ALL
        SELECT h.account_id, element.value, h.reserved_ms, h.amount FROM holds h, {elements} AS element
        WHERE h.capped_keys IS NOT NULL AND h.state <> 'released'
    ), {deposit_views}
"""
# Makes rows of a JSON list.
_ELEMENTS = {
    "sqlite": "json_each(h.capped_keys)",
    "postgresql": "json_array_elements_text(CAST(h.capped_keys AS json))",
}

CHECKS = [
    Check(
        "SELECT sum(amount) AS total FROM entries HAVING sum(amount) <> 0",
        lambda row: f"all entries together sum to {row.total} instead of 0",
    ),
    Check(
        "SELECT * FROM movements WHERE total <> 0 OR lines <> 2",
        lambda row: f"the {row.kind} of {row.reference} has {row.lines} entries that sum to {row.total}, not 2 and 0",
    ),
    Check(
        "SELECT * FROM movements WHERE account_id IS NULL OR account_id <> other_account_id",
        lambda row: f"the {row.kind} of {row.reference} is not of exactly one account",
    ),
    Check(
        """
        SELECT b.*, coalesce(s.available, 0) AS entered, coalesce(s.held, 0) AS entered_held
        FROM balances b LEFT JOIN sums s ON s.account_id = b.account_id
        WHERE b.available <> coalesce(s.available, 0) OR b.held <> coalesce(s.held, 0)
        """,
        lambda row: (
            f"account {row.account_id} has {row.available} available and {row.held} held, "
            f"but its entries sum to {row.entered} and {row.entered_held}"
        ),
    ),
    Check(
        """
        SELECT s.account_id FROM sums s LEFT JOIN balances b ON b.account_id = s.account_id WHERE b.account_id IS NULL
        """,
        lambda row: f"account {row.account_id} has entries but no balance",
    ),
    Check(
        "SELECT * FROM balances WHERE available < 0 OR held < 0",
        lambda row: f"account {row.account_id} is negative: {row.available} available, {row.held} held",
    ),
    Check(
        """
        SELECT b.account_id, b.held, coalesce(h.amount, 0) AS open FROM balances b
        LEFT JOIN open_holds h ON h.account_id = b.account_id
        WHERE b.held <> coalesce(h.amount, 0)
        """,
        lambda row: f"account {row.account_id} has {row.held} held, but its open holds sum to {row.open}",
    ),
    Check(
        # A captured hold has no release, unless it had expired before. What was refunded had been captured.
        """
        SELECT * FROM moves WHERE reserves <> 1 OR captures > 1 OR releases > 1 OR refunds > captures
            OR (state = 'open' AND captures + releases <> 0)
            OR (state = 'released' AND (captures <> refunds OR releases + refunds = 0))
            OR (state = 'captured' AND captures - refunds <> 1)
        """,
        lambda row: (
            f"hold {row.request_id} is {row.state}, but has {row.reserves} reserve, {row.captures} capture, "
            f"{row.releases} release and {row.refunds} refund movements"
        ),
    ),
    Check(
        """
        SELECT m.reference, m.kind, m.amount, m.account_id, h.amount AS price, h.account_id AS payer
        FROM movements m JOIN holds h ON h.request_id = m.reference
        WHERE m.kind <> 'grant' AND m.kind <> 'deposit' AND (m.amount <> h.amount OR m.account_id <> h.account_id)
        """,
        lambda row: (
            f"the {row.kind} of {row.reference} moves {row.amount} of {row.account_id}, "
            f"but its hold is {row.price} of {row.payer}"
        ),
    ),
    Check(
        """
        SELECT m.reference, m.kind FROM movements m LEFT JOIN holds h ON h.request_id = m.reference
        WHERE m.kind <> 'grant' AND m.kind <> 'deposit' AND h.request_id IS NULL
        """,
        lambda row: f"the {row.kind} of {row.reference} belongs to no hold",
    ),
    Check(
        """
        SELECT g.grant_id FROM grants g LEFT JOIN grant_movements m ON m.reference = g.grant_id
        WHERE m.reference IS NULL OR m.amount <> g.credits OR m.account_id <> g.account_id
        """,
        lambda row: f"grant {row.grant_id} and its entries disagree",
    ),
    Check(
        """
        SELECT m.reference FROM grant_movements m LEFT JOIN grants g ON g.grant_id = m.reference
        WHERE g.grant_id IS NULL
        """,
        lambda row: f"the grant of {row.reference} belongs to no grant",
    ),
    Check(
        """
        SELECT k.key_id, k.begins_ms, k.spent, coalesce(sum(h.amount), 0) AS used FROM key_months k
        LEFT JOIN counted h ON h.account_id = k.account_id AND h.counted_under = k.key_id
            AND h.reserved_ms >= k.begins_ms AND h.reserved_ms < k.ends_ms
        GROUP BY k.account_id, k.key_id, k.begins_ms, k.spent HAVING k.spent <> coalesce(sum(h.amount), 0)
        """,
        lambda row: (
            f"key {row.key_id} has spent {row.spent} in the month from {row.begins_ms}, but its holds sum to {row.used}"
        ),
    ),
    *(Check(query, partial(_formatted, sentence)) for query, sentence in DEPOSIT_CHECKS),
]


def audit(connection: sa.Connection) -> Report:
    """Runs every check on the connection's snapshot."""
    violations: list[str] = []
    views = _VIEWS.replace("{elements}", _ELEMENTS[connection.dialect.name])
    views = views.replace("{deposit_views}", DEPOSIT_VIEWS)
    for check in CHECKS:
        rows = connection.execute(sa.text(f"{views} {check.query} LIMIT {MAX_NAMED}"))
        violations.extend(check.sentence(row) for row in rows)
    return Report(
        violations,
        entries=_count(connection, "entries"),
        accounts=_count(connection, "balances"),
        open_holds=_count(connection, "holds WHERE state = 'open'"),
        imbalance=_sum(connection, "amount", "entries"),
        granted=-_sum(connection, "amount", f"entries WHERE account_id = '{GRANTS}'"),
        deposited=-_sum(connection, "amount", f"entries WHERE account_id = '{DEPOSITS}'"),
        revenue=_sum(connection, "amount", f"entries WHERE account_id = '{REVENUE}'"),
        available=_sum(connection, "available", "balances"),
        held=_sum(connection, "held", "balances"),
    )


def _sum(connection: sa.Connection, column: str, what: str) -> int:
    query = f"SELECT coalesce(sum({column}), 0) FROM {what}"  # noqa: S608 - constants only
    return int(connection.execute(sa.text(query)).scalar_one())


def _count(connection: sa.Connection, what: str) -> int:
    return int(connection.execute(sa.text(f"SELECT count(*) FROM {what}")).scalar_one())  # noqa: S608 - constants only

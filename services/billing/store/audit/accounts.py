"""Checks accounts, some at a time, each against all that it has: entries, holds, grants, deposits and sums.

Everything is read by the account, through indexes, so that no check reads a whole table. What an account with very many
entries has is read in parts (`long_account.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from services.billing.ledger.usage import DAY_MS
from services.billing.store.audit.account_ranges import AccountRange
from services.billing.store.audit.check import Check, run_checks
from services.billing.store.audit.deposits import REFERENCE, check_deposits, disagreement

# Of about so many entries, the accounts are read at a time.
SLICE = 20_000


class Period(NamedTuple):
    """A part of an account's holds: those made from one moment until before another."""

    first_ms: int
    end_ms: int


_VIEWS = """
    WITH own AS (
        SELECT account_id, reference, kind, pocket, amount FROM account_entries WHERE {range}
    ), sums AS (
        SELECT account_id,
            sum(CASE WHEN pocket = 'available' THEN amount ELSE 0 END) AS available,
            sum(CASE WHEN pocket = 'held' THEN amount ELSE 0 END) AS held
        FROM own GROUP BY account_id
    ), own_balances AS (
        SELECT account_id, available, held FROM balances WHERE {range}
    ), own_holds AS (
        SELECT account_id, request_id, key_id, model, state, amount, reserved_ms, prompt_tokens, completion_tokens,
            key_monthly_cap, capped_keys
        FROM account_holds WHERE {range} AND account_id <> '' {made}
    ), movements AS (
        SELECT reference,
            count(CASE WHEN kind = 'reserve' AND pocket = 'held' THEN 1 END) AS reserves,
            count(CASE WHEN kind = 'capture' THEN 1 END) AS captures,
            count(CASE WHEN kind = 'release' AND pocket = 'available' THEN 1 END) AS releases,
            count(CASE WHEN kind = 'refund' THEN 1 END) AS refunds
        FROM own WHERE kind NOT IN ('grant', 'deposit', 'payout') GROUP BY reference
    ), moves AS (
        SELECT h.request_id, h.state, coalesce(m.reserves, 0) AS reserves, coalesce(m.captures, 0) AS captures,
            coalesce(m.releases, 0) AS releases, coalesce(m.refunds, 0) AS refunds
        FROM own_holds h LEFT JOIN movements m ON m.reference = h.request_id
    ), open_holds AS (
        SELECT account_id, sum(amount) AS amount FROM own_holds WHERE state = 'open' GROUP BY account_id
    ), grant_movements AS (
        SELECT account_id, reference, amount FROM own WHERE kind = 'grant'
    ), deposit_movements AS MATERIALIZED (
        SELECT account_id, reference, amount FROM own WHERE kind = 'deposit'
    ), payout_movements AS (
        SELECT account_id, reference, amount FROM own WHERE kind = 'payout'
    ), own_deposits AS MATERIALIZED (
        SELECT {reference} AS reference, account_id, credits FROM deposits WHERE {range}
    ), counted AS (
        SELECT account_id, key_id AS counted_under, reserved_ms, amount FROM own_holds
        WHERE key_monthly_cap IS NOT NULL AND capped_keys IS NULL AND state <> 'released'
        UNION ALL
        SELECT h.account_id, element.value, h.reserved_ms, h.amount FROM own_holds h, {elements} AS element
        WHERE h.capped_keys IS NOT NULL AND h.state <> 'released'
    ), daily AS (
        SELECT account_id, day, key_id, model, requests, charged_requests, credits, prompt_tokens, completion_tokens
        FROM account_usage WHERE {range} {days}
        UNION ALL
        SELECT account_id, reserved_ms / 86400000, key_id, model, -1, CASE WHEN state = 'captured' THEN -1 ELSE 0 END,
            CASE WHEN state = 'captured' THEN -amount ELSE 0 END, -prompt_tokens, -completion_tokens
        FROM own_holds WHERE state <> 'open'
    )
"""
# Makes rows of a JSON list.
_ELEMENTS = {
    "sqlite": "json_each(h.capped_keys)",
    "postgresql": "json_array_elements_text(CAST(h.capped_keys AS json))",
}

_OF_ENTRIES = [
    Check(
        """
        SELECT b.*, coalesce(s.available, 0) AS entered, coalesce(s.held, 0) AS entered_held
        FROM own_balances b LEFT JOIN sums s ON s.account_id = b.account_id
        WHERE b.available <> coalesce(s.available, 0) OR b.held <> coalesce(s.held, 0)
        """,
        lambda row: (
            f"account {row.account_id} has {row.available} available and {row.held} held, "
            f"but its entries sum to {row.entered} and {row.entered_held}"
        ),
    ),
    Check(
        """
        SELECT s.account_id FROM sums s LEFT JOIN own_balances b ON b.account_id = s.account_id
        WHERE b.account_id IS NULL
        """,
        lambda row: f"account {row.account_id} has entries but no balance",
    ),
    Check(
        "SELECT * FROM own_balances WHERE available < 0 OR held < 0",
        lambda row: f"account {row.account_id} is negative: {row.available} available, {row.held} held",
    ),
    Check(
        """
        SELECT b.account_id, b.held, coalesce(h.amount, 0) AS open FROM own_balances b
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
        SELECT g.grant_id FROM grants g LEFT JOIN grant_movements m
            ON m.reference = g.grant_id AND m.account_id = g.account_id
        WHERE {grants} AND (m.reference IS NULL OR m.amount <> g.credits)
        """,
        lambda row: f"grant {row.grant_id} and its entries disagree",
    ),
    Check(
        """
        SELECT d.reference, d.account_id, d.credits, coalesce(m.account_id, 'nobody') AS credited,
            coalesce(m.amount, 0) AS amount
        FROM own_deposits d LEFT JOIN deposit_movements m ON m.reference = d.reference
        WHERE d.credits <> coalesce(m.amount, 0) OR m.account_id <> d.account_id
        """,
        lambda row: disagreement(row.reference, row.account_id, row.credits, row.amount, row.credited),
    ),
    Check(
        """
        SELECT p.payout_id, p.credits, coalesce(-m.amount, 0) AS taken FROM payouts p LEFT JOIN payout_movements m
            ON m.reference = p.payout_id AND m.account_id = p.account_id
        WHERE {payouts} AND p.credits <> coalesce(-m.amount, 0)
        """,
        lambda row: f"{row.payout_id} pays out {row.credits}, but its entries take {row.taken}",
    ),
]
_OF_CAPS = [
    Check(
        """
        SELECT k.key_id, k.begins_ms, k.spent, coalesce(sum(h.amount), 0) AS used
        FROM (SELECT * FROM key_months WHERE {range} {months}) AS k
        LEFT JOIN counted h ON h.account_id = k.account_id AND h.counted_under = k.key_id
            AND h.reserved_ms >= k.begins_ms AND h.reserved_ms < k.ends_ms
        GROUP BY k.account_id, k.key_id, k.begins_ms, k.spent HAVING k.spent <> coalesce(sum(h.amount), 0)
        """,
        lambda row: (
            f"key {row.key_id} has spent {row.spent} in the month from {row.begins_ms}, but its holds sum to {row.used}"
        ),
    ),
]
_OF_USAGE = [
    Check(
        # Accounts whose sums are not complete yet are left out.
        """
        SELECT account_id, day, key_id, model, sum(requests) AS requests, sum(credits) AS credits FROM daily
        WHERE NOT EXISTS (SELECT 1 FROM daily_usage_backfill b WHERE b.account_id <= daily.account_id)
        GROUP BY account_id, day, key_id, model
        HAVING sum(requests) <> 0 OR sum(charged_requests) <> 0 OR sum(credits) <> 0 OR sum(prompt_tokens) <> 0
            OR sum(completion_tokens) <> 0
        """,
        lambda row: (
            f"the usage of account {row.account_id} on day {row.day}, key {row.key_id} and model {row.model} differs "
            f"from its requests by {row.requests} requests and {row.credits} credits, or by tokens"
        ),
    ),
]


def check_accounts(connection: sa.Connection, accounts: AccountRange) -> list[str]:
    """Runs every check on some accounts; returns the sentences about what is wrong."""
    violations = _run(connection, [*_OF_ENTRIES, *_OF_CAPS, *_OF_USAGE], accounts)
    return violations + check_deposits_of(connection, accounts)


def check_deposits_of(connection: sa.Connection, accounts: AccountRange) -> list[str]:
    """Compares the deposits of some accounts with everything but entries."""
    return check_deposits(connection, accounts.condition(), accounts.parameters())


def check_usage(connection: sa.Connection, account: AccountRange, days: Period) -> list[str]:
    """Compares the daily sums of some days with the requests."""
    return _run(connection, _OF_USAGE, account, days)


def check_caps(connection: sa.Connection, account: AccountRange, month: Period) -> list[str]:
    """Compares what keys have spent in a month with the requests."""
    return _run(connection, _OF_CAPS, account, month)


def _run(
    connection: sa.Connection, checks: Sequence[Check], accounts: AccountRange, period: Period | None = None
) -> list[str]:
    words = {
        "range": accounts.condition(),
        "grants": accounts.condition("g.account_id"),
        "payouts": accounts.condition("p.account_id"),
        "reference": REFERENCE.format(table="deposits"),
        "elements": _ELEMENTS[connection.dialect.name],
        "made": "AND reserved_ms >= :first_ms AND reserved_ms < :end_ms" if period else "",
        "days": "AND day >= :first_day AND day < :end_day" if period else "",
        "months": "AND begins_ms = :first_ms" if period else "",
    }
    parameters = accounts.parameters()
    if period is not None:
        days = {"first_day": period.first_ms // DAY_MS, "end_day": period.end_ms // DAY_MS}
        parameters |= {**period._asdict(), **days}
    return run_checks(connection, _VIEWS, checks, words, parameters)

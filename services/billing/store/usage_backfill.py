"""Adds the holds that had ended before there were daily sums to them, a slice of an account's holds at a time.

`daily_usage_backfill` holds the place, in (account_id, reserved_ms), up to which they are added. The database adds a
hold that ends before this place by itself, and leaves one that ends after it to the backfill.
"""

from __future__ import annotations

import sqlalchemy as sa

# On PostgreSQL, transactions that end holds share this row, so that the place moves between them.
_PLACE = "SELECT account_id, reserved_ms FROM daily_usage_backfill"
_NEXT = sa.text("""
    SELECT account_id, reserved_ms FROM holds WHERE (account_id, reserved_ms) > (:account_id, :reserved_ms)
    ORDER BY account_id, reserved_ms LIMIT 1 OFFSET :holds
""")
_ADD = """
    INSERT INTO daily_usage
        (account_id, day, key_id, model, requests, charged_requests, credits, prompt_tokens, completion_tokens)
    SELECT account_id, reserved_ms / 86400000, key_id, model, count(*),
        sum(CASE WHEN state = 'captured' THEN 1 ELSE 0 END), sum(CASE WHEN state = 'captured' THEN amount ELSE 0 END),
        sum(prompt_tokens), sum(completion_tokens)
    FROM holds WHERE {slice} AND state <> 'open' AND account_id <> ''
    GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT (account_id, day, key_id, model) DO UPDATE SET
        requests = daily_usage.requests + excluded.requests,
        charged_requests = daily_usage.charged_requests + excluded.charged_requests,
        credits = daily_usage.credits + excluded.credits,
        prompt_tokens = daily_usage.prompt_tokens + excluded.prompt_tokens,
        completion_tokens = daily_usage.completion_tokens + excluded.completion_tokens
"""
_FROM = "(account_id, reserved_ms) >= (:account_id, :reserved_ms)"
_ADD_SLICE = sa.text(
    _ADD.format(slice=f"{_FROM} AND (account_id, reserved_ms) < (:next_account_id, :next_reserved_ms)")
)
_ADD_REST = sa.text(_ADD.format(slice=_FROM))
_MOVE = sa.text("UPDATE daily_usage_backfill SET account_id = :next_account_id, reserved_ms = :next_reserved_ms")
_END = sa.text("DELETE FROM daily_usage_backfill")


def backfill_usage(connection: sa.Connection, holds: int) -> bool:
    """Adds about so many holds, in the order of their accounts; returns whether there may be more."""
    lock = " FOR UPDATE" if connection.dialect.name == "postgresql" else ""
    place = connection.execute(sa.text(_PLACE + lock)).first()
    if place is None:
        return False
    parameters = {"account_id": place.account_id, "reserved_ms": place.reserved_ms}
    following = connection.execute(_NEXT, parameters | {"holds": holds}).first()
    if following is None:
        connection.execute(_ADD_REST, parameters)
        connection.execute(_END)
        return False
    next_place = {"next_account_id": following.account_id, "next_reserved_ms": following.reserved_ms}
    connection.execute(_ADD_SLICE, parameters | next_place)
    connection.execute(_MOVE, next_place)
    return True


def is_backfilled(connection: sa.Connection) -> bool:
    """Returns whether every ended hold is in the sums."""
    return connection.execute(sa.text(_PLACE)).first() is None

"""The SQL of receipts and usage reports, the same for both databases."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from services.billing.ledger.holds import Hold
from services.billing.ledger.usage import DAY_MS, MAX_GROUPS, MAX_REQUESTS, GroupBy, Sum
from services.billing.store.columns import HOLD_COLUMNS

_REQUEST = sa.text(f"SELECT {', '.join(HOLD_COLUMNS)} FROM holds WHERE request_id = :request_id")  # noqa: S608 - constants only

# Days as whole numbers since 1970 (UTC): neither a function of one database nor a conversion of every row.
_GROUPS = {GroupBy.DAY: f"reserved_ms / {DAY_MS}", GroupBy.MODEL: "model", GroupBy.KEY: "key_id"}


def _usage(group: str) -> sa.TextClause:
    # The inner limit bounds what is read: the index of an account's holds by time gives the rows in order.
    return sa.text(f"""
        SELECT {group} AS name, count(*), count(CASE WHEN state = 'captured' THEN 1 END),
            sum(CASE WHEN state = 'captured' THEN amount ELSE 0 END), sum(prompt_tokens), sum(completion_tokens)
        FROM (
            SELECT reserved_ms, model, key_id, state, amount, prompt_tokens, completion_tokens FROM holds
            WHERE account_id = :account_id AND reserved_ms >= :from_ms AND reserved_ms < :to_ms
            ORDER BY reserved_ms LIMIT {MAX_REQUESTS + 1}
        ) AS requests GROUP BY 1 ORDER BY 1 LIMIT {MAX_GROUPS + 1}
    """)  # noqa: S608 - constants only


_USAGE = {group_by: _usage(group) for group_by, group in _GROUPS.items()}


def read_request(connection: sa.Connection, request_id: str) -> Hold | None:
    """Returns one request."""
    row = connection.execute(_REQUEST, {"request_id": request_id}).first()
    return Hold(*row) if row is not None else None


def read_usage(connection: sa.Connection, account_id: str, from_ms: int, to_ms: int, group_by: GroupBy) -> list[Sum]:
    """Returns the sums, in the order of their groups."""
    parameters = {"account_id": account_id, "from_ms": from_ms, "to_ms": to_ms}
    rows = connection.execute(_USAGE[group_by], parameters)
    return [Sum(_name(row[0], group_by), *(int(value) for value in row[1:])) for row in rows]


def _name(value: str | int, group_by: GroupBy) -> str:
    if group_by is GroupBy.DAY:
        return datetime.fromtimestamp(int(value) * DAY_MS / 1000, UTC).date().isoformat()
    return str(value)

"""The SQL of receipts and usage reports, the same for both databases.

Whole days come from the daily sums, which hold ended requests, and from the open holds, which are few. Only the parts
of days at both ends of a report are added up request by request, and so is an account whose sums are not complete yet.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import sqlalchemy as sa

from services.billing.ledger.holds import Hold
from services.billing.ledger.usage import DAY_MS, MAX_GROUPS, MAX_REQUESTS, GroupBy, Sum, UsageSums
from services.billing.store.columns import HOLD_COLUMNS

_REQUEST = sa.text(f"SELECT {', '.join(HOLD_COLUMNS)} FROM holds WHERE request_id = :request_id")  # noqa: S608 - constants only

# On SQLite, holds are indexed day by day (migration 0011), and no part of a report that is read from them has two days.
_OF_DAY = {"sqlite": f"AND reserved_ms / {DAY_MS} = :{{first}} / {DAY_MS}", "postgresql": ""}

# Days as whole numbers since 1970 (UTC): neither a function of one database nor a conversion of every row.
_GROUPS = {GroupBy.DAY: f"reserved_ms / {DAY_MS}", GroupBy.MODEL: "model", GroupBy.KEY: "key_id"}
_GROUPS_OF_SUMS = {GroupBy.DAY: "day", GroupBy.MODEL: "model", GroupBy.KEY: "key_id"}


def _requests(group: str, first: str, end: str, dialect: str) -> str:
    # The inner limit bounds what is read: the index of an account's holds by time gives the rows in order.
    return f"""
        SELECT {group} AS name, 1 AS requests, CASE WHEN state = 'captured' THEN 1 ELSE 0 END AS charged_requests,
            CASE WHEN state = 'captured' THEN amount ELSE 0 END AS credits, prompt_tokens, completion_tokens, 1 AS read
        FROM (
            SELECT reserved_ms, model, key_id, state, amount, prompt_tokens, completion_tokens FROM holds
            WHERE account_id = :account_id AND reserved_ms >= :{first} AND reserved_ms < :{end}
                {_OF_DAY[dialect].format(first=first)}
            ORDER BY reserved_ms LIMIT {MAX_REQUESTS + 1}
        ) AS requests_{first}
    """  # noqa: S608 - constants only


def _usage(group_by: GroupBy, dialect: str) -> sa.TextClause:
    group = _GROUPS[group_by]
    # The days are added up apart, before the parts are put together: in the order of their key, days need no sorting.
    # The condition on the account of an open hold is spelled so that no index serves it: that of the open holds is
    # small, while that of the account's holds has all that it ever made.
    return sa.text(f"""
        SELECT name, sum(requests), sum(charged_requests), sum(credits), sum(prompt_tokens), sum(completion_tokens),
            sum(read)
        FROM (
            SELECT {_GROUPS_OF_SUMS[group_by]} AS name, sum(requests) AS requests,
                sum(charged_requests) AS charged_requests, sum(credits) AS credits,
                sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens, 0 AS read
            FROM account_usage WHERE account_id = :account_id AND day >= :first_day AND day < :end_day
            GROUP BY {_GROUPS_OF_SUMS[group_by]}
            UNION ALL
            SELECT {group}, 1, 0, 0, prompt_tokens, completion_tokens, 0 FROM holds
            WHERE state = 'open' AND reserved_ms >= :first_ms AND reserved_ms < :end_ms
                AND account_id || '' = :account_id
            UNION ALL {_requests(group, "from_ms", "first_ms", dialect)}
            UNION ALL {_requests(group, "end_ms", "to_ms", dialect)}
        ) AS parts GROUP BY 1 ORDER BY 1 LIMIT {MAX_GROUPS + 1}
    """)  # noqa: S608 - constants only


_USAGE = {dialect: {group_by: _usage(group_by, dialect) for group_by in GroupBy} for dialect in _OF_DAY}
_INCOMPLETE = sa.text("SELECT 1 FROM daily_usage_backfill WHERE account_id <= :account_id")
_ANY = {
    dialect: sa.text(f"""
        SELECT 1 FROM holds WHERE account_id = :account_id AND reserved_ms >= :from_ms AND reserved_ms < :to_ms
            {of_day.format(first="from_ms")} LIMIT 1
    """)  # noqa: S608 - constants only
    for dialect, of_day in _OF_DAY.items()
}


class _WholeDays(NamedTuple):
    """The days of a report that come from the sums, from midnight until midnight, in milliseconds since 1970."""

    first_ms: int
    end_ms: int


def read_request(connection: sa.Connection, request_id: str) -> Hold | None:
    """Returns one request."""
    row = connection.execute(_REQUEST, {"request_id": request_id}).first()
    return Hold(*row) if row is not None else None


def read_usage(connection: sa.Connection, account_id: str, from_ms: int, to_ms: int, group_by: GroupBy) -> UsageSums:
    """Returns the sums, in the order of their groups, and how many requests were read one by one for them."""
    days = _whole_days(connection, account_id, from_ms, to_ms)
    parameters = {
        "account_id": account_id,
        "from_ms": min(from_ms, days.first_ms),
        "first_ms": days.first_ms,
        "first_day": days.first_ms // DAY_MS,
        "end_day": days.end_ms // DAY_MS,
        "end_ms": days.end_ms,
        "to_ms": max(to_ms, days.end_ms),
    }
    rows = connection.execute(_USAGE[connection.dialect.name][group_by], parameters).all()
    sums = [Sum(_name(row[0], group_by), *(int(value) for value in row[1:-1])) for row in rows]
    return UsageSums(sums, sum(int(row[-1]) for row in rows))


def _whole_days(connection: sa.Connection, account_id: str, from_ms: int, to_ms: int) -> _WholeDays:
    """Returns the days that a report has whole; a day outside of whose part nothing was requested is one of them."""
    if connection.execute(_INCOMPLETE, {"account_id": account_id}).first() is not None:
        return _WholeDays(to_ms, to_ms)

    def any_between(begin_ms: int, end_ms: int) -> bool:
        parameters = {"account_id": account_id, "from_ms": begin_ms, "to_ms": end_ms}
        return begin_ms < end_ms and connection.execute(_ANY[connection.dialect.name], parameters).first() is not None

    first_ms, end_ms = from_ms // DAY_MS * DAY_MS, -(-to_ms // DAY_MS) * DAY_MS
    if any_between(first_ms, from_ms):
        first_ms += DAY_MS
    if any_between(to_ms, end_ms):
        end_ms -= DAY_MS
    return _WholeDays(first_ms, end_ms) if first_ms <= end_ms else _WholeDays(to_ms, to_ms)


def _name(value: str | int, group_by: GroupBy) -> str:
    if group_by is GroupBy.DAY:
        return datetime.fromtimestamp(int(value) * DAY_MS / 1000, UTC).date().isoformat()
    return str(value)

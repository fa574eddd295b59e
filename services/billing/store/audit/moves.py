"""Follows the movements of each hold across slices, until the hold has ended as its movements say.

Most holds are made and end within one slice, and SQL alone sees that they agree. The others are counted in
`audit_moves`. A movement of a hold that had ended before (a refund, a late capture) is rare, and its earlier movements
are looked up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from services.billing.store.audit.searches import EACH

_COUNTS = """
    count(CASE WHEN kind = 'reserve' AND pocket = 'held' THEN 1 END) AS reserves,
    count(CASE WHEN kind = 'capture' THEN 1 END) AS captures,
    count(CASE WHEN kind = 'release' AND pocket = 'available' THEN 1 END) AS releases,
    count(CASE WHEN kind = 'refund' THEN 1 END) AS refunds
"""
_OF_A_HOLD = "kind NOT IN ('grant', 'deposit', 'payout')"
_OWN = f"{_OF_A_HOLD} AND account_id NOT LIKE 'system:%'"
# All but the holds that have ended, and whose movements are all in the slice and agree with them.
_UNFINISHED = f"""
    SELECT m.*, h.account_id, h.reserved_ms, h.state FROM (
        SELECT reference, {_COUNTS} FROM {{entries}} WHERE entry_id > :after AND entry_id <= :upto AND {{own}}
        GROUP BY reference
    ) AS m JOIN holds h ON h.request_id = {{each}}
    WHERE {{known}} OR NOT (m.reserves = 1 AND m.releases <= 1 AND (
        (h.state = 'captured' AND m.captures = 1 AND m.refunds = 0)
        OR (h.state = 'released' AND m.captures = m.refunds AND m.captures <= 1 AND m.releases + m.refunds > 0)
    ))
"""  # noqa: S608 - constants only
_KNOWN = "EXISTS (SELECT 1 FROM audit_moves a WHERE a.request_id = m.reference)"
_UNFINISHED_OF_ALL = {
    dialect: sa.text(_UNFINISHED.format(entries="entries", own=_OWN, known=_KNOWN, each=each.format("m.reference")))
    for dialect, each in EACH.items()
}
_OF_ACCOUNT = f"account_id = :account_id AND {_OF_A_HOLD}"
_UNFINISHED_OF_ACCOUNT = {
    dialect: sa.text(
        _UNFINISHED.format(entries="account_entries", own=_OF_ACCOUNT, known="1 = 0", each=each.format("m.reference"))
    )
    for dialect, each in EACH.items()
}
_AMONG = {
    "sqlite": "request_id IN (SELECT value FROM json_each(:ids))",
    "postgresql": "request_id IN (SELECT json_array_elements_text(CAST(:ids AS json)))",
}
_STORED = {name: f"SELECT * FROM audit_moves WHERE {among}" for name, among in _AMONG.items()}  # noqa: S608 - constants only
_STATES = {name: f"SELECT request_id, state FROM holds WHERE {among}" for name, among in _AMONG.items()}  # noqa: S608 - constants only
_BEFORE = sa.text(f"""
    SELECT {_COUNTS} FROM account_entries
    WHERE account_id = :account_id AND entry_id > :low AND entry_id <= :after AND reference = :reference
""")  # noqa: S608 - constants only
_TIME_AFTER = sa.text("SELECT at_ms FROM entries WHERE entry_id > :entry_id ORDER BY entry_id LIMIT 1")
_ALL = sa.text(f"""
    SELECT a.request_id, h.state, a.reserves + coalesce(m.reserves, 0) AS reserves,
        a.captures + coalesce(m.captures, 0) AS captures, a.releases + coalesce(m.releases, 0) AS releases,
        a.refunds + coalesce(m.refunds, 0) AS refunds, m.reference
    FROM audit_moves a LEFT JOIN holds h ON h.request_id = a.request_id LEFT JOIN (
        SELECT reference, {_COUNTS} FROM entries WHERE entry_id > :after AND {_OWN} GROUP BY reference
    ) AS m ON m.reference = a.request_id
    ORDER BY a.request_id
""")  # noqa: S608 - constants only

# By how much the clocks of two replicas may differ, so that times of entries are not quite in their order.
_SKEW_MS = 3_600_000


class Moves(NamedTuple):
    """How many movements of each kind a hold has."""

    reserves: int
    captures: int
    releases: int
    refunds: int

    def plus(self, other: Moves) -> Moves:
        """Returns the sums."""
        return Moves(*(mine + others for mine, others in zip(self, other, strict=True)))

    def disagreement(self, request_id: str, state: str) -> str:
        """Returns the sentence for a hold that has other movements than its state says."""
        return (
            f"hold {request_id} is {state}, but has {self.reserves} reserve, {self.captures} capture, "
            f"{self.releases} release and {self.refunds} refund movements"
        )

    def agree_with(self, state: str) -> bool:
        """Returns whether a hold in this state has these movements; one that was refunded is released."""
        if self.reserves != 1 or self.captures > 1 or self.releases > 1 or self.refunds > self.captures:
            return False
        if state == "open":
            return self.captures + self.releases == 0
        if state == "captured":
            return self.captures - self.refunds == 1
        return self.captures == self.refunds and self.releases + self.refunds > 0


class Unfinished(NamedTuple):
    """What a slice changes of what is known of the holds that have not ended."""

    counted: dict[str, Moves]
    finished: list[str]


def read_unfinished(connection: sa.Connection, after: int, upto: int) -> Unfinished:
    """Counts the movements of the slice's holds that do not begin and end within it, with those in `audit_moves`."""
    unfinished = _UNFINISHED_OF_ALL[connection.dialect.name]
    rows = connection.execute(unfinished, {"after": after, "upto": upto}).all()
    return _count(connection, rows, _stored(connection, [row.reference for row in rows]), after)


def read_unfinished_of(
    connection: sa.Connection, account_id: str, after: int, upto: int, known: Mapping[str, Moves]
) -> Unfinished:
    """Does the same for one account's entries, with the movements that are known from its slices before."""
    parameters = {"account_id": account_id, "after": after, "upto": upto}
    unfinished = _UNFINISHED_OF_ACCOUNT[connection.dialect.name]
    return _count(connection, connection.execute(unfinished, parameters).all(), known, after)


def _count(connection: sa.Connection, rows: Sequence[Any], known: Mapping[str, Moves], after: int) -> Unfinished:
    counted: dict[str, Moves] = {}
    finished: list[str] = []
    for row in rows:
        moves = _moves(row)
        if not any(moves):
            # The slice has one line of a movement, and not the one that is counted.
            continue
        earlier = known.get(row.reference)
        if earlier is None and not moves.reserves:
            earlier = _earlier(connection, row, after)
        if earlier is not None:
            moves = moves.plus(earlier)
        if row.state == "open" or not moves.agree_with(row.state):
            # It runs, or ended by entries of a later slice, or is wrong: the end of the audit tells.
            counted[row.reference] = moves
        elif row.reference in known:
            finished.append(row.reference)
    return Unfinished(counted, finished)


def judge(connection: sa.Connection, after: int) -> tuple[list[str], list[str]]:
    """Compares all holds that are not finished with all their movements, those that are not proven yet as well.

    Returns the sentences about what is wrong, and which of them are finished.
    """
    violations: list[str] = []
    finished: list[str] = []
    for row in connection.execute(_ALL, {"after": after}):
        moves = _moves(row)
        if row.state is None:
            violations.append(f"the movements of {row.request_id} belong to no hold")
        elif not moves.agree_with(row.state):
            violations.append(moves.disagreement(row.request_id, row.state))
        elif row.state != "open" and row.reference is None:
            finished.append(row.request_id)
    return violations, finished


def read_states(connection: sa.Connection, request_ids: Sequence[str]) -> dict[str, str]:
    """Returns the states of these holds."""
    statement = sa.text(_STATES[connection.dialect.name])
    return {row.request_id: row.state for row in connection.execute(statement, {"ids": json.dumps(request_ids)})}


def _stored(connection: sa.Connection, references: Sequence[str]) -> Mapping[str, Moves]:
    if not references:
        return {}
    rows = connection.execute(sa.text(_STORED[connection.dialect.name]), {"ids": json.dumps(references)})
    return {row.request_id: _moves(row) for row in rows}


def _earlier(connection: sa.Connection, row: Any, after: int) -> Moves:
    """Looks up the proven movements of a hold that had ended, among its account's entries since it was made."""
    parameters = {"account_id": row.account_id, "reference": row.reference, "after": after}
    low = _entry_before(connection, row.reserved_ms - _SKEW_MS, after)
    moves = _moves(connection.execute(_BEFORE, {**parameters, "low": low}).one())
    if moves.reserves:
        return moves
    # A clock was further off, or this hold never was made: only all entries of the account can tell.
    return _moves(connection.execute(_BEFORE, {**parameters, "low": 0}).one())


def _entry_before(connection: sa.Connection, at_ms: int, after: int) -> int:
    """Returns an entry before all that were made from a moment on."""
    low, high = 0, after
    while low < high:
        middle = (low + high) // 2
        found = connection.execute(_TIME_AFTER, {"entry_id": middle}).scalar()
        if found is None or found >= at_ms:
            high = middle
        else:
            low = middle + 1
    return low


def _moves(row: Any) -> Moves:
    return Moves(int(row.reserves), int(row.captures), int(row.releases), int(row.refunds))

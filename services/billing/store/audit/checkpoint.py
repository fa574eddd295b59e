"""How far the ledger is proven: the entry, what every account's entries sum to there, and the holds that run there.

Balances are compared with those sums and with the entries that came since, so that any balance that was changed by
itself is found by every audit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa

from services.billing.store.audit import moves
from services.billing.store.audit.movements import EntrySlice, Flows, read_flows, read_slice
from services.billing.store.audit.moves import Unfinished, read_unfinished
from services.billing.store.audit.report import MAX_NAMED, Report, whole_numbers

_READ = sa.text("SELECT entry_id, entries, total, whole_total, granted, deposited, revenue FROM audit_checkpoint")
# Of several replicas that prove the same slice, one moves the checkpoint.
_MOVE = sa.text("""
    UPDATE audit_checkpoint SET entry_id = :upto, entries = entries + :entries, total = total + :total,
        granted = granted + :granted, deposited = deposited + :deposited, revenue = revenue + :revenue
    WHERE entry_id = :after
""")
# Keeps other replicas from moving it until the commit.
_STAY = sa.text("UPDATE audit_checkpoint SET entry_id = :entry_id WHERE entry_id = :entry_id")
_WHOLE_TOTAL = sa.text("UPDATE audit_checkpoint SET whole_total = :total")
_CUSTOMERS = "account_id NOT LIKE 'system:%'"
_SUMS = """
    sum(CASE WHEN pocket = 'available' THEN amount ELSE 0 END) AS available,
    sum(CASE WHEN pocket = 'held' THEN amount ELSE 0 END) AS held
"""
_ADD_BALANCES = sa.text(f"""
    INSERT INTO audit_balances (account_id, available, held)
    SELECT account_id, {_SUMS} FROM entries WHERE entry_id > :after AND entry_id <= :upto AND {_CUSTOMERS}
    GROUP BY account_id ORDER BY account_id
    ON CONFLICT (account_id) DO UPDATE SET
        available = audit_balances.available + excluded.available, held = audit_balances.held + excluded.held
""")  # noqa: S608 - constants only
_COUNT_MOVES = sa.text("""
    INSERT INTO audit_moves (request_id, reserves, captures, releases, refunds)
    VALUES (:request_id, :reserves, :captures, :releases, :refunds)
    ON CONFLICT (request_id) DO UPDATE SET reserves = excluded.reserves, captures = excluded.captures,
        releases = excluded.releases, refunds = excluded.refunds
""")
_FINISH_MOVES = sa.text("DELETE FROM audit_moves WHERE request_id = :request_id")
_FIND = sa.text("INSERT INTO audit_findings (sentence) VALUES (:sentence) ON CONFLICT (sentence) DO NOTHING")
_FINDINGS = sa.text(f"SELECT sentence FROM audit_findings ORDER BY sentence LIMIT {MAX_NAMED}")  # noqa: S608 - constants only
_ALL_FINDINGS = sa.text("SELECT sentence FROM audit_findings")
_FORGET_FINDING = sa.text("DELETE FROM audit_findings WHERE sentence = :sentence")

_BALANCES = sa.text(f"""
    SELECT account_id, sum(balances) AS balances, sum(available) AS available, sum(held) AS held,
        sum(entered) AS entered, sum(entered_held) AS entered_held
    FROM (
        SELECT account_id, 1 AS balances, available, held, 0 AS entered, 0 AS entered_held FROM balances
        UNION ALL
        SELECT account_id, 0, 0, 0, available, held FROM audit_balances
        UNION ALL
        SELECT account_id, 0, 0, 0, available, held FROM (
            SELECT account_id, {_SUMS} FROM entries WHERE entry_id > :after AND {_CUSTOMERS} GROUP BY account_id
        ) AS recent
    ) AS accounts GROUP BY account_id
    HAVING sum(available) <> sum(entered) OR sum(held) <> sum(entered_held) OR min(available) < 0 OR min(held) < 0
    ORDER BY account_id LIMIT {MAX_NAMED}
""")  # noqa: S608 - constants only
_HELD = sa.text(f"""
    SELECT account_id, sum(held) AS held, sum(open) AS open FROM (
        SELECT account_id, held, 0 AS open FROM balances WHERE held <> 0
        UNION ALL
        SELECT account_id, 0, amount FROM holds WHERE state = 'open'
    ) AS accounts GROUP BY account_id HAVING sum(held) <> sum(open) ORDER BY account_id LIMIT {MAX_NAMED}
""")  # noqa: S608 - constants only
_ACCOUNTS = sa.text("SELECT count(*), coalesce(sum(available), 0), coalesce(sum(held), 0) FROM balances")
_OPEN_HOLDS = sa.text("SELECT count(*) FROM holds WHERE state = 'open'")


class Checkpoint(NamedTuple):
    """Every entry up to one is proven: so many, which sum to `total` and are these flows.

    Those that the last audit of the whole ledger has read sum to `whole_total`.
    """

    entry_id: int
    entries: int
    total: int
    whole_total: int
    granted: int
    deposited: int
    revenue: int

    @property
    def flows(self) -> Flows:
        """The flows of the proven entries."""
        return Flows(self.granted, self.deposited, self.revenue)


class EntrySums(NamedTuple):
    """All entries up to one: how many they are, what they sum to, and what flows they are."""

    upto: int
    entries: int
    total: int
    flows: Flows

    def plus(self, part: EntrySlice) -> EntrySums:
        """Returns the sums with those of the next slice."""
        flows = self.flows.plus(part.flows)
        return EntrySums(part.upto, self.entries + part.entries, self.total + part.total, flows)


class ProvenSlice(NamedTuple):
    """A slice that was read, and what is to be remembered of it."""

    entries: EntrySlice
    unfinished: Unfinished


class Verdict(NamedTuple):
    """What an audit of what is new ends with: the checkpoint of that moment, and the holds that have ended since."""

    report: Report
    checkpoint: Checkpoint
    finished: list[str]


def read_checkpoint(connection: sa.Connection) -> Checkpoint:
    """Returns how far the ledger is proven."""
    return Checkpoint(*(int(value) for value in connection.execute(_READ).one()))


def prove_slice(connection: sa.Connection, after: int, horizon: int, size: int) -> ProvenSlice:
    """Reads and checks the slice after an entry."""
    entries = read_slice(connection, after, horizon, size)
    return ProvenSlice(entries, read_unfinished(connection, after, entries.upto))


def move_checkpoint(connection: sa.Connection, proven: ProvenSlice) -> bool:
    """Moves the checkpoint behind a slice; returns False, having changed nothing, if another replica has done it."""
    entries = proven.entries
    parameters = {"after": entries.after, "upto": entries.upto}
    sums = {"entries": entries.entries, "total": entries.total, **entries.flows._asdict()}
    moved = connection.execute(_MOVE, parameters | sums)
    if not moved.rowcount:
        return False
    connection.execute(_ADD_BALANCES, parameters)
    counted = [{"request_id": name, **each._asdict()} for name, each in sorted(proven.unfinished.counted.items())]
    _many(connection, _COUNT_MOVES, counted)
    _finish(connection, proven.unfinished.finished)
    _many(connection, _FIND, [{"sentence": sentence} for sentence in entries.violations])
    return True


def conclude(connection: sa.Connection) -> Verdict:
    """Compares balances and running holds with what is proven and what came since, all of one moment."""
    checkpoint = read_checkpoint(connection)
    found: list[str] = list(connection.execute(_FINDINGS).scalars())
    total = checkpoint.total or checkpoint.whole_total
    if total and imbalance(total) not in found:
        found.insert(0, imbalance(total))
    after = {"after": checkpoint.entry_id}
    found.extend(_wrong_balance(whole_numbers(row)) for row in connection.execute(_BALANCES, after))
    found.extend(
        f"account {row.account_id} has {row.held} held, but its open holds sum to {row.open}"
        for row in map(whole_numbers, connection.execute(_HELD))
    )
    wrong, finished = moves.judge(connection, checkpoint.entry_id)
    found.extend(wrong[:MAX_NAMED])
    # What an audit of the whole has found, this one may have found as well.
    found = list(dict.fromkeys(found))
    report = make_report(connection, found, EntrySums(checkpoint.entry_id, checkpoint.entries, total, checkpoint.flows))
    return Verdict(report, checkpoint, finished)


def _wrong_balance(row: Any) -> str:
    if not row.balances:
        return f"account {row.account_id} has entries but no balance"
    if row.available < 0 or row.held < 0:
        return f"account {row.account_id} is negative: {row.available} available, {row.held} held"
    return (
        f"account {row.account_id} has {row.available} available and {row.held} held, "
        f"but its entries sum to {row.entered} and {row.entered_held}"
    )


def imbalance(total: int) -> str:
    """The sentence for entries that do not cancel out."""
    return f"all entries together sum to {total} instead of 0"


def make_report(connection: sa.Connection, violations: list[str], sums: EntrySums) -> Report:
    """Adds to what an audit has found how things stand now."""
    accounts, available, held = map(int, connection.execute(_ACCOUNTS).one())
    open_holds = int(connection.execute(_OPEN_HOLDS).scalar_one())
    flows = sums.flows.plus(read_flows(connection, sums.upto))
    return Report(violations, sums.entries, accounts, open_holds, sums.total, *flows, available, held)


def forget_finished(connection: sa.Connection, verdict: Verdict) -> None:
    """Follows holds no longer that have ended as their movements say, unless the checkpoint has moved meanwhile."""
    if connection.execute(_STAY, {"entry_id": verdict.checkpoint.entry_id}).rowcount:
        _finish(connection, verdict.finished)


def read_findings(connection: sa.Connection) -> list[str]:
    """Returns everything that is remembered as wrong."""
    return list(connection.execute(_ALL_FINDINGS).scalars())


def replace_findings(connection: sa.Connection, former: list[str], violations: list[str], total: int) -> None:
    """Remembers what an audit of the whole ledger has found instead of what was found before it began.

    What others have found meanwhile may be in entries that are newer than those that it has read, so it stays.
    """
    connection.execute(_WHOLE_TOTAL, {"total": total})
    _many(connection, _FORGET_FINDING, [{"sentence": sentence} for sentence in former])
    _many(connection, _FIND, [{"sentence": sentence} for sentence in violations])


def _finish(connection: sa.Connection, request_ids: list[str]) -> None:
    _many(connection, _FINISH_MOVES, [{"request_id": request_id} for request_id in sorted(request_ids)])


def _many(connection: sa.Connection, statement: sa.TextClause, rows: list[dict[str, object]]) -> None:
    if rows:
        connection.execute(statement, rows)

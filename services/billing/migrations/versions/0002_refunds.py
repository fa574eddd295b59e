"""Refunds: a new kind of movement, and the one change that a captured hold may still see."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

# An ended hold stays as it is, except that an expired one may be captured and a completed one be refunded.
_ENDED = (
    "(OLD.state = 'captured' AND NOT (OLD.outcome = 'completed' AND NEW.state = 'released' AND NEW.outcome = 'failed'))"
    " OR (OLD.state = 'released' AND NOT (OLD.outcome = 'expired' AND NEW.state = 'captured'))"
)
_KINDS = " OR ".join(f"kind = '{kind}'" for kind in ("reserve", "capture", "release", "grant", "refund"))

# SQLite cannot change a check, so the table is made anew; its index and guards go with the old one.
_SQLITE = [
    f"""
    CREATE TABLE entries_0002 (
        entry_id INTEGER PRIMARY KEY,
        reference TEXT NOT NULL,
        kind TEXT NOT NULL CHECK ({_KINDS}),
        account_id TEXT NOT NULL,
        pocket TEXT NOT NULL CHECK (pocket = 'available' OR pocket = 'held'),
        amount BIGINT NOT NULL,
        at_ms BIGINT NOT NULL
    )
    """,
    "INSERT INTO entries_0002 SELECT entry_id, reference, kind, account_id, pocket, amount, at_ms FROM entries",
    "DROP TABLE entries",
    "ALTER TABLE entries_0002 RENAME TO entries",
    "CREATE INDEX entries_by_account ON entries (account_id, entry_id)",
    """
    CREATE TRIGGER entries_unchanged BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END
    """,
    "CREATE TRIGGER entries_kept BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END",
    "DROP TRIGGER holds_ended",
    f"""
    CREATE TRIGGER holds_ended BEFORE UPDATE ON holds WHEN {_ENDED}
    BEGIN SELECT RAISE(ABORT, 'an ended hold never changes'); END
    """,
]
_POSTGRESQL = [
    "ALTER TABLE entries DROP CONSTRAINT entries_kind_check",
    f"ALTER TABLE entries ADD CONSTRAINT entries_kind_check CHECK ({_KINDS})",
    "DROP TRIGGER holds_ended ON holds",
    f"""
    CREATE TRIGGER holds_ended BEFORE UPDATE ON holds FOR EACH ROW WHEN ({_ENDED})
    EXECUTE FUNCTION ledger_refuse('an ended hold never changes')
    """,
]


def upgrade() -> None:
    """Replaces the two guards that knew no refunds."""
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)

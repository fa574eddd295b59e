"""Payouts: what wallets have not spent goes back to them, and a new kind of movement."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"

_KINDS = " OR ".join(
    f"kind = '{kind}'" for kind in ("reserve", "capture", "release", "grant", "refund", "deposit", "payout")
)
# A payout is changed once: when its transfer is known.
_CHANGED = "OLD.tx_hash IS NOT NULL OR NEW.tx_hash IS NULL OR " + " OR ".join(
    f"NEW.{name} <> OLD.{name}"
    for name in ("payout_id", "account_id", "chain_id", "token", "wallet", "treasury", "credits", "atomic", "at_ms")
)
_TABLES = [
    """
    CREATE TABLE payouts (
        payout_id {id} PRIMARY KEY,
        account_id {id} CHECK (account_id NOT LIKE 'system:%'),
        chain_id BIGINT NOT NULL CHECK (chain_id > 0),
        token {id},
        wallet {id},
        treasury {id},
        credits BIGINT NOT NULL CHECK (credits > 0),
        atomic BIGINT NOT NULL CHECK (atomic > 0),
        at_ms BIGINT NOT NULL,
        tx_hash TEXT,
        log_index BIGINT,
        block_number BIGINT,
        block_hash TEXT,
        CHECK ((tx_hash IS NULL) = (log_index IS NULL)),
        CHECK ((tx_hash IS NULL) = (block_number IS NULL)),
        CHECK ((tx_hash IS NULL) = (block_hash IS NULL))
    )
    """,
    "CREATE INDEX payouts_by_account ON payouts (account_id)",
    # A wallet has one at a time that is not made yet, and each has a transfer of its own.
    "CREATE UNIQUE INDEX payouts_open ON payouts (account_id) WHERE tx_hash IS NULL",
    "CREATE UNIQUE INDEX payouts_by_transfer ON payouts (chain_id, tx_hash, log_index)",
]
# SQLite cannot change a check, so the table is made anew; its view, index and guards are made again.
_SQLITE = [
    "DROP VIEW account_entries",
    f"""
    CREATE TABLE entries_0013 (
        entry_id INTEGER PRIMARY KEY,
        reference TEXT NOT NULL,
        kind TEXT NOT NULL CHECK ({_KINDS}),
        account_id TEXT NOT NULL,
        pocket TEXT NOT NULL CHECK (pocket = 'available' OR pocket = 'held'),
        amount BIGINT NOT NULL,
        at_ms BIGINT NOT NULL
    )
    """,
    "INSERT INTO entries_0013 SELECT entry_id, reference, kind, account_id, pocket, amount, at_ms FROM entries",
    "DROP TABLE entries",
    "ALTER TABLE entries_0013 RENAME TO entries",
    "CREATE INDEX entries_by_segment ON entries (entry_id >> 14, account_id)",
    """
    CREATE TRIGGER entries_unchanged BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END
    """,
    "CREATE TRIGGER entries_kept BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END",
    """
    CREATE VIEW account_entries AS
    WITH RECURSIVE segments (segment) AS (
        SELECT 0 UNION ALL
        SELECT segment + 1 FROM segments WHERE segment < (SELECT max(entry_id) >> 14 FROM entries)
    )
    SELECT entry_id, reference, kind, account_id, pocket, amount, at_ms
    FROM segments CROSS JOIN entries WHERE entry_id >> 14 = segment
    """,
    f"""
    CREATE TRIGGER payouts_unchanged BEFORE UPDATE ON payouts WHEN {_CHANGED}
    BEGIN SELECT RAISE(ABORT, 'a payout never changes'); END
    """,
    "CREATE TRIGGER payouts_kept BEFORE DELETE ON payouts BEGIN SELECT RAISE(ABORT, 'payouts are kept'); END",
]
_POSTGRESQL = [
    "ALTER TABLE entries DROP CONSTRAINT entries_kind_check",
    f"ALTER TABLE entries ADD CONSTRAINT entries_kind_check CHECK ({_KINDS})",
    f"""
    CREATE TRIGGER payouts_unchanged BEFORE UPDATE ON payouts FOR EACH ROW WHEN ({_CHANGED})
    EXECUTE FUNCTION ledger_refuse('a payout never changes')
    """,
    """
    CREATE TRIGGER payouts_kept BEFORE DELETE OR TRUNCATE ON payouts
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('payouts are kept')
    """,
]


def upgrade() -> None:
    """Creates the table with its guards, and lets entries be of the new kind, for which SQLite reads them all once."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    # As in 0001: compared as bytes.
    words = {"id": 'TEXT COLLATE "C" NOT NULL' if postgresql else "TEXT NOT NULL"}
    tables = [statement.format_map(words).replace(":", r"\:") for statement in _TABLES]
    for statement in (*tables, *(_POSTGRESQL if postgresql else _SQLITE)):
        op.execute(statement)

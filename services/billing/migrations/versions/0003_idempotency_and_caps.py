"""Idempotency keys and monthly caps: what a request was made under, and what capped keys have spent."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

# Statements that leave these columns alone do not pay for guarding them; see 0001.
_SNAPSHOT = (
    "request_id, account_id, key_id, model, quantity, unit_price, amount, reserved_ms, key_monthly_cap, idempotency_key"
)

_STATEMENTS = [
    # Null means that the key had no cap, and that the hold is in no sum of key_months.
    "ALTER TABLE holds ADD COLUMN key_monthly_cap BIGINT",
    "ALTER TABLE holds ADD COLUMN idempotency_key TEXT {collation}",
    # The promise of idempotency, kept by the database itself. Holds without a key are not in the index.
    """
    CREATE UNIQUE INDEX holds_by_idempotency_key ON holds (account_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL AND state <> 'released'
    """,
    # What each key has spent in one month while it had a cap: the sum of its holds, so that nobody has to add them up.
    """
    CREATE TABLE key_months (
        account_id TEXT {collation} NOT NULL,
        key_id TEXT {collation} NOT NULL,
        begins_ms BIGINT NOT NULL,
        ends_ms BIGINT NOT NULL,
        spent BIGINT NOT NULL CHECK (spent >= 0),
        PRIMARY KEY (account_id, key_id, begins_ms)
    ) {storage}
    """,
]
_SQLITE_GUARD = f"""
    CREATE TRIGGER holds_snapshot BEFORE UPDATE OF {_SNAPSHOT} ON holds
    BEGIN SELECT RAISE(ABORT, 'a hold never changes what it was made with'); END
"""
_POSTGRESQL_GUARD = f"""
    CREATE TRIGGER holds_snapshot BEFORE UPDATE OF {_SNAPSHOT} ON holds
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('a hold never changes what it was made with')
"""


def upgrade() -> None:
    """Adds the columns, their guard and the sums."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    words = {"collation": "", "storage": "WITHOUT ROWID"}
    if not sqlite:
        # As in 0001: compared as bytes, and room for new versions of a row beside the old one.
        words = {"collation": 'COLLATE "C"', "storage": "WITH (fillfactor = 50)"}
    op.execute("DROP TRIGGER holds_snapshot" if sqlite else "DROP TRIGGER holds_snapshot ON holds")
    for statement in _STATEMENTS:
        op.execute(statement.format_map(words))
    op.execute(_SQLITE_GUARD if sqlite else _POSTGRESQL_GUARD)

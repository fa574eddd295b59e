"""Sweeps: what the operator has moved away from deposit addresses, so that the books agree with their balances."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"

_STATEMENTS = [
    # One transfer away from a deposit address. Amounts are in the token's smallest unit.
    """
    CREATE TABLE sweeps (
        chain_id BIGINT NOT NULL CHECK (chain_id > 0),
        tx_hash {id},
        log_index BIGINT NOT NULL CHECK (log_index >= 0),
        token {id},
        block_number BIGINT NOT NULL CHECK (block_number >= 0),
        block_hash TEXT NOT NULL,
        address {id},
        receiver TEXT NOT NULL,
        account_id {id},
        atomic BIGINT NOT NULL CHECK (atomic > 0),
        at_ms BIGINT NOT NULL,
        PRIMARY KEY (chain_id, tx_hash, log_index)
    )
    """,
    "CREATE INDEX sweeps_by_address ON sweeps (chain_id, token, address, block_number)",
    "CREATE INDEX sweeps_by_account ON sweeps (account_id)",
    "CREATE INDEX deposits_by_address ON deposits (chain_id, token, address, block_number)",
]
_SQLITE_GUARDS = [
    f"CREATE TRIGGER sweeps_{name} BEFORE {event} ON sweeps BEGIN SELECT RAISE(ABORT, 'sweeps are append-only'); END"
    for name, event in (("unchanged", "UPDATE"), ("kept", "DELETE"))
]
_POSTGRESQL_GUARDS = [
    """
    CREATE TRIGGER sweeps_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON sweeps
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('sweeps are append-only')
    """
]


def upgrade() -> None:
    """Creates the table with its guards, and finds deposits by their addresses."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    # As in 0001: compared as bytes.
    words = {"id": 'TEXT COLLATE "C" NOT NULL' if postgresql else "TEXT NOT NULL"}
    for statement in (*_STATEMENTS, *(_POSTGRESQL_GUARDS if postgresql else _SQLITE_GUARDS)):
        op.execute(statement.format_map(words).replace(":", r"\:"))

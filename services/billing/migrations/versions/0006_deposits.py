"""Deposits from a chain: addresses, what has arrived there, how far watchers have read, and a new kind of movement."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

_KINDS = " OR ".join(f"kind = '{kind}'" for kind in ("reserve", "capture", "release", "grant", "refund", "deposit"))

_TABLES = [
    # Where an account receives deposits on a chain. Nothing of it ever changes, because people keep what they were
    # shown. Positions have no gaps, so that a reader knows what is new.
    """
    CREATE TABLE deposit_addresses (
        chain_id BIGINT NOT NULL CHECK (chain_id > 0),
        position BIGINT NOT NULL CHECK (position > 0),
        address {id},
        account_id {id} CHECK (account_id NOT LIKE 'system:%'),
        xpub_id {id},
        address_index BIGINT NOT NULL CHECK (address_index >= 0),
        at_ms BIGINT NOT NULL,
        PRIMARY KEY (chain_id, position),
        UNIQUE (chain_id, address),
        UNIQUE (chain_id, account_id),
        UNIQUE (xpub_id, address_index)
    )
    """,
    # One transfer to such an address. Amounts are in the token's smallest unit.
    """
    CREATE TABLE deposits (
        deposit_id {serial},
        chain_id BIGINT NOT NULL CHECK (chain_id > 0),
        tx_hash {id},
        log_index BIGINT NOT NULL CHECK (log_index >= 0),
        token {id},
        block_number BIGINT NOT NULL CHECK (block_number >= 0),
        block_hash TEXT NOT NULL,
        sender TEXT NOT NULL,
        address {id},
        account_id {id},
        atomic BIGINT NOT NULL CHECK (atomic > 0),
        credits BIGINT NOT NULL CHECK (credits >= 0),
        at_ms BIGINT NOT NULL,
        UNIQUE (chain_id, tx_hash, log_index)
    )
    """,
    "CREATE INDEX deposits_by_account ON deposits (account_id, deposit_id)",
    # What each account has deposited in total, fractions of a credit included.
    """
    CREATE TABLE deposit_totals (
        account_id {id} PRIMARY KEY,
        atomic BIGINT NOT NULL CHECK (atomic > 0)
    ) {storage}
    """,
    """
    CREATE TABLE deposit_cursors (
        chain_id BIGINT NOT NULL,
        token {id},
        watcher {id},
        next_block BIGINT NOT NULL CHECK (next_block >= 0),
        last_hash TEXT NOT NULL,
        PRIMARY KEY (chain_id, token, watcher)
    ) {storage}
    """,
]
_APPEND_ONLY = ("deposit_addresses", "deposits")

# SQLite cannot change a check, so the table is made anew; its index and guards go with the old one.
_SQLITE_ENTRIES = [
    f"""
    CREATE TABLE entries_0006 (
        entry_id INTEGER PRIMARY KEY,
        reference TEXT NOT NULL,
        kind TEXT NOT NULL CHECK ({_KINDS}),
        account_id TEXT NOT NULL,
        pocket TEXT NOT NULL CHECK (pocket = 'available' OR pocket = 'held'),
        amount BIGINT NOT NULL,
        at_ms BIGINT NOT NULL
    )
    """,
    "INSERT INTO entries_0006 SELECT entry_id, reference, kind, account_id, pocket, amount, at_ms FROM entries",
    "DROP TABLE entries",
    "ALTER TABLE entries_0006 RENAME TO entries",
    "CREATE INDEX entries_by_account ON entries (account_id, entry_id)",
    """
    CREATE TRIGGER entries_unchanged BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END
    """,
    "CREATE TRIGGER entries_kept BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END",
]
_POSTGRESQL_ENTRIES = [
    "ALTER TABLE entries DROP CONSTRAINT entries_kind_check",
    f"ALTER TABLE entries ADD CONSTRAINT entries_kind_check CHECK ({_KINDS})",
]


def upgrade() -> None:
    """Creates the tables with their guards, and lets entries be of the new kind."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    if sqlite:
        words = {"id": "TEXT NOT NULL", "serial": "INTEGER PRIMARY KEY", "storage": "WITHOUT ROWID"}
        statements = _SQLITE_ENTRIES + [guard for table in _APPEND_ONLY for guard in _sqlite_guards(table)]
    else:
        # As in 0001: compared as bytes, and room for new versions of a row beside the old one.
        words = {"id": 'TEXT COLLATE "C" NOT NULL', "serial": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"}
        words |= {"storage": "WITH (fillfactor = 50)"}
        statements = _POSTGRESQL_ENTRIES + [_postgresql_guard(table) for table in _APPEND_ONLY]
    for statement in (*(table.format_map(words) for table in _TABLES), *statements):
        op.execute(statement.replace(":", r"\:"))


def _sqlite_guards(table: str) -> list[str]:
    return [
        f"CREATE TRIGGER {table}_{name} BEFORE {event} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} are append-only'); END"
        for name, event in (("unchanged", "UPDATE"), ("kept", "DELETE"))
    ]


def _postgresql_guard(table: str) -> str:
    return (
        f"CREATE TRIGGER {table}_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('{table} are append-only')"
    )

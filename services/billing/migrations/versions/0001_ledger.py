"""The ledger: entries, balances, holds and grants, with the guards that the database itself keeps.

The statements are spelled out for each database, because the guards (triggers, partial indexes, storage settings) are
what this schema is about and no common wording exists for them.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

# The checks spell `IN (…)` out: SQLite would build a temporary index for each row to evaluate it.
_TABLES = [
    # One line of a movement. A movement is the two lines with one reference and one kind; they sum to zero.
    """
    CREATE TABLE entries (
        entry_id {serial},
        reference {id},
        kind TEXT NOT NULL CHECK (kind = 'reserve' OR kind = 'capture' OR kind = 'release' OR kind = 'grant'),
        account_id {id},
        pocket TEXT NOT NULL CHECK (pocket = 'available' OR pocket = 'held'),
        amount BIGINT NOT NULL,
        at_ms BIGINT NOT NULL
    )
    """,
    # What each customer's entries add up to. System accounts have entries only: a row that every charge updates
    # would make all replicas wait for one another.
    """
    CREATE TABLE balances (
        account_id {id} PRIMARY KEY CHECK (account_id NOT LIKE 'system:%'),
        available BIGINT NOT NULL CHECK (available >= 0),
        held BIGINT NOT NULL CHECK (held >= 0)
    ) {balances_storage}
    """,
    # One request: its hold while it runs, its usage record for ever after. Prices are snapshots.
    """
    CREATE TABLE holds (
        request_id {id} PRIMARY KEY,
        account_id {id},
        key_id TEXT NOT NULL,
        model TEXT NOT NULL,
        quantity BIGINT NOT NULL CHECK (quantity > 0),
        unit_price BIGINT NOT NULL CHECK (unit_price >= 0),
        amount BIGINT NOT NULL CHECK (amount = unit_price * quantity),
        reserved_ms BIGINT NOT NULL,
        state TEXT NOT NULL CHECK (state = 'open' OR state = 'captured' OR state = 'released'),
        outcome TEXT NOT NULL,
        prompt_tokens BIGINT NOT NULL CHECK (prompt_tokens >= 0),
        completion_tokens BIGINT NOT NULL CHECK (completion_tokens >= 0),
        runner_id TEXT NOT NULL,
        settled_ms BIGINT,
        CHECK ((state = 'open') = (settled_ms IS NULL))
    ) {holds_storage}
    """,
    """
    CREATE TABLE grants (
        grant_id {id} PRIMARY KEY,
        account_id {id},
        credits BIGINT NOT NULL CHECK (credits > 0),
        note TEXT NOT NULL,
        at_ms BIGINT NOT NULL
    )
    """,
    "CREATE INDEX entries_by_account ON entries (account_id, entry_id)",
    "CREATE INDEX holds_by_account ON holds (account_id, reserved_ms)",
    # The sweeper's: small, because few holds are open at a time.
    "CREATE INDEX holds_open ON holds (reserved_ms) WHERE state = 'open'",
]

# A captured hold stays as it is, and so does a released one, except that an expired one may still be captured.
_ENDED = (
    "OLD.state = 'captured' OR (OLD.state = 'released' AND NOT (OLD.outcome = 'expired' AND NEW.state = 'captured'))"
)
# Statements that leave these columns alone, as every statement of the service does, do not pay for guarding them.
_SNAPSHOT = "request_id, account_id, key_id, model, quantity, unit_price, amount, reserved_ms"

_APPEND_ONLY = ("entries", "grants")


def upgrade() -> None:
    """Creates everything."""
    if op.get_bind().dialect.name == "sqlite":
        words = {"id": "TEXT NOT NULL", "serial": "INTEGER PRIMARY KEY"}
        words |= {"balances_storage": "WITHOUT ROWID", "holds_storage": ""}
        guards = _sqlite_guards()
    else:
        # Compared as bytes: faster than by language, and in the same order on every machine.
        words = {"id": 'TEXT COLLATE "C" NOT NULL', "serial": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"}
        # Room for new versions of a row beside the old one.
        words |= {"balances_storage": "WITH (fillfactor = 50)", "holds_storage": "WITH (fillfactor = 70)"}
        guards = _postgresql_guards()
    for statement in (*(table.format_map(words) for table in _TABLES), *guards):
        op.execute(statement.replace(":", r"\:"))


def _sqlite_guards() -> list[str]:
    def guard(name: str, when: str, text: str) -> str:
        return f"CREATE TRIGGER {name} BEFORE {when} BEGIN SELECT RAISE(ABORT, '{text}'); END"

    guards = [
        guard("holds_ended", f"UPDATE ON holds WHEN {_ENDED}", "an ended hold never changes"),
        guard("holds_snapshot", f"UPDATE OF {_SNAPSHOT} ON holds", "a hold never changes what it was made with"),
        guard("holds_kept", "DELETE ON holds", "holds are never deleted"),
    ]
    for table in _APPEND_ONLY:
        guards.append(guard(f"{table}_unchanged", f"UPDATE ON {table}", f"{table} are append-only"))
        guards.append(guard(f"{table}_kept", f"DELETE ON {table}", f"{table} are append-only"))
    return guards


def _postgresql_guards() -> list[str]:
    def guard(name: str, when: str, text: str, each: str = "FOR EACH STATEMENT") -> str:
        return f"CREATE TRIGGER {name} BEFORE {when} {each} EXECUTE FUNCTION ledger_refuse('{text}')"

    guards = [
        """
        CREATE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation'; END $$
        """,
        guard("holds_ended", "UPDATE ON holds", "an ended hold never changes", f"FOR EACH ROW WHEN ({_ENDED})"),
        guard("holds_snapshot", f"UPDATE OF {_SNAPSHOT} ON holds", "a hold never changes what it was made with"),
        guard("holds_kept", "DELETE OR TRUNCATE ON holds", "holds are never deleted"),
    ]
    guards.extend(
        guard(f"{table}_kept", f"UPDATE OR DELETE OR TRUNCATE ON {table}", f"{table} are append-only")
        for table in _APPEND_ONLY
    )
    return guards

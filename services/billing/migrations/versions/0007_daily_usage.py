"""Daily sums of usage, kept by the database itself in the transaction that ends a hold.

Triggers keep them, and not the service, so that replicas of the version before this one, which serve on during an
upgrade, add to them as well. On PostgreSQL one statement adds everything that a batch has changed.
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"

_KEY = "account_id, day, key_id, model"
_SUMS = ("requests", "charged_requests", "credits", "prompt_tokens", "completion_tokens")
_DAY = "reserved_ms / 86400000"

_TABLES = [
    # What ended requests add up to, by the day (UTC, in days since 1970) on which they were made. No check keeps a sum
    # from being wrong: a charge must not fail because of statistics. The audit compares them with the holds.
    f"""
    CREATE TABLE daily_usage (
        account_id TEXT {{collation}} NOT NULL,
        day BIGINT NOT NULL,
        key_id TEXT NOT NULL,
        model TEXT NOT NULL,
        {", ".join(f"{name} BIGINT NOT NULL" for name in _SUMS)},
        PRIMARY KEY ({_KEY})
    ) {{storage}}
    """,
    # While there is a row, only holds before this place in (account_id, reserved_ms) are in the sums: those after it
    # had ended before there were sums, and the service adds them slice by slice (services/billing/usage_backfill.py).
    """
    CREATE TABLE daily_usage_backfill (
        account_id TEXT {collation} NOT NULL,
        reserved_ms BIGINT NOT NULL
    )
    """,
    # Nothing has to be added to a new ledger.
    "INSERT INTO daily_usage_backfill SELECT '', 0 WHERE EXISTS (SELECT 1 FROM holds)",
]

_ADD_ON_CONFLICT = f"""
    ON CONFLICT ({_KEY}) DO UPDATE SET {", ".join(f"{name} = daily_usage.{name} + excluded.{name}" for name in _SUMS)}
"""


def _change(sign: str, row: str) -> tuple[str, ...]:
    """What a row of holds is in each of the sums; an open one is in none of them."""
    return (
        f"{sign} ({row}.state <> 'open')",
        f"{sign} ({row}.state = 'captured')",
        f"{sign} {row}.amount * ({row}.state = 'captured')",
        f"{sign} {row}.prompt_tokens * ({row}.state <> 'open')",
        f"{sign} {row}.completion_tokens * ({row}.state <> 'open')",
    )


def _sqlite_trigger(name: str, when: str, *, changes: tuple[str, ...]) -> str:
    return f"""
    CREATE TRIGGER {name} AFTER {when} AND NEW.account_id <> '' AND NOT EXISTS (
        SELECT 1 FROM daily_usage_backfill WHERE (NEW.account_id, NEW.reserved_ms) >= (account_id, reserved_ms)
    ) BEGIN
        INSERT INTO daily_usage ({_KEY}, {", ".join(_SUMS)})
        VALUES (NEW.account_id, NEW.{_DAY}, NEW.key_id, NEW.model, {", ".join(changes)})
        {_ADD_ON_CONFLICT};
    END
    """  # noqa: S608 - constants only


_MADE = _change("", "NEW")
_ENDED = tuple(f"{new} {old}" for new, old in zip(_MADE, _change("-", "OLD"), strict=True))
_SQLITE = [
    # A request that is reserved and settled in one transaction is an ended hold from the start.
    _sqlite_trigger("holds_usage_made", "INSERT ON holds WHEN NEW.state <> 'open'", changes=_MADE),
    _sqlite_trigger("holds_usage_ended", "UPDATE OF state ON holds WHEN NEW.state <> 'open'", changes=_ENDED),
]

_AGGREGATES = """
    sum(sign), sum(CASE WHEN state = 'captured' THEN sign ELSE 0 END),
    sum(CASE WHEN state = 'captured' THEN sign * amount ELSE 0 END),
    sum(sign * prompt_tokens), sum(sign * completion_tokens)
"""
_POSTGRESQL_FUNCTION = """
    CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        at_account text;
        at_ms bigint;
    BEGIN
        {guard}
        -- Shared until the commit: the backfill moves this place between such transactions only.
        SELECT account_id, reserved_ms INTO at_account, at_ms FROM daily_usage_backfill FOR SHARE;
        INSERT INTO daily_usage ({key}, {sums})
        SELECT account_id, {day}, key_id, model, {aggregates} FROM ({changes}) AS changes
        WHERE account_id <> '' AND state <> 'open'
            AND (at_account IS NULL OR (account_id, reserved_ms) < (at_account, at_ms))
        GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
        {add};
        RETURN NULL;
    END $$
"""
_COLUMNS = "account_id, reserved_ms, key_id, model, state, amount, prompt_tokens, completion_tokens"


def _postgresql_function(name: str, changes: str, guard: str = "") -> str:
    words = {"key": _KEY, "sums": ", ".join(_SUMS), "day": _DAY, "aggregates": _AGGREGATES, "add": _ADD_ON_CONFLICT}
    return _POSTGRESQL_FUNCTION.format(name=name, changes=changes, guard=guard, **words)


_POSTGRESQL = [
    _postgresql_function(
        "daily_usage_ended",
        f"SELECT 1 AS sign, {_COLUMNS} FROM new_holds UNION ALL SELECT -1, {_COLUMNS} FROM old_holds",  # noqa: S608 - constants only
        # Most transactions of an idle service end no hold.
        "PERFORM 1 FROM new_holds LIMIT 1; IF NOT FOUND THEN RETURN NULL; END IF;",
    ),
    _postgresql_function(
        "daily_usage_made", "SELECT 1 AS sign, " + ", ".join(f"NEW.{name} AS {name}" for name in _COLUMNS.split(", "))
    ),
    """
    CREATE TRIGGER holds_usage_ended AFTER UPDATE ON holds REFERENCING OLD TABLE AS old_holds NEW TABLE AS new_holds
    FOR EACH STATEMENT EXECUTE FUNCTION daily_usage_ended()
    """,
    # Row by row, because almost no hold has ended when it is made, and the condition costs nothing for the others.
    """
    CREATE TRIGGER holds_usage_made AFTER INSERT ON holds FOR EACH ROW
    WHEN (NEW.state <> 'open' AND NEW.account_id <> '') EXECUTE FUNCTION daily_usage_made()
    """,
]


def upgrade() -> None:
    """Creates the sums and what keeps them; fast for a ledger of any size."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    words = {"collation": "", "storage": "WITHOUT ROWID"}
    if not sqlite:
        # As in 0001: compared as bytes, and room for new versions of a row beside the old one.
        words = {"collation": 'COLLATE "C"', "storage": "WITH (fillfactor = 50)"}
        # Until the sums are kept, no hold ends.
        op.execute("LOCK TABLE holds IN SHARE ROW EXCLUSIVE MODE")
    for statement in (*(table.format_map(words) for table in _TABLES), *(_SQLITE if sqlite else _POSTGRESQL)):
        op.execute(statement)

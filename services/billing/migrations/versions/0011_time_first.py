"""What finds an account's rows on SQLite begins with time, so that a charge writes few pages however old a ledger is.

An index that begins with the account has a page for each account that is at work, and each charge writes other ones.
One that begins with time has all that is new in a few pages. Its readers look at one time after the other, through
views. PostgreSQL keeps its indexes: there a large ledger costs no more (docs/decisions/0046).
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0009"

_KEY = "account_id, day, key_id, model"
_SUMS = ("requests", "charged_requests", "credits", "prompt_tokens", "completion_tokens")
_DAY = "reserved_ms / 86400000"
_ADD_ON_CONFLICT = f"""
    ON CONFLICT ({_KEY}) DO UPDATE SET {", ".join(f"{name} = daily_usage.{name} + excluded.{name}" for name in _SUMS)}
"""
_ENTRIES = "entry_id, reference, kind, account_id, pocket, amount, at_ms"
_HOLDS = (
    "request_id, account_id, key_id, model, quantity, unit_price, amount, reserved_ms, state, outcome, prompt_tokens, "
    "completion_tokens, runner_id, settled_ms, key_monthly_cap, idempotency_key, capped_keys"
)
_USAGE = f"{_KEY}, {', '.join(_SUMS)}"


def _change(sign: str, row: str) -> tuple[str, ...]:
    """What a row of holds is in each of the sums; an open one is in none of them."""
    return (
        f"{sign} ({row}.state <> 'open')",
        f"{sign} ({row}.state = 'captured')",
        f"{sign} {row}.amount * ({row}.state = 'captured')",
        f"{sign} {row}.prompt_tokens * ({row}.state <> 'open')",
        f"{sign} {row}.completion_tokens * ({row}.state <> 'open')",
    )


def _trigger(name: str, when: str, changes: tuple[str, ...]) -> str:
    return f"""
    CREATE TRIGGER {name} AFTER {when} AND NEW.account_id <> '' BEGIN
        INSERT INTO daily_usage ({_USAGE})
        VALUES (NEW.account_id, NEW.{_DAY}, NEW.key_id, NEW.model, {", ".join(changes)})
        {_ADD_ON_CONFLICT};
    END
    """  # noqa: S608 - constants only


_MADE = _change("", "NEW")
_ENDED = tuple(f"{new} {old}" for new, old in zip(_MADE, _change("-", "OLD"), strict=True))
_SQLITE = [
    "DROP TRIGGER holds_usage_made",
    "DROP TRIGGER holds_usage_ended",
    # Each account's sums of a day, beside those of the others.
    f"""
    CREATE TABLE daily_usage_0011 (
        account_id TEXT NOT NULL,
        day BIGINT NOT NULL,
        key_id TEXT NOT NULL,
        model TEXT NOT NULL,
        {", ".join(f"{name} BIGINT NOT NULL" for name in _SUMS)},
        PRIMARY KEY (day, account_id, key_id, model)
    ) WITHOUT ROWID
    """,
    f"INSERT INTO daily_usage_0011 ({_USAGE}) SELECT {_USAGE} FROM daily_usage ORDER BY day, account_id, key_id, model",  # noqa: S608 - constants only
    "DROP TABLE daily_usage",
    "ALTER TABLE daily_usage_0011 RENAME TO daily_usage",
    # Nobody works on a file of SQLite while it is migrated, so that what is not in the sums yet is added at once, and
    # the triggers need not ask for it.
    f"""
    INSERT INTO daily_usage ({_USAGE})
    SELECT account_id, {_DAY}, key_id, model, count(*), sum(state = 'captured'),
        sum(amount * (state = 'captured')), sum(prompt_tokens), sum(completion_tokens)
    FROM holds WHERE (account_id, reserved_ms) >= (SELECT account_id, reserved_ms FROM daily_usage_backfill)
        AND state <> 'open' AND account_id <> ''
    GROUP BY 1, 2, 3, 4
    {_ADD_ON_CONFLICT}
    """,  # noqa: S608 - constants only
    "DELETE FROM daily_usage_backfill",
    _trigger("holds_usage_made", "INSERT ON holds WHEN NEW.state <> 'open'", _MADE),
    _trigger("holds_usage_ended", "UPDATE OF state ON holds WHEN NEW.state <> 'open'", _ENDED),
    "DROP INDEX holds_by_account",
    f"CREATE INDEX holds_by_day ON holds ({_DAY}, account_id, reserved_ms)",
    # A segment has 16,384 entries. Unlike days, segments have the entries in their order, whatever the clock did.
    "DROP INDEX entries_by_account",
    "CREATE INDEX entries_by_segment ON entries (entry_id >> 14, account_id)",
    # The rows of accounts, for those who ask for them by the account: through the indexes, one time after the other.
    f"""
    CREATE VIEW account_entries AS
    WITH RECURSIVE segments (segment) AS (
        SELECT 0 UNION ALL
        SELECT segment + 1 FROM segments WHERE segment < (SELECT max(entry_id) >> 14 FROM entries)
    )
    SELECT {_ENTRIES} FROM segments CROSS JOIN entries WHERE entry_id >> 14 = segment
    """,  # noqa: S608 - constants only
    f"""
    CREATE VIEW account_holds AS
    WITH RECURSIVE days (day) AS (
        SELECT min({_DAY}) FROM holds UNION ALL
        SELECT (SELECT {_DAY} FROM holds WHERE {_DAY} > day ORDER BY {_DAY} LIMIT 1) FROM days WHERE day IS NOT NULL
    )
    SELECT {_HOLDS} FROM days CROSS JOIN holds WHERE {_DAY} = day
    """,  # noqa: S608 - constants only
    f"""
    CREATE VIEW account_usage AS
    WITH RECURSIVE days (day) AS (
        SELECT min(day) FROM daily_usage UNION ALL
        SELECT (SELECT min(later.day) FROM daily_usage later WHERE later.day > days.day) FROM days
        WHERE day IS NOT NULL
    )
    SELECT {", ".join(f"daily_usage.{name}" for name in _USAGE.split(", "))}
    FROM days CROSS JOIN daily_usage WHERE daily_usage.day = days.day
    """,  # noqa: S608 - constants only
]
# Here an index that begins with the account serves them.
_POSTGRESQL = [
    f"CREATE VIEW account_entries AS SELECT {_ENTRIES} FROM entries",  # noqa: S608 - constants only
    f"CREATE VIEW account_holds AS SELECT {_HOLDS} FROM holds",  # noqa: S608 - constants only
    f"CREATE VIEW account_usage AS SELECT {_USAGE} FROM daily_usage",  # noqa: S608 - constants only
]


def upgrade() -> None:
    """Replaces the indexes on SQLite, which reads the ledger once, and creates the views."""
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)

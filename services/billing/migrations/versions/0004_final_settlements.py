"""An expired hold takes the outcome of the settlement that comes after all, a free one too."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

# An ended hold stays as it is, except that a completed one may be refunded, and that an expired one may end otherwise.
_ENDED = (
    "(OLD.state = 'captured' AND NOT (OLD.outcome = 'completed' AND NEW.state = 'released' AND NEW.outcome = 'failed'))"
    " OR (OLD.state = 'released'"
    " AND NOT (OLD.outcome = 'expired' AND NEW.outcome <> 'expired' AND NEW.state <> 'open'))"
)

_SQLITE = [
    "DROP TRIGGER holds_ended",
    f"""
    CREATE TRIGGER holds_ended BEFORE UPDATE ON holds WHEN {_ENDED}
    BEGIN SELECT RAISE(ABORT, 'an ended hold never changes'); END
    """,
]
_POSTGRESQL = [
    "DROP TRIGGER holds_ended ON holds",
    f"""
    CREATE TRIGGER holds_ended BEFORE UPDATE ON holds FOR EACH ROW WHEN ({_ENDED})
    EXECUTE FUNCTION ledger_refuse('an ended hold never changes')
    """,
]


def upgrade() -> None:
    """Replaces the guard of ended holds."""
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)

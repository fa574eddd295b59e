"""Caps that several keys share: a hold names the keys under whose ids its price counts."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

_SNAPSHOT = (
    "request_id, account_id, key_id, model, quantity, unit_price, amount, reserved_ms, key_monthly_cap, "
    "idempotency_key, capped_keys"
)
_GUARDS = {
    "sqlite": f"""
        CREATE TRIGGER holds_snapshot BEFORE UPDATE OF {_SNAPSHOT} ON holds
        BEGIN SELECT RAISE(ABORT, 'a hold never changes what it was made with'); END
    """,
    "postgresql": f"""
        CREATE TRIGGER holds_snapshot BEFORE UPDATE OF {_SNAPSHOT} ON holds
        FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse('a hold never changes what it was made with')
    """,
}


def upgrade() -> None:
    """Adds the column and extends its guard. Null means the request's own key, as for every hold so far."""
    dialect = op.get_bind().dialect.name
    op.execute("DROP TRIGGER holds_snapshot" if dialect == "sqlite" else "DROP TRIGGER holds_snapshot ON holds")
    op.execute("ALTER TABLE holds ADD COLUMN capped_keys TEXT")
    op.execute(_GUARDS[dialect])

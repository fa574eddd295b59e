"""Accounts that their owners have closed."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Adds the columns: no account is closed yet. Times are milliseconds since the Unix epoch; 0 means never."""
    for table in ("accounts", "api_keys"):
        op.add_column(table, sa.Column("closed_at_ms", sa.BigInteger, nullable=False, server_default="0"))
    # Operators ask for the closed ones, which are few.
    op.create_index("ix_accounts_closed_at_ms", "accounts", ["closed_at_ms"])

"""Scopes, monthly caps and rotation of keys, and the numbers by which replicas notice changes."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds the columns with what they mean for the keys that exist: everything allowed, no cap, never rotated."""
    for column in (
        # Names divided by spaces; empty means what the contract says of an empty list.
        sa.Column("models", sa.Text, nullable=False, server_default=""),
        sa.Column("endpoints", sa.String(200), nullable=False, server_default=""),
        sa.Column("monthly_credit_cap", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("replaced_by", sa.String(64), nullable=False, server_default=""),
        # The number of the change that made the row what it is; see services/auth/changes.py.
        sa.Column("change_number", sa.BigInteger, nullable=False, server_default="0"),
    ):
        op.add_column("api_keys", column)
    op.create_index("ix_api_keys_change_number", "api_keys", ["change_number"])
    changes = op.create_table(
        "api_key_changes",
        # There is one row, so that every change takes its turn.
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("last", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(changes, [{"id": 1, "last": 0}])

"""Where keys come from, and how far they have been forgotten."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds the columns with what they mean for the keys that exist: who made them is unknown, and each counts alone."""
    for column in (
        sa.Column("created_by", sa.String(64), nullable=False, server_default=""),
        # The first key of the rotations that led to this one; empty if there was none.
        sa.Column("origin", sa.String(64), nullable=False, server_default=""),
        # See services/auth/store/tables.py.
        sa.Column("ancestors", sa.Text, nullable=False, server_default=""),
    ):
        op.add_column("api_keys", column)
    op.create_index("ix_api_keys_created", "api_keys", ["created_at_ms", "id"])
    # The highest change number of a key that was deleted.
    op.add_column("api_key_changes", sa.Column("forgotten", sa.BigInteger, nullable=False, server_default="0"))

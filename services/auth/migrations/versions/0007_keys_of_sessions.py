"""Keys that belong to sessions of the console."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Adds the columns: no session has a key yet, and no key belongs to a session."""
    # With the session's token, it makes the session's key. Neither alone does.
    op.add_column("sessions", sa.Column("key_salt", sa.LargeBinary(32), nullable=False, server_default=""))
    # No foreign key: the session is forgotten when it ends, and its key is kept for a while like any other.
    op.add_column("api_keys", sa.Column("session_id", sa.String(64), nullable=False, server_default=""))
    op.create_index("ix_api_keys_session_id", "api_keys", ["session_id"])

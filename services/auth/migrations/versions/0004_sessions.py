"""Sessions of the console."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Creates the table. Times are milliseconds since the Unix epoch."""
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(64), primary_key=True),
        # SHA-256 of the token; the token itself is nowhere.
        sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("account_id", sa.String(64), sa.ForeignKey("accounts.id"), nullable=False, index=True),
        # No foreign key: a key that ended is forgotten one day, and the session that it began has ended with it.
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("label", sa.String(200), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("confirmed_at_ms", sa.BigInteger, nullable=False),
        sa.Column("last_used_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False, index=True),
    )

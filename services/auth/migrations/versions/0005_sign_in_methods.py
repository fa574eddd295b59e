"""Passkeys, the challenges that they answer, and recovery codes."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Creates the tables. Times are milliseconds since the Unix epoch."""
    op.create_table(
        "passkeys",
        # No foreign key, as of sessions: a key that ended is forgotten one day.
        sa.Column("key_id", sa.String(64), primary_key=True),
        sa.Column("account_id", sa.String(64), sa.ForeignKey("accounts.id"), nullable=False, index=True),
        sa.Column("credential_id", sa.LargeBinary(1023), nullable=False, unique=True),
        # The attested credential data of WebAuthn: the model of the authenticator, the credential's id, its public key.
        sa.Column("credential", sa.LargeBinary, nullable=False),
        sa.Column("counter", sa.BigInteger, nullable=False),
        sa.Column("synced", sa.Boolean, nullable=False),
    )
    op.create_table(
        "challenges",
        sa.Column("challenge", sa.LargeBinary(32), primary_key=True),
        sa.Column("purpose", sa.String(20), nullable=False),
        # SHA-256 of what only the browser has that asked.
        sa.Column("browser_digest", sa.LargeBinary(32), nullable=False, index=True),
        sa.Column("relying_party_id", sa.String(253), nullable=False),
        sa.Column("origin", sa.String(300), nullable=False),
        # Whose credential is to be made or shown; empty for any.
        sa.Column("account_id", sa.String(64), nullable=False),
        # The name of an account that is to be opened.
        sa.Column("account_name", sa.String(200), nullable=False),
        # The key of the session in which this is done; empty if there is none.
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False, index=True),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("account_id", sa.String(64), sa.ForeignKey("accounts.id"), primary_key=True),
        # SHA-256 of the code; the code itself is nowhere.
        sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )

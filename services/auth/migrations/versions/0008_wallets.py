"""Ethereum wallets that sign in, and what their challenges need."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Creates the table, and adds the columns: no challenge is a wallet's yet."""
    op.create_table(
        "wallets",
        # No foreign key, as of passkeys: a key that ended is forgotten one day.
        sa.Column("key_id", sa.String(64), primary_key=True),
        sa.Column("account_id", sa.String(64), sa.ForeignKey("accounts.id"), nullable=False, index=True),
        # In lower case, with 0x. A wallet signs in to one account.
        sa.Column("address", sa.String(42), nullable=False, unique=True),
    )
    # The wallet that is to sign; empty for passkeys.
    op.add_column("challenges", sa.Column("wallet_address", sa.String(42), nullable=False, server_default=""))
    op.add_column("challenges", sa.Column("chain_id", sa.BigInteger, nullable=False, server_default="0"))

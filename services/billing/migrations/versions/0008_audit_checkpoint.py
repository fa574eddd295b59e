"""How far the ledger is proven, so that an audit reads what is new; and what it finds grants and deposits by."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"

_STATEMENTS = [
    # Every entry up to `entry_id` is proven: so many entries, which sum to `total`. All entries that the last audit of
    # the whole ledger has read sum to `whole_total`. The rest are credits of the proven entries.
    """
    CREATE TABLE audit_checkpoint (
        entry_id BIGINT NOT NULL,
        entries BIGINT NOT NULL,
        total BIGINT NOT NULL,
        whole_total BIGINT NOT NULL,
        granted BIGINT NOT NULL,
        deposited BIGINT NOT NULL,
        revenue BIGINT NOT NULL
    )
    """,
    "INSERT INTO audit_checkpoint VALUES (0, 0, 0, 0, 0, 0, 0)",
    # What the proven entries of each account sum to.
    """
    CREATE TABLE audit_balances (
        account_id TEXT {collation} NOT NULL PRIMARY KEY,
        available BIGINT NOT NULL,
        held BIGINT NOT NULL
    ) {storage}
    """,
    # The proven movements of each hold that had not ended when they were proven, or does not agree with them.
    """
    CREATE TABLE audit_moves (
        request_id TEXT {collation} NOT NULL PRIMARY KEY,
        reserves BIGINT NOT NULL,
        captures BIGINT NOT NULL,
        releases BIGINT NOT NULL,
        refunds BIGINT NOT NULL
    ) {storage}
    """,
    # What was found wrong in proven entries: no later audit reads them again, except one of the whole ledger.
    "CREATE TABLE audit_findings (sentence TEXT {collation} NOT NULL PRIMARY KEY)",
    "CREATE INDEX grants_by_account ON grants (account_id)",
    # The audit finds a deposit by what its entries refer to.
    """
    CREATE INDEX deposits_by_reference ON deposits (
        (CAST(CAST(chain_id AS TEXT) || ':' || tx_hash || ':' || CAST(log_index AS TEXT) AS TEXT))
    )
    """,
]


def upgrade() -> None:
    """Creates the tables of the audit. The first audit proves what is there."""
    words = {"collation": "", "storage": "WITHOUT ROWID"}
    if op.get_bind().dialect.name == "postgresql":
        # As in 0001: compared as bytes, and room for new versions of a row beside the old one.
        words = {"collation": 'COLLATE "C"', "storage": "WITH (fillfactor = 50)"}
    for statement in _STATEMENTS:
        op.execute(statement.format_map(words).replace(":", r"\:"))

"""Operators, the record of what they do, and suspended accounts."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

# What is recorded stays as it was recorded: the database itself refuses anything else.
_APPEND_ONLY = ("operator_actions", "operator_action_outcomes")


def upgrade() -> None:
    """Creates the tables and columns. Times are milliseconds since the Unix epoch; 0 means never."""
    op.create_table(
        "operators",
        sa.Column("id", sa.String(64), primary_key=True),
        # Unique for ever, so that a name in the record stands for one person.
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        sa.Column("hint", sa.String(64), nullable=False),
        # SHA-256 of the operator's key; the key itself is nowhere.
        sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("removed_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "operator_sessions",
        sa.Column("id", sa.String(64), primary_key=True),
        # SHA-256 of the token; the token itself is nowhere.
        sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("operator_id", sa.String(64), sa.ForeignKey("operators.id"), nullable=False, index=True),
        sa.Column("label", sa.String(200), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("confirmed_at_ms", sa.BigInteger, nullable=False),
        sa.Column("last_used_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False, index=True),
    )
    op.create_table(
        "operator_actions",
        # SQLite counts only a column of this very type.
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(64), nullable=False, unique=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        # Empty for a management command.
        sa.Column("operator_id", sa.String(64), nullable=False),
        sa.Column("operator_name", sa.String(200), nullable=False, index=True),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False, index=True),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_table(
        "operator_action_outcomes",
        sa.Column("action_id", sa.String(64), sa.ForeignKey("operator_actions.id"), primary_key=True),
        sa.Column("ended_at_ms", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.String(64), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
    )
    for table in ("accounts", "api_keys"):
        op.add_column(table, sa.Column("suspended_at_ms", sa.BigInteger, nullable=False, server_default="0"))
    for statement in _sqlite_guards() if op.get_bind().dialect.name == "sqlite" else _postgresql_guards():
        op.execute(statement)


def _sqlite_guards() -> list[str]:
    return [
        f"CREATE TRIGGER {table}_{event.lower()} BEFORE {event} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        for table in _APPEND_ONLY
        for event in ("UPDATE", "DELETE")
    ]


def _postgresql_guards() -> list[str]:
    return [
        """
        CREATE FUNCTION record_refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'the record is append-only' USING ERRCODE = 'integrity_constraint_violation'; END $$
        """,
        *(
            f"CREATE TRIGGER {table}_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION record_refuse()"
            for table in _APPEND_ONLY
        ),
    ]

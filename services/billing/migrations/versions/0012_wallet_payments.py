"""Payments of wallets for single requests: authorizations that were claimed, and what became of them."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"

_STATEMENTS = [
    # The key is what makes an authorization the same for the token's contract. A signature is here only inside the
    # transaction that shows it to everybody, until that is final.
    """
    CREATE TABLE wallet_payments (
        chain_id BIGINT NOT NULL CHECK (chain_id > 0),
        token {id},
        payer {id},
        nonce {id},
        pay_to {id},
        atomic BIGINT NOT NULL CHECK (atomic > 0),
        valid_before BIGINT NOT NULL,
        from_block BIGINT NOT NULL,
        request_id {id} UNIQUE,
        account_id {id} CHECK (account_id NOT LIKE 'system:%'),
        model TEXT NOT NULL,
        quantity BIGINT NOT NULL CHECK (quantity > 0),
        unit_price BIGINT NOT NULL CHECK (unit_price > 0),
        idempotency_key TEXT,
        claimed_ms BIGINT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('claimed', 'sent', 'settled', 'failed', 'released', 'covered')),
        relayer TEXT,
        relayer_nonce BIGINT,
        raw_transaction TEXT,
        tx_hash TEXT,
        log_index BIGINT,
        PRIMARY KEY (chain_id, token, payer, nonce),
        CHECK (state NOT IN ('sent', 'settled') OR tx_hash IS NOT NULL),
        CHECK ((state = 'settled') = (log_index IS NOT NULL))
    )
    """,
    # What a client repeats under one name is paid for once.
    """
    CREATE UNIQUE INDEX wallet_payments_once ON wallet_payments (payer, idempotency_key)
    WHERE idempotency_key IS NOT NULL AND state IN ('claimed', 'sent', 'settled', 'covered')
    """,
    # No two transactions of a relayer take each other's place.
    "CREATE UNIQUE INDEX wallet_payments_by_relayer ON wallet_payments (chain_id, relayer, relayer_nonce)",
    "CREATE UNIQUE INDEX wallet_payments_by_transfer ON wallet_payments (chain_id, tx_hash, log_index)",
    """
    CREATE INDEX wallet_payments_in_progress ON wallet_payments (state, request_id)
    WHERE state IN ('claimed', 'sent') OR raw_transaction IS NOT NULL
    """,
    """
    CREATE INDEX wallet_payments_promised ON wallet_payments (payer, atomic) WHERE state IN ('claimed', 'sent')
    """,
    "CREATE INDEX wallet_payments_by_account ON wallet_payments (account_id)",
]


def upgrade() -> None:
    """Creates the table with its indexes."""
    words = {"id": "TEXT NOT NULL"}
    if op.get_bind().dialect.name == "postgresql":
        # As in 0001: compared as bytes.
        words = {"id": 'TEXT COLLATE "C" NOT NULL'}
    for statement in _STATEMENTS:
        op.execute(statement.format_map(words))

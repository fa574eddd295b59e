"""What must hold of deposits, as queries that find no row in a sound ledger; the audit runs them with its own.

They use the audit's view of movements.
"""

from __future__ import annotations

from services.billing.ledger.deposits import CREDIT_ATOMIC

# The views that the checks below need beside the audit's own. They are made whole, because SQLite can join by a column
# that is computed only then.
DEPOSIT_VIEWS = """
    deposit_movements AS MATERIALIZED (
        SELECT * FROM movements WHERE kind = 'deposit'
    ), deposit_rows AS MATERIALIZED (
        SELECT chain_id || ':' || tx_hash || ':' || log_index AS reference, account_id, credits FROM deposits
    ), deposited AS (
        SELECT account_id, sum(atomic) AS atomic, sum(credits) AS credits FROM deposits GROUP BY account_id
    )
"""
# Queries, and the sentence for each of their rows.
DEPOSIT_CHECKS = [
    (
        """
        SELECT d.reference, d.account_id, d.credits, coalesce(m.account_id, 'nobody') AS credited,
            coalesce(m.amount, 0) AS amount
        FROM deposit_rows d LEFT JOIN deposit_movements m ON m.reference = d.reference
        WHERE d.credits <> coalesce(m.amount, 0) OR m.account_id <> d.account_id
        """,
        "deposit {reference} gives {credits} to {account_id}, but its entries give {amount} to {credited}",
    ),
    (
        """
        SELECT m.reference FROM deposit_movements m LEFT JOIN deposit_rows d ON d.reference = m.reference
        WHERE d.reference IS NULL
        """,
        "the deposit of {reference} belongs to no deposit",
    ),
    (
        f"""
        SELECT account_id, atomic, credits FROM deposited
        WHERE atomic < credits * {CREDIT_ATOMIC} OR atomic >= (credits + 1) * {CREDIT_ATOMIC}
        """,  # noqa: S608 - constants only
        "account {account_id} has deposited {atomic}, but was credited {credits}",
    ),
    (
        """
        SELECT d.account_id, d.atomic, coalesce(t.atomic, 0) AS total
        FROM deposited d LEFT JOIN deposit_totals t ON t.account_id = d.account_id
        WHERE d.atomic <> coalesce(t.atomic, 0)
        """,
        "account {account_id} has deposited {atomic}, but its total is {total}",
    ),
    (
        """
        SELECT t.account_id, t.atomic FROM deposit_totals t LEFT JOIN deposited d ON d.account_id = t.account_id
        WHERE d.account_id IS NULL
        """,
        "account {account_id} has a total of {atomic}, but no deposits",
    ),
    (
        "SELECT reference, count(*) AS times FROM deposit_rows GROUP BY reference HAVING count(*) > 1",
        "deposit {reference} is recorded {times} times",
    ),
    (
        """
        SELECT d.tx_hash, d.account_id, coalesce(a.account_id, 'nobody') AS owner
        FROM deposits d LEFT JOIN deposit_addresses a ON a.chain_id = d.chain_id AND a.address = d.address
        WHERE a.account_id IS NULL OR a.account_id <> d.account_id
        """,
        "a deposit of {tx_hash} was credited to {account_id}, but its address belongs to {owner}",
    ),
]

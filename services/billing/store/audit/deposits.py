"""Checks what accounts have deposited: against what they were credited or paid out, their totals and addresses.

An audit of what is new does it for the accounts that deposits of a slice have credited. A deposit of less than a credit
has no entries. It is read with the next one of its account, or by an audit of the whole ledger.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from services.billing.ledger.deposits import CREDIT_ATOMIC
from services.billing.store.audit.check import Check, run_checks

# What the entries of a deposit refer to. It is spelled as in the index that finds a deposit by it; without the outer
# cast it would have no type on SQLite, which then does not use the index.
REFERENCE = (
    "CAST(CAST({table}.chain_id AS TEXT) || ':' || {table}.tx_hash || ':' || CAST({table}.log_index AS TEXT) AS TEXT)"
)

_VIEWS = f"""
    WITH own_deposits AS (
        SELECT {REFERENCE.format(table="deposits")} AS reference,
            chain_id, tx_hash, log_index, token, address, account_id, atomic, credits
        FROM deposits WHERE {{range}}
    ), deposited AS (
        SELECT account_id, sum(atomic) AS atomic, sum(credits) AS credits FROM own_deposits GROUP BY account_id
    ), own_totals AS (
        SELECT account_id, atomic FROM deposit_totals WHERE {{range}}
    ), own_sweeps AS (
        SELECT chain_id, tx_hash, token, address, account_id, atomic FROM sweeps WHERE {{range}}
    ), own_payouts AS (
        SELECT payout_id, account_id, credits, atomic FROM payouts WHERE {{range}}
    ), own_payments AS (
        SELECT request_id, chain_id, tx_hash, log_index, account_id, atomic FROM wallet_payments
        WHERE {{range}} AND state = 'settled'
    )
"""  # noqa: S608 - constants only
_CHECKS = [
    Check(
        f"""
        SELECT account_id, atomic, credits FROM deposited
        WHERE atomic < credits * {CREDIT_ATOMIC} OR atomic >= (credits + 1) * {CREDIT_ATOMIC}
        """,  # noqa: S608 - constants only
        lambda row: f"account {row.account_id} has deposited {row.atomic}, but was credited {row.credits}",
    ),
    Check(
        """
        SELECT d.account_id, d.atomic, coalesce(t.atomic, 0) AS total
        FROM deposited d LEFT JOIN own_totals t ON t.account_id = d.account_id
        WHERE d.atomic <> coalesce(t.atomic, 0)
        """,
        lambda row: f"account {row.account_id} has deposited {row.atomic}, but its total is {row.total}",
    ),
    Check(
        """
        SELECT t.account_id, t.atomic FROM own_totals t LEFT JOIN deposited d ON d.account_id = t.account_id
        WHERE d.account_id IS NULL
        """,
        lambda row: f"account {row.account_id} has a total of {row.atomic}, but no deposits",
    ),
    Check(
        "SELECT reference, count(*) AS times FROM own_deposits GROUP BY reference HAVING count(*) > 1",
        lambda row: f"deposit {row.reference} is recorded {row.times} times",
    ),
    Check(
        """
        SELECT d.tx_hash, d.account_id, coalesce(a.account_id, p.account_id, 'nobody') AS owner
        FROM own_deposits d LEFT JOIN deposit_addresses a ON a.chain_id = d.chain_id AND a.address = d.address
            LEFT JOIN own_payments p
                ON p.chain_id = d.chain_id AND p.tx_hash = d.tx_hash AND p.log_index = d.log_index
        WHERE coalesce(a.account_id, p.account_id, '') <> d.account_id
        """,
        lambda row: (
            f"a deposit of {row.tx_hash} was credited to {row.account_id}, but its address belongs to {row.owner}"
        ),
    ),
    Check(
        """
        SELECT s.address, s.atomic, coalesce(d.atomic, 0) AS deposited FROM (
            SELECT chain_id, token, address, sum(atomic) AS atomic FROM own_sweeps GROUP BY chain_id, token, address
        ) s LEFT JOIN (
            SELECT chain_id, token, address, sum(atomic) AS atomic FROM own_deposits GROUP BY chain_id, token, address
        ) d ON d.chain_id = s.chain_id AND d.token = s.token AND d.address = s.address
        WHERE s.atomic > coalesce(d.atomic, 0)
        """,
        lambda row: f"{row.atomic} was swept from address {row.address}, but {row.deposited} was deposited there",
    ),
    Check(
        """
        SELECT s.tx_hash, s.account_id, coalesce(a.account_id, 'nobody') AS owner
        FROM own_sweeps s LEFT JOIN deposit_addresses a ON a.chain_id = s.chain_id AND a.address = s.address
        WHERE a.account_id IS NULL OR a.account_id <> s.account_id
        """,
        lambda row: f"a sweep of {row.tx_hash} is one of {row.account_id}, but its address belongs to {row.owner}",
    ),
    Check(
        """
        SELECT p.request_id, p.atomic, coalesce(d.atomic, 0) AS deposited FROM own_payments p
        LEFT JOIN own_deposits d ON d.chain_id = p.chain_id AND d.tx_hash = p.tx_hash AND d.log_index = p.log_index
        WHERE p.atomic <> coalesce(d.atomic, 0)
        """,
        lambda row: f"a wallet has paid {row.atomic} for {row.request_id}, but deposited {row.deposited}",
    ),
    Check(
        f"SELECT payout_id, credits, atomic FROM own_payouts WHERE atomic <> credits * {CREDIT_ATOMIC}",  # noqa: S608 - constants only
        lambda row: f"{row.payout_id} takes {row.credits} credits for {row.atomic} smallest units",
    ),
    Check(
        """
        SELECT p.account_id, p.credits, coalesce(d.credits, 0) AS deposited FROM (
            SELECT account_id, sum(credits) AS credits FROM own_payouts GROUP BY account_id
        ) p LEFT JOIN deposited d ON d.account_id = p.account_id
        WHERE p.credits > coalesce(d.credits, 0)
        """,
        lambda row: f"{row.credits} were paid out of {row.account_id}, but {row.deposited} were deposited",
    ),
]

_CREDITED = sa.text("""
    SELECT DISTINCT account_id FROM entries
    WHERE entry_id > :after AND entry_id <= :upto AND kind = 'deposit' AND account_id NOT LIKE 'system:%'
""")
_AMONG = {
    "sqlite": "account_id IN (SELECT value FROM json_each(:accounts))",
    "postgresql": "account_id IN (SELECT json_array_elements_text(CAST(:accounts AS json)))",
}


def check_deposits(connection: sa.Connection, condition: str, parameters: Mapping[str, object]) -> list[str]:
    """Checks the deposits of the accounts that meet an SQL condition on `account_id`; returns what is wrong."""
    return run_checks(connection, _VIEWS, _CHECKS, {"range": condition}, parameters)


def check_credited(connection: sa.Connection, after: int, upto: int) -> list[str]:
    """Checks all deposits of the accounts that the entries of a slice credit for deposits."""
    credited: Sequence[str] = connection.execute(_CREDITED, {"after": after, "upto": upto}).scalars().all()
    if not credited:
        return []
    return check_deposits(connection, _AMONG[connection.dialect.name], {"accounts": json.dumps(list(credited))})


def disagreement(reference: str, account_id: str, given: int, amount: int, credited: str) -> str:
    """The sentence for a deposit whose entries are not those that it gives."""
    return f"deposit {reference} gives {given} to {account_id}, but its entries give {amount} to {credited}"

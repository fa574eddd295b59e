"""The SQL that reads grants, the same for both databases."""

from __future__ import annotations

import sqlalchemy as sa

from services.billing.ledger.grants import GrantedCredits

_NEWEST = sa.text(f"""
    SELECT {", ".join(GrantedCredits._fields)} FROM grants WHERE account_id = :account_id
    ORDER BY at_ms DESC, grant_id LIMIT :limit
""")  # noqa: S608 - constants only


def read_newest_grants(connection: sa.Connection, account_id: str, limit: int) -> list[GrantedCredits]:
    """Returns an account's newest grants, newest first."""
    rows = connection.execute(_NEWEST, {"account_id": account_id, "limit": limit})
    return [GrantedCredits(*row) for row in rows]

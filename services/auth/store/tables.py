"""The tables of accounts, keys, sessions and what else signs in, and how rows become values.

Lengths and constraints are the migrations' business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from services.auth.keys import ApiKey
from services.auth.lineage import Ancestor

_metadata = sa.MetaData()

# Columns that hold names divided by spaces.
_LISTS = ("models", "endpoints")

accounts = sa.Table(
    "accounts",
    _metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("name", sa.String),
    sa.Column("created_at_ms", sa.BigInteger),
    sa.Column("suspended_at_ms", sa.BigInteger),
    sa.Column("closed_at_ms", sa.BigInteger),
)
api_keys = sa.Table(
    "api_keys",
    _metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("account_id", sa.String),
    sa.Column("name", sa.String),
    sa.Column("hint", sa.String),
    sa.Column("digest", sa.LargeBinary),
    sa.Column("requests_per_minute", sa.BigInteger),
    sa.Column("created_at_ms", sa.BigInteger),
    sa.Column("expires_at_ms", sa.BigInteger),
    sa.Column("revoked_at_ms", sa.BigInteger),
    sa.Column("last_used_at_ms", sa.BigInteger),
    sa.Column("models", sa.Text),
    sa.Column("endpoints", sa.String),
    sa.Column("monthly_credit_cap", sa.BigInteger),
    sa.Column("replaced_by", sa.String),
    sa.Column("change_number", sa.BigInteger),
    sa.Column("created_by", sa.String),
    sa.Column("origin", sa.String),
    # The ancestors divided by spaces, the first one first; each is its id, cap and rate limit divided by colons.
    sa.Column("ancestors", sa.Text),
    sa.Column("session_id", sa.String),
    # Those of its account, so that replicas hear of them as of any other change of a key.
    sa.Column("suspended_at_ms", sa.BigInteger),
    sa.Column("closed_at_ms", sa.BigInteger),
)
# One row: the number of the last change of any key, and the highest one of a key that was deleted.
changes = sa.Table(
    "api_key_changes", _metadata, sa.Column("last", sa.BigInteger), sa.Column("forgotten", sa.BigInteger)
)


sessions = sa.Table(
    "sessions",
    _metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("digest", sa.LargeBinary),
    sa.Column("account_id", sa.String),
    sa.Column("key_id", sa.String),
    sa.Column("label", sa.String),
    sa.Column("created_at_ms", sa.BigInteger),
    sa.Column("confirmed_at_ms", sa.BigInteger),
    sa.Column("last_used_at_ms", sa.BigInteger),
    sa.Column("expires_at_ms", sa.BigInteger),
    sa.Column("key_salt", sa.LargeBinary),
)
passkeys = sa.Table(
    "passkeys",
    _metadata,
    sa.Column("key_id", sa.String, primary_key=True),
    sa.Column("account_id", sa.String),
    sa.Column("credential_id", sa.LargeBinary),
    sa.Column("credential", sa.LargeBinary),
    sa.Column("counter", sa.BigInteger),
    sa.Column("synced", sa.Boolean),
)
challenges = sa.Table(
    "challenges",
    _metadata,
    sa.Column("challenge", sa.LargeBinary, primary_key=True),
    sa.Column("purpose", sa.String),
    sa.Column("browser_digest", sa.LargeBinary),
    sa.Column("relying_party_id", sa.String),
    sa.Column("origin", sa.String),
    sa.Column("account_id", sa.String),
    sa.Column("account_name", sa.String),
    sa.Column("key_id", sa.String),
    sa.Column("expires_at_ms", sa.BigInteger),
    sa.Column("wallet_address", sa.String),
    sa.Column("chain_id", sa.BigInteger),
)
wallets = sa.Table(
    "wallets",
    _metadata,
    sa.Column("key_id", sa.String, primary_key=True),
    sa.Column("account_id", sa.String),
    sa.Column("address", sa.String),
)
recovery_codes = sa.Table(
    "recovery_codes",
    _metadata,
    sa.Column("account_id", sa.String, primary_key=True),
    sa.Column("digest", sa.LargeBinary),
    sa.Column("key_id", sa.String),
    sa.Column("created_at_ms", sa.BigInteger),
)


# The columns of a key under names of their own, for rows that have columns of another table too.
JOINED_KEY = {column.name: column.label(f"key__{column.name}") for column in api_keys.columns}


def joined_key(row: sa.RowMapping) -> ApiKey | None:
    """Returns the key that is joined to a row; None if there is none."""
    key = {name: row[label.name] for name, label in JOINED_KEY.items()}
    return None if key["id"] is None else to_key(key)


def to_key(row: sa.RowMapping | Mapping[str, Any]) -> ApiKey:
    """Returns the key that a row of `api_keys` describes."""
    lists = {name: tuple(row[name].split()) for name in _LISTS}
    return ApiKey(**{**row, **lists, "ancestors": tuple(_ancestor(text) for text in row["ancestors"].split())})


def to_row(key: ApiKey) -> dict[str, Any]:
    """Returns the columns of a key."""
    lists = {name: " ".join(getattr(key, name)) for name in _LISTS}
    ancestors = " ".join(":".join(map(str, ancestor)) for ancestor in key.ancestors)
    return {**asdict(key), **lists, "ancestors": ancestors}


def _ancestor(text: str) -> Ancestor:
    key_id, cap, rate = text.split(":")
    return Ancestor(key_id, int(cap), int(rate))

"""What the database refuses by itself, whatever a program or a person asks of it."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError

from services.billing.ledger.holds import Outcome
from services.billing.store.columns import HOLD_COLUMNS
from services.billing.store.store import LedgerStore
from services.common.database.base import Database
from tests.integration.billing.operations_for_tests import assert_sound, commit, execute, expire, grant, reserve, settle

_HOLD = ", ".join(HOLD_COLUMNS[1:])
_ENTRY = "INSERT INTO entries (reference, kind, account_id, pocket, amount, at_ms) VALUES"


@pytest.fixture(autouse=True)
async def ledger(store: LedgerStore) -> None:
    """One hold of each kind."""
    await commit(store, grant(100), *(reserve(name) for name in ("open", "captured", "released", "expired")))
    await commit(store, settle("captured"), settle("released", Outcome.FAILED), expire("expired"))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET amount = 0",
        "UPDATE entries SET at_ms = 0 WHERE reference = 'open'",
        "DELETE FROM entries",
        "UPDATE grants SET credits = 1000",
        "DELETE FROM grants",
        "DELETE FROM holds",
        "UPDATE holds SET amount = 0, unit_price = 0 WHERE request_id = 'open'",
        "UPDATE holds SET account_id = 'other' WHERE request_id = 'open'",
        "UPDATE holds SET capped_keys = '[]' WHERE request_id = 'open'",
        "UPDATE holds SET state = 'released' WHERE request_id = 'captured'",
        "UPDATE holds SET prompt_tokens = 5 WHERE request_id = 'captured'",
        "UPDATE holds SET state = 'released', outcome = 'expired' WHERE request_id = 'captured'",
        "UPDATE holds SET state = 'open', settled_ms = NULL WHERE request_id = 'released'",
        "UPDATE holds SET state = 'captured' WHERE request_id = 'released'",
        "UPDATE holds SET state = 'open', settled_ms = NULL WHERE request_id = 'expired'",
        "UPDATE holds SET state = 'captured' WHERE request_id = 'open'",
        "UPDATE holds SET state = 'lost', settled_ms = 5 WHERE request_id = 'open'",
        f"INSERT INTO holds (request_id, {_HOLD}) SELECT 'open', {_HOLD} FROM holds WHERE request_id = 'open'",
        f"INSERT INTO holds (request_id, {_HOLD}) SELECT NULL, {_HOLD} FROM holds WHERE request_id = 'open'",
        "UPDATE balances SET available = -1",
        "UPDATE balances SET held = held - 11",
        "INSERT INTO balances (account_id, available, held) VALUES ('acct', 1, 1)",
        "INSERT INTO balances (account_id, available, held) VALUES ('system:grants', 1, 1)",
        "INSERT INTO grants (grant_id, account_id, credits, note, at_ms) VALUES ('grant', 'acct', 1, '', 1)",
        "INSERT INTO grants (grant_id, account_id, credits, note, at_ms) VALUES ('new', 'acct', 0, '', 1)",
        f"{_ENTRY} ('a', 'gift', 'acct', 'held', 1, 1)",
        f"{_ENTRY} ('a', 'grant', 'acct', 'secret', 1, 1)",
    ],
)
async def test_the_database_refuses(database: Database, store: LedgerStore, statement: str) -> None:
    with pytest.raises(IntegrityError):
        await execute(database, statement)
    await assert_sound(store)

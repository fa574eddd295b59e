"""A row that another process has inserted first makes a transaction begin again, and nothing else does."""

from __future__ import annotations

import asyncpg
import pytest

from services.common.database.transactions import RetryTransaction, retry_if_row_exists


def test_the_same_row_of_another_process_is_a_reason_to_begin_again() -> None:
    with pytest.raises(RetryTransaction) as caught, retry_if_row_exists():
        raise asyncpg.UniqueViolationError("duplicate key")
    assert isinstance(caught.value.__cause__, asyncpg.UniqueViolationError)


@pytest.mark.parametrize(
    "error",
    [asyncpg.ForeignKeyViolationError("no such row"), asyncpg.InterfaceError("closed"), ValueError("no"), OSError()],
)
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, retry_if_row_exists():
        raise error
    assert caught.value is error

"""What both kinds of database agree on about failing transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from services.common.errors import Code, MeshError

# How often one transaction is tried before its caller is told to come back later.
ATTEMPTS = 5


class RetryTransaction(Exception):  # noqa: N818 - it is an instruction
    """Raised inside a transaction whose decision another process has overtaken: undo it and run it again."""


# What PostgreSQL says of a row whose key another row has (unique_violation).
_UNIQUE_VIOLATION = "23505"


@contextmanager
def retry_if_row_exists() -> Iterator[None]:
    """Raises RetryTransaction if PostgreSQL finds that another process has inserted a row with the same key.

    The error is known by its code, so that a process that uses SQLite does without the driver of PostgreSQL.
    """
    try:
        yield
    except Exception as error:
        if getattr(error, "sqlstate", None) == _UNIQUE_VIOLATION:
            raise RetryTransaction from error
        raise


class RowLockedError(MeshError):
    """Another process holds a row that the transaction needs; the others it needs may be free."""


def row_locked() -> RowLockedError:
    """The error for a row that stays locked."""
    return RowLockedError(Code.UNAVAILABLE, "the database is held up; try again shortly", retry_after=1.0)


def unavailable() -> MeshError:
    """The error for a database that cannot be reached, is too busy, or cannot write."""
    return MeshError(Code.UNAVAILABLE, "the database does not answer; try again shortly", retry_after=1.0)

"""Reads the ledger's entries page by page: one account's statement, and the export of everything.

A page token says where the next page begins and what was true at the first one, so that pages fit together however
long their reader takes: entries never change, and an account's new ones come after its old ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from services.billing.ledger import refusals
from services.billing.ledger.identifiers import check_id
from services.billing.ledger.ledger import AVAILABLE, HELD, Balance, Entry

STATEMENT_PAGE, MAX_STATEMENT_PAGE = 100, 1_000
EXPORT_PAGE, MAX_EXPORT_PAGE = 1_000, 5_000


class NumberedEntry(NamedTuple):
    """An entry and its place in the order."""

    entry_id: int
    entry: Entry


class StatementLine(NamedTuple):
    """An entry of one account, and what the account owned after it."""

    numbered: NumberedEntry
    after: Balance


class EntryReader(Protocol):
    """Reads entries; `LedgerStore` is one."""

    async def newest_entries(self, account_id: str, limit: int) -> tuple[Balance, Sequence[NumberedEntry]]:
        """An account's balance and its newest entries, of one moment, newest first."""

    async def older_entries(self, account_id: str, before: int, limit: int) -> Sequence[NumberedEntry]:
        """An account's entries before one, newest first."""

    async def horizon(self) -> int:
        """The last entry now; every entry up to it is committed."""

    async def entries(self, account_id: str, after: int, horizon: int, limit: int) -> Sequence[NumberedEntry]:
        """The entries of an account (empty for all) after one and up to another, oldest first."""


class Entries:
    """Answers questions about entries. Every method raises MeshError."""

    def __init__(self, entries: EntryReader) -> None:
        self._entries = entries

    async def statement(self, account_id: str, size: int, token: str) -> tuple[list[StatementLine], str]:
        """Returns a page of one account's entries, newest first, and the token of the next page, empty at the end."""
        check_id("account_id", account_id)
        size = _page_size(size, STATEMENT_PAGE, MAX_STATEMENT_PAGE)
        if token:
            before, available, held = _numbers(token, 3)
            balance = Balance(available, held)
            found = await self._entries.older_entries(account_id, before, size + 1)
        else:
            balance, found = await self._entries.newest_entries(account_id, size + 1)
        lines = []
        for numbered in found[:size]:
            lines.append(StatementLine(numbered, balance))
            balance = _before(balance, numbered.entry)
        last = f"{found[size - 1].entry_id}.{balance.available}.{balance.held}" if len(found) > size else ""
        return lines, last

    async def export(self, account_id: str, size: int, token: str) -> tuple[Sequence[NumberedEntry], str]:
        """Returns a page of the export of an account (empty for all), oldest first, and the token of the next page."""
        if account_id:
            check_id("account_id", account_id)
        size = _page_size(size, EXPORT_PAGE, MAX_EXPORT_PAGE)
        after, horizon = _numbers(token, 2) if token else (0, await self._entries.horizon())
        found = await self._entries.entries(account_id, after, horizon, size + 1)
        return found[:size], f"{found[size - 1].entry_id}.{horizon}" if len(found) > size else ""


def _before(balance: Balance, entry: Entry) -> Balance:
    return Balance(
        balance.available - (entry.amount if entry.pocket == AVAILABLE else 0),
        balance.held - (entry.amount if entry.pocket == HELD else 0),
    )


def _page_size(asked: int, default: int, most: int) -> int:
    if asked > most:
        raise refusals.invalid("page_size", f"must be at most {most}")
    return asked or default


def _numbers(token: str, count: int) -> list[int]:
    """Reads a page token. Whoever forges one only misreads his own statement."""
    parts = token.split(".")
    # Nothing longer fits into a database's integer.
    if len(parts) != count or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
        raise refusals.invalid("page_token", "must come from an earlier response of this service")
    return [int(part) for part in parts]

"""Divides the accounts into ranges that an audit checks at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa

# Between these two are the ledger's own accounts, which have no balance.
_SYSTEM, _AFTER_SYSTEM = "system:", "system;"

_NTH_WITH_BALANCE = """
    SELECT account_id FROM balances WHERE account_id > :first AND {range} ORDER BY account_id LIMIT 1 OFFSET :between
"""
_NEXT_WITH_ENTRIES = "SELECT min(account_id) FROM account_entries WHERE account_id > :first AND {range}"
_COUNT = "SELECT count(*) FROM (SELECT 1 FROM account_entries WHERE {range} LIMIT :entries) AS entries_of_range"


class AccountRange(NamedTuple):
    """Accounts from one until before another; an empty end is none. A long one is its first account alone."""

    first: str
    end: str
    long: bool = False

    def condition(self, column: str = "account_id") -> str:
        """Returns SQL that is true for these accounts, with the parameters of `parameters`."""
        if self.long:
            # Beside this, an index can serve conditions on what comes after the account.
            return f"{column} = :first"
        return f"{column} >= :first" + (f" AND {column} < :end" if self.end else "")

    def parameters(self) -> dict[str, str | int]:
        """Returns what the condition refers to."""
        parameters: dict[str, str | int] = {"first": self.first}
        return parameters | ({"end": self.end} if self.end and not self.long else {})


class AccountRanges:
    """Ranges of accounts that have at most so many entries together, or are a single account that has more."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        # How many accounts the next range is tried with.
        self._accounts = 1

    def next(self, connection: sa.Connection, first: str) -> AccountRange:
        """Returns the range that begins with an account, as of the ids that exist; its end is empty if it is the last.

        Ids that have no balance, which are violations, may be in any range, as long as they are after its first.
        """
        if first == _SYSTEM:
            first = _AFTER_SYSTEM
        rest = AccountRange(first, _SYSTEM if first < _SYSTEM else "")
        while True:
            end = _first(connection, _NTH_WITH_BALANCE, rest, between=self._accounts - 1)
            found = AccountRange(first, end or rest.end)
            entries = self._count(connection, found)
            if entries <= self._entries:
                if entries * 2 <= self._entries:
                    self._accounts *= 2
                return found
            if self._accounts == 1:
                break
            self._accounts //= 2
        # Nothing is between its id and this end.
        alone = AccountRange(first, f"{first}\x01", long=True)
        if self._count(connection, alone) > self._entries:
            return alone
        # Entries without a balance are in the way.
        return AccountRange(first, _first(connection, _NEXT_WITH_ENTRIES, rest) or rest.end)

    def _count(self, connection: sa.Connection, accounts: AccountRange) -> int:
        """Returns how many entries they have, at most one more than a range may have."""
        return int(_first(connection, _COUNT, accounts, entries=self._entries + 1))


def _first(connection: sa.Connection, query: str, accounts: AccountRange, **more: int) -> Any:
    """Returns the first value that a query finds for some accounts."""
    statement = sa.text(query.format(range=accounts.condition()))
    return connection.execute(statement, accounts.parameters() | more).scalar()

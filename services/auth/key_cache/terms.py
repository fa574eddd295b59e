"""What keys may do: most keys of a service have the same terms, so each is kept once."""

from __future__ import annotations

from array import array
from typing import NamedTuple

from services.auth.lineage import Limit


class Terms(NamedTuple):
    """The rights and limits of a credential."""

    requests_per_minute: int
    models: tuple[str, ...]
    endpoints: tuple[str, ...]
    monthly_credit_cap: int
    caps: tuple[Limit, ...]
    rates: tuple[Limit, ...]
    # Why the account lets nobody in; empty if it does.
    refusal: str


# Stands where nothing is kept any more.
_NONE = Terms(0, (), (), 0, (), (), "")


class TermsTable:
    """Terms by number. Each is kept for as long as a key has it."""

    def __init__(self) -> None:
        self._numbers: dict[Terms, int] = {}
        self._terms: list[Terms] = []
        self._uses = array("Q")
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, number: int) -> Terms:
        return self._terms[number]

    def take(self, terms: Terms) -> int:
        """Returns the number of the terms of one key more."""
        number = self._numbers.get(terms)
        if number is None:
            number = self._numbers[terms] = self._place(terms)
        self._uses[number] += 1
        return number

    def drop(self, number: int) -> None:
        """Notes that a key has these terms no more."""
        self._uses[number] -= 1
        if not self._uses[number]:
            del self._numbers[self._terms[number]]
            self._terms[number] = _NONE
            self._free.append(number)

    def _place(self, terms: Terms) -> int:
        if self._free:
            number = self._free.pop()
            self._terms[number] = terms
            return number
        self._terms.append(terms)
        self._uses.append(0)
        return len(self._terms) - 1

"""Reads the grants of one account, without the operator's reasons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from services.billing.ledger import refusals
from services.billing.ledger.identifiers import check_id

GRANT_PAGE, MAX_GRANT_PAGE = 100, 1_000


class GrantedCredits(NamedTuple):
    """A grant; the time is milliseconds since the Unix epoch."""

    grant_id: str
    credits: int
    at_ms: int


class GrantReader(Protocol):
    """Reads grants; `LedgerStore` is one."""

    async def newest_grants(self, account_id: str, limit: int) -> Sequence[GrantedCredits]:
        """An account's newest grants, newest first."""


class Grants:
    """Answers questions about grants. Every method raises MeshError."""

    def __init__(self, grants: GrantReader) -> None:
        self._grants = grants

    async def newest(self, account_id: str, size: int) -> tuple[Sequence[GrantedCredits], bool]:
        """Returns the newest grants of an account, newest first, and whether there are older ones."""
        check_id("account_id", account_id)
        if size > MAX_GRANT_PAGE:
            raise refusals.invalid("page_size", f"must be at most {MAX_GRANT_PAGE}")
        size = size or GRANT_PAGE
        found = await self._grants.newest_grants(account_id, size + 1)
        return found[:size], len(found) > size

"""What accounts are told of their requests: the receipt of one, and sums over many. Both are bounded reads."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from services.billing.ledger import refusals
from services.billing.ledger.holds import Hold
from services.billing.ledger.identifiers import check_id
from services.common.errors import Code, MeshError

DAY_MS = 86_400_000
# What one report may cover, so that none keeps the database from its work. Requests of whole days do not count: they
# come from the daily sums.
MAX_DAYS = 366
MAX_REQUESTS = 1_000_000
MAX_GROUPS = 10_000


class GroupBy(StrEnum):
    """What a report adds up by."""

    DAY = "day"
    MODEL = "model"
    KEY = "key"


class Sum(NamedTuple):
    """One line of a report; the order is that of the query."""

    group: str
    requests: int
    charged_requests: int
    credits: int
    prompt_tokens: int
    completion_tokens: int


class UsageSums(NamedTuple):
    """A report, and how many requests were read one by one for it: one more than the most, if there are more."""

    sums: Sequence[Sum]
    requests_read: int


class RequestReader(Protocol):
    """Reads requests; `LedgerStore` is one."""

    async def request(self, request_id: str) -> Hold | None:
        """The request with this id."""

    async def usage(self, account_id: str, from_ms: int, to_ms: int, group_by: GroupBy) -> UsageSums:
        """Sums over an account's requests, in the order of their groups."""


class UsageReports:
    """Answers questions about requests. Every method raises MeshError."""

    def __init__(self, requests: RequestReader) -> None:
        self._requests = requests

    async def request(self, account_id: str, request_id: str) -> Hold:
        """Returns one request of an account; another account's is NOT_FOUND like one that never was."""
        check_id("account_id", account_id)
        hold = await self._requests.request(check_id("request_id", request_id))
        if hold is None or hold.account_id != account_id:
            raise refusals.no_such_request()
        return hold

    async def report(self, account_id: str, from_ms: int, to_ms: int, group_by: GroupBy) -> Sequence[Sum]:
        """Adds up the requests made from one moment until before another."""
        check_id("account_id", account_id)
        if to_ms <= from_ms:
            raise refusals.invalid("from_ms", "must be before the end of the report")
        if to_ms - from_ms > MAX_DAYS * DAY_MS:
            raise refusals.invalid("from_ms", f"must be at most {MAX_DAYS} days before the end of the report")
        sums, requests_read = await self._requests.usage(account_id, from_ms, to_ms, group_by)
        if requests_read > MAX_REQUESTS:
            message = (
                f"A usage report adds up at most {MAX_REQUESTS:,} requests of days that it covers in part; "
                "ask for whole days (UTC) or for a shorter time."
            )
            raise MeshError(Code.INVALID_REQUEST, message, param="from_ms")
        if len(sums) > MAX_GROUPS:
            message = f"A usage report has at most {MAX_GROUPS:,} groups; ask for a shorter time."
            raise MeshError(Code.INVALID_REQUEST, message, param="from_ms")
        return sums

"""GET /v1/requests/{id} and GET /v1/usage: what the owner of an account may know of its requests; never content."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, Struct, UnsetType

from services.common.clock import Clock
from services.common.errors import Code, MeshError
from services.common.rpc.replicas import BillingReplicas
from services.edge.authentication import Principal
from services.edge.context import RequestContext
from services.edge.credits import dollars
from services.edge.http.parsing import invalid, json_response
from tiermesh.billing.v1 import billing_pb2

# Without `from`, a report begins so many days before its last one: 30 days, if that is the running one.
_DEFAULT_DAYS = 29

GROUPS = {
    "day": billing_pb2.USAGE_GROUP_DAY,
    "model": billing_pb2.USAGE_GROUP_MODEL,
    "key": billing_pb2.USAGE_GROUP_KEY,
}


_REQUEST_ID = re.compile(r"req_[0-9a-f]{32}")
_STATUS = {
    billing_pb2.OUTCOME_UNSPECIFIED: "in_flight",
    billing_pb2.OUTCOME_COMPLETED: "completed",
    billing_pb2.OUTCOME_EMPTY: "empty",
    billing_pb2.OUTCOME_CLIENT_LEFT_LATE: "client_left_late",
    billing_pb2.OUTCOME_CLIENT_LEFT_EARLY: "client_left_early",
    billing_pb2.OUTCOME_FAILED: "failed",
    billing_pb2.OUTCOME_EXPIRED: "expired",
}
_SUMS = ("requests", "charged_requests", "credits", "prompt_tokens", "completion_tokens")


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Requests made from `begin` until before `end` count."""

    begin: datetime
    end: datetime
    group_by: str

    @property
    def group(self) -> billing_pb2.UsageGroup.ValueType:
        """What to add up by, as billing says it."""
        return GROUPS[self.group_by]

    @property
    def from_ms(self) -> int:
        """The first moment that counts, in milliseconds since the Unix epoch."""
        return round(self.begin.timestamp() * 1000)

    @property
    def to_ms(self) -> int:
        """The first moment that does not."""
        return round(self.end.timestamp() * 1000)

    @property
    def from_text(self) -> str:
        """The first moment that counts, in ISO 8601."""
        return _iso(self.begin)

    @property
    def to_text(self) -> str:
        """The first moment that does not."""
        return _iso(self.end)


def parse_usage_query(query: Mapping[str, str], now: float) -> UsageQuery:
    """Returns the query with its defaults; raises MeshError INVALID_REQUEST. `now` is in seconds since 1970."""
    group_by = query.get("group_by", "day")
    if group_by not in GROUPS:
        raise invalid("group_by", f"Invalid value for 'group_by': use one of {', '.join(GROUPS)}.")
    end = _moment("to", query["to"], whole_day=True) if "to" in query else datetime.fromtimestamp(now, UTC)
    if "from" in query:
        begin = _moment("from", query["from"], whole_day=False)
    else:
        last_day = (end - timedelta(microseconds=1)).date()
        begin = datetime.combine(last_day - timedelta(days=_DEFAULT_DAYS), time(), UTC)
    if begin >= end:
        raise invalid("from", "'from' must be before 'to'. Without 'to', the report ends now.")
    return UsageQuery(begin, end, group_by)


def _moment(name: str, text: str, *, whole_day: bool) -> datetime:
    """Reads a date or a datetime; a date means its first moment, or the first one after it."""
    try:
        if len(text) <= len("2026-11-30"):
            day = datetime.combine(date.fromisoformat(text), time(), UTC)
            return _checked(day + timedelta(days=1) if whole_day else day)
        moment = datetime.fromisoformat(text)
        return _checked(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        message = (
            f"Invalid value for '{name}': write a date such as 2026-11-30, or a datetime such as 2026-11-30T12:00:00Z "
            "(a + in a URL is written %2B)."
        )
        raise invalid(name, message) from None


def _checked(moment: datetime) -> datetime:
    """Returns the moment in UTC; raises ValueError for one that is not of this age."""
    utc = moment.astimezone(UTC)
    if not 1970 < utc.year < 9999:
        raise ValueError
    return utc


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


class ReceiptTokens(Struct, frozen=True):
    """The tokens of a complete answer; 0 otherwise."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ReceiptBody(Struct, frozen=True, kw_only=True):
    """What became of a request and what it cost; never a prompt or an answer."""

    id: str
    status: str
    model: str
    key_id: str
    quantity: int
    credits_charged: int
    credits_held: int
    usage: ReceiptTokens
    created_at: int
    finished_at: int | None
    object: Literal["request"] = "request"


class UsageLine(Struct, frozen=True, kw_only=True):
    """Sums over requests; of `day`, `model` and `key` it has what the report is grouped by."""

    day: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    key: str | UnsetType = UNSET
    requests: int
    charged_requests: int
    credits: int
    prompt_tokens: int
    completion_tokens: int
    usd: str


class UsageReport(Struct, frozen=True, kw_only=True):
    """The requests of an account from one moment until before another."""

    object: Literal["usage"] = "usage"
    begin: str = msgspec.field(name="from")
    end: str = msgspec.field(name="to")
    group_by: str
    data: list[UsageLine]
    total: UsageLine


class UsageEndpoint:
    """Serves the routes for requests whose key has the usage scope."""

    def __init__(self, billing: BillingReplicas, clock: Clock) -> None:
        self._billing = billing
        self._clock = clock

    async def request(self, request: web.Request, _context: RequestContext, principal: Principal) -> web.Response:
        """Answers GET /v1/requests/{id}; a request of another account is one that does not exist."""
        request_id = request.match_info["request_id"]
        if not _REQUEST_ID.fullmatch(request_id):
            raise _no_receipt()
        asked = billing_pb2.GetRequestRequest(account_id=principal.account_id, request_id=request_id)
        try:
            response = await self._billing.call(lambda stub: stub.GetRequest, asked)
        except MeshError as error:
            raise _no_receipt() if error.code is Code.NOT_FOUND else error from error
        return json_response(_receipt_body(response.receipt))

    async def report(self, request: web.Request, _context: RequestContext, principal: Principal) -> web.Response:
        """Answers GET /v1/usage."""
        query = parse_usage_query(request.query, self._clock())
        asked = billing_pb2.GetUsageRequest(
            account_id=principal.account_id, from_ms=query.from_ms, to_ms=query.to_ms, group_by=query.group
        )
        try:
            response = await self._billing.call(lambda stub: stub.GetUsage, asked)
        except MeshError as error:
            # Billing counts in milliseconds; the user has said from when.
            error.param = error.param.removesuffix("_ms")
            error.message = error.message.replace("from_ms", "'from'")
            raise
        return json_response(_report_body(query, response.groups))


def _no_receipt() -> MeshError:
    message = (
        "This account has no request with this id. The id of a request is in its response's x-request-id; requests "
        "that were refused before they were paid for are not kept."
    )
    return MeshError(Code.NOT_FOUND, message, param="id")


def _receipt_body(receipt: billing_pb2.Receipt) -> ReceiptBody:
    return ReceiptBody(
        id=receipt.request_id,
        # A later billing may know outcomes that this edge does not.
        status=_STATUS.get(receipt.outcome, "ended"),
        model=receipt.model,
        key_id=receipt.key_id,
        quantity=receipt.quantity,
        credits_charged=receipt.charged,
        credits_held=receipt.held,
        usage=ReceiptTokens(
            prompt_tokens=receipt.prompt_tokens,
            completion_tokens=receipt.completion_tokens,
            total_tokens=receipt.prompt_tokens + receipt.completion_tokens,
        ),
        created_at=receipt.reserved_at_ms // 1000,
        finished_at=receipt.settled_at_ms // 1000 or None,
    )


def _report_body(query: UsageQuery, groups: Sequence[billing_pb2.Usage]) -> UsageReport:
    lines = [msgspec.structs.replace(_sums([group]), **{query.group_by: group.group}) for group in groups]
    return UsageReport(
        begin=query.from_text, end=query.to_text, group_by=query.group_by, data=lines, total=_sums(groups)
    )


def _sums(groups: Sequence[billing_pb2.Usage]) -> UsageLine:
    sums = {name: sum(getattr(group, name) for group in groups) for name in _SUMS}
    return UsageLine(**sums, usd=dollars(sums["credits"]))

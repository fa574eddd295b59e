"""The routes of the account: balance, requests, usage and keys."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from services.common.scopes import MANAGEMENT
from services.edge.account.balance import BalanceBody, Balances
from services.edge.account.keys import DEFAULT_PAGE, MAX_PAGE, CreateKeyBody, KeyBody, KeyList, Keys, RevokedKey
from services.edge.account.usage import GROUPS, ReceiptBody, ReceiptTokens, UsageEndpoint, UsageLine, UsageReport
from services.edge.dependencies import Dependencies
from services.edge.route import TEXT, Operation, Parameter, Route, json_answer, json_body

_RECEIPT = ReceiptBody(
    id="req_0123456789abcdef0123456789abcdef",
    status="completed",
    model="tiermesh-pro",
    key_id="key_1",
    quantity=1,
    credits_charged=10,
    credits_held=0,
    usage=ReceiptTokens(11, 2, 13),
    created_at=1798761600,
    finished_at=1798761601,
)
_SUMS = UsageLine(requests=3, charged_requests=2, credits=20, prompt_tokens=22, completion_tokens=4, usd="0.20")
_REPORT = UsageReport(
    begin="2026-11-01T00:00:00Z",
    end="2026-12-01T00:00:00Z",
    group_by="day",
    data=[replace(_SUMS, day="2026-11-30")],
    total=_SUMS,
)
_KEY = KeyBody(
    id="key_1",
    name="ci",
    hint="sk-tiermesh-ab",
    models=[],
    endpoints=["chat"],
    requests_per_minute=60,
    monthly_credit_cap=0,
    created_at=1798761600,
    expires_at=None,
    revoked_at=None,
    last_used_at=None,
    replaced_by=None,
    created_by=None,
)

_TELL_BALANCE = Operation(
    summary="Tell the account's credits", tag="Account", answer=json_answer(BalanceBody("acct_1", 990, 10, "9.90"))
)
_TELL_REQUEST = Operation(
    summary="Tell what became of a request",
    tag="Account",
    description="The id is the `x-request-id` of the response.",
    answer=json_answer(_RECEIPT),
    may_be_missing=True,
)
_REPORT_USAGE = Operation(
    summary="Add up the account's requests",
    tag="Account",
    answer=json_answer(_REPORT),
    parameters=(
        Parameter("from", TEXT, "A date (its first moment, UTC) or a datetime; by default a report has 30 days."),
        Parameter("to", TEXT, "A date, which is included, or a datetime, which is not; by default now."),
        Parameter("group_by", {"type": "string", "enum": [*GROUPS]}, "By default `day`."),
    ),
)
_LIST_KEYS = Operation(
    summary="List the account's keys",
    tag="Keys",
    answer=json_answer(KeyList(data=[_KEY], last_id=_KEY.id, has_more=False)),
    parameters=(
        Parameter("limit", {"type": "integer", "minimum": 1, "maximum": MAX_PAGE}, f"By default {DEFAULT_PAGE}."),
        Parameter("after", TEXT, "The `last_id` of the page before."),
    ),
)
_CREATE_KEY = Operation(
    summary="Make a key, which is shown once",
    tag="Keys",
    body=json_body(CreateKeyBody, {"name": "ci", "endpoints": ["chat"], "requests_per_minute": 60}),
    body_optional=True,
    answer=json_answer(replace(_KEY, key="sk-tiermesh-…")),
    may_be_missing=True,
)
_REVOKE_KEY = Operation(
    summary="Revoke a key",
    tag="Keys",
    answer=json_answer(RevokedKey("key_1")),
    may_be_missing=True,
    parameters=(
        Parameter("descendants", {"type": "boolean"}, "Whether to revoke also what it has made; by default `false`."),
    ),
)


def routes(edge: Dependencies) -> Sequence[Route]:
    """Returns the routes of all that an account may ask of itself."""
    return [*_spending(edge), *_keys(edge)]


def _spending(edge: Dependencies) -> Sequence[Route]:
    balances, usage = Balances(edge.billing), UsageEndpoint(edge.billing, edge.clock)
    return [
        Route(
            method="GET",
            path="/balance",
            name="balance",
            scope="balance",
            handler=balances.serve,
            operation=_TELL_BALANCE,
        ),
        Route(
            method="GET",
            path="/requests/{request_id}",
            name="request",
            scope="usage",
            handler=usage.request,
            operation=_TELL_REQUEST,
        ),
        Route(method="GET", path="/usage", name="usage", scope="usage", handler=usage.report, operation=_REPORT_USAGE),
    ]


def _keys(edge: Dependencies) -> Sequence[Route]:
    keys = Keys(edge.auth, edge.clock)
    return [
        Route(method="GET", path="/keys", name="keys", scope=MANAGEMENT, handler=keys.list, operation=_LIST_KEYS),
        Route(method="POST", path="/keys", name="keys", scope=MANAGEMENT, handler=keys.create, operation=_CREATE_KEY),
        Route(
            method="DELETE",
            path="/keys/{key_id}",
            name="key",
            scope=MANAGEMENT,
            handler=keys.revoke,
            operation=_REVOKE_KEY,
        ),
    ]

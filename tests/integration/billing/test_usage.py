"""Receipts and usage reports on both databases, and their bounds."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from services.billing.ledger import usage as bounds
from services.billing.ledger.holds import Outcome
from services.billing.ledger.operations import Reserve
from services.billing.ledger.usage import DAY_MS, GroupBy, Sum, UsageReports
from services.billing.store import usage as store_usage
from services.billing.store.store import LedgerStore
from services.common.database.base import Database
from services.common.errors import Code, MeshError
from tests.integration.billing.billing_client import BillingClient
from tests.integration.billing.operations_for_tests import PRICE, grant, reserve, settle
from tiermesh.billing.v1 import billing_pb2

FIRST = int(datetime(2026, 11, 30, tzinfo=UTC).timestamp() * 1000)


def made_by(key_id: str, request_id: str, model: str = "pro") -> Reserve:
    return reserve(request_id, model=model)._replace(key_id=key_id)


@pytest.fixture
async def usage(store: LedgerStore) -> UsageReports:
    """Three requests on the last moment of a day, two on the next day, and one of another account."""
    await store.commit([grant(1000), grant(1000, "other", "grant2")], FIRST)
    midnight = FIRST + DAY_MS
    await store.commit([made_by("a", "r1"), made_by("a", "r2"), made_by("b", "r3", "max")], midnight - 1)
    await store.commit([made_by("b", "r4"), made_by("b", "r5"), reserve("r6", "other")], midnight)
    await store.commit([settle("r1"), settle("r2", Outcome.FAILED), settle("r3"), settle("r4")], midnight + 5)
    return UsageReports(store)


async def refusal(usage: UsageReports, from_ms: int, to_ms: int) -> MeshError:
    with pytest.raises(MeshError) as raised:
        await usage.report("acct", from_ms, to_ms, GroupBy.DAY)
    return raised.value


@pytest.mark.parametrize(
    ("group_by", "sums"),
    [
        (GroupBy.DAY, [Sum("2026-11-30", 3, 2, 2 * PRICE, 21, 27), Sum("2026-12-01", 2, 1, PRICE, 7, 9)]),
        (GroupBy.MODEL, [Sum("max", 1, 1, PRICE, 7, 9), Sum("pro", 4, 2, 2 * PRICE, 21, 27)]),
        (GroupBy.KEY, [Sum("a", 2, 1, PRICE, 14, 18), Sum("b", 3, 2, 2 * PRICE, 14, 18)]),
    ],
)
async def test_requests_are_added_up(usage: UsageReports, group_by: GroupBy, sums: list[Sum]) -> None:
    assert await usage.report("acct", FIRST, FIRST + 366 * DAY_MS, group_by) == sums


async def test_the_end_of_a_report_does_not_count_and_its_beginning_does(usage: UsageReports) -> None:
    midnight = FIRST + DAY_MS
    (before,) = await usage.report("acct", midnight - 1, midnight, GroupBy.DAY)
    (after,) = await usage.report("acct", midnight, midnight + 1, GroupBy.DAY)
    assert (before.requests, after.requests) == (3, 2)
    assert await usage.report("acct", FIRST, midnight - 1, GroupBy.DAY) == []
    assert await usage.report("nobody", FIRST, midnight, GroupBy.DAY) == []


async def test_a_report_is_bounded(usage: UsageReports, store: LedgerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for from_ms, to_ms in (5, 5), (6, 5), (0, 366 * DAY_MS + 1):
        error = await refusal(usage, from_ms, to_ms)
        assert (error.code, error.param) == (Code.INVALID_REQUEST, "from_ms")
    await store.commit([reserve("early")], FIRST)
    monkeypatch.setattr(bounds, "MAX_REQUESTS", 2)
    # Three of the four requests of the first day.
    error = await refusal(usage, FIRST + 1, FIRST + 2 * DAY_MS)
    assert (error.code, error.param) == (Code.INVALID_REQUEST, "from_ms")
    assert "at most 2 requests of days that it covers in part" in error.message
    # Whole days are not added up request by request, nor are those outside of whose part there are no requests.
    for to_ms in FIRST + 2 * DAY_MS, FIRST + DAY_MS + 1:
        assert [each.requests for each in await usage.report("acct", FIRST, to_ms, GroupBy.DAY)] == [4, 2]


async def test_a_report_reads_indexes(usage: UsageReports, database: Database) -> None:
    explain = "EXPLAIN QUERY PLAN" if database.dialect == "sqlite" else "EXPLAIN"
    query = sa.text(f"{explain} {store_usage._USAGE[database.dialect][GroupBy.KEY].text}")
    times = {"from_ms": 1, "first_ms": 2, "first_day": 0, "end_day": 1, "end_ms": 3, "to_ms": 4}
    plan = str(await database.read(lambda connection: connection.execute(query, {"account_id": "acct"} | times).all()))
    # The parts of days twice, the open holds, and the sums.
    holds_index = "holds_by_day (<expr>=? AND account_id=?" if database.dialect == "sqlite" else "holds_by_account"
    assert (plan.count(holds_index), plan.count("holds_open")) == (2, 1), plan
    assert (
        "USING PRIMARY KEY (day=? AND account_id=?)" if database.dialect == "sqlite" else "daily_usage_pkey"
    ) in plan, plan


async def test_a_receipt_is_its_owner_s_alone(client: BillingClient) -> None:
    await client.grant(100)
    await client.reserve("r")
    request = billing_pb2.GetRequestRequest(account_id="acct", request_id="r")
    held = (await client.unary.GetRequest(request)).receipt
    assert (held.held, held.charged, held.outcome) == (PRICE, 0, billing_pb2.OUTCOME_UNSPECIFIED)
    assert held.reserved_at_ms > 0
    assert held.settled_at_ms == 0
    await client.settle("r")
    paid = (await client.unary.GetRequest(request)).receipt
    assert (paid.held, paid.charged, paid.outcome) == (0, PRICE, billing_pb2.OUTCOME_COMPLETED)
    assert (paid.model, paid.key_id, paid.prompt_tokens, paid.runner_id) == ("tiermesh-pro", "key", 3, "runner")
    assert paid.settled_at_ms >= paid.reserved_at_ms
    for account_id, request_id in ("other", "r"), ("acct", "unknown"):
        with pytest.raises(MeshError) as raised:
            await client.receipt(request_id, account_id)
        assert raised.value.code is Code.NOT_FOUND


async def test_a_report_over_the_wire(client: BillingClient) -> None:
    await client.grant(100)
    await client.reserve("r")
    await client.settle("r")
    receipt = await client.receipt("r")
    from_ms = receipt.reserved_at_ms
    for group_by, group in (
        (billing_pb2.USAGE_GROUP_MODEL, "tiermesh-pro"),
        (billing_pb2.USAGE_GROUP_KEY, "key"),
        (billing_pb2.USAGE_GROUP_UNSPECIFIED, datetime.fromtimestamp(receipt.reserved_at_ms / 1000, UTC).date()),
    ):
        request = billing_pb2.GetUsageRequest(account_id="acct", from_ms=from_ms, to_ms=from_ms + 1, group_by=group_by)
        response = await client.unary.GetUsage(request)
        (found,) = response.groups
        assert (found.group, found.requests, found.credits) == (str(group), 1, PRICE)

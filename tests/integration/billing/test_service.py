"""A real billing process over gRPC: what an edge and an operator see."""

from __future__ import annotations

import asyncio

import pytest

from services.common.errors import Code, MeshError
from tests.integration.billing.billing_client import PRICE, PRO, BillingClient
from tests.support.process import ServiceProcess
from tiermesh.billing.v1 import billing_pb2


async def test_reserve_and_settle(client: BillingClient) -> None:
    response = await client.grant(100)
    assert response.grant_id.startswith("grant_")
    assert (response.balance.available, response.balance.held) == (100, 0)
    held = await client.reserve("r")
    assert (held.amount, held.available) == (PRICE, 90)
    assert await client.balance() == (90, 10)
    paid = await client.settle("r")
    assert (paid.amount, paid.available) == (PRICE, 90)
    assert await client.balance() == (90, 0)
    report = await client.audit()
    assert (list(report.violations), report.entries, report.accounts, report.open_holds) == ([], 6, 1, 0)


async def test_quantities_multiply_the_price(client: BillingClient) -> None:
    await client.grant(100)
    assert (await client.reserve("images", quantity=3)).amount == 3 * PRICE


@pytest.mark.parametrize(
    ("outcome", "charged"),
    [
        (billing_pb2.OUTCOME_COMPLETED, PRICE),
        (billing_pb2.OUTCOME_CLIENT_LEFT_LATE, PRICE),
        (billing_pb2.OUTCOME_EMPTY, 0),
        (billing_pb2.OUTCOME_CLIENT_LEFT_EARLY, 0),
        (billing_pb2.OUTCOME_FAILED, 0),
    ],
)
async def test_outcomes(sqlite_client: BillingClient, outcome: billing_pb2.Outcome.ValueType, charged: int) -> None:
    await sqlite_client.grant(100)
    await sqlite_client.reserve("r")
    reply = await sqlite_client.settle("r", outcome)
    assert (reply.amount, reply.available) == (charged, 100 - charged)


def capped(request_id: str, key_id: str, cap: int = 0, *caps: tuple[str, int]) -> billing_pb2.TransactCall:
    """A request as edges send it: those of version 0.1 name only the cap of the key itself."""
    return billing_pb2.TransactCall(
        reserve=billing_pb2.Reserve(
            request_id=request_id,
            account_id="acct",
            key_id=key_id,
            model=PRO,
            key_monthly_cap=cap,
            caps=[billing_pb2.MonthlyCap(key_id=name, credits=most) for name, most in caps],
        )
    )


async def test_caps_of_older_and_newer_edges_are_counted_together(client: BillingClient) -> None:
    await client.grant(100)
    await client.transact(capped("a", "first", 25))
    await client.transact(capped("b", "second", 25, ("first", 25)))
    for call in (
        capped("c", "first", 25),
        capped("d", "second", 25, ("first", 25)),
        capped("e", "x", 0, ("first", 25)),
    ):
        with pytest.raises(MeshError, match="20 are spent or held") as refused:
            await client.transact(call)
        assert refused.value.code is Code.INSUFFICIENT_CREDITS
    assert list((await client.audit()).violations) == []


async def test_refusals_say_what_to_do(sqlite_client: BillingClient) -> None:
    client = sqlite_client
    await client.grant(PRICE - 1)
    with pytest.raises(MeshError, match=r"costs 10, and 9 are available.*top up") as refused:
        await client.reserve("r")
    assert refused.value.code is Code.INSUFFICIENT_CREDITS
    with pytest.raises(MeshError, match=r"'unheard-of' does not exist") as refused:
        await client.reserve("r", model="unheard-of")
    assert (refused.value.code, refused.value.param) == (Code.MODEL_NOT_FOUND, "model")
    with pytest.raises(MeshError) as refused:
        await client.settle("r")
    assert refused.value.code is Code.NOT_FOUND


@pytest.mark.parametrize(
    ("call", "param"),
    [
        (billing_pb2.TransactCall(), "operation"),
        (capped("r", "key", -1), "key_monthly_cap"),
        (capped("r", "key", 0, ("key", 0)), "caps.credits"),
        (capped("r", "key", 0, ("key", 5), ("key", 5)), "caps"),
        (capped("r", "key", 0, *((f"key_{number}", 5) for number in range(33))), "caps"),
        (capped("r", "key", 0, ("", 5)), "caps.key_id"),
        (capped("r", "key", 0, ("k\0", 5)), "caps.key_id"),
        (billing_pb2.TransactCall(reserve=billing_pb2.Reserve(account_id="a", model=PRO)), "request_id"),
        (billing_pb2.TransactCall(reserve=billing_pb2.Reserve(request_id="r", model=PRO)), "account_id"),
        (
            billing_pb2.TransactCall(reserve=billing_pb2.Reserve(request_id="r", account_id="system:x", model=PRO)),
            "account_id",
        ),
        (
            billing_pb2.TransactCall(reserve=billing_pb2.Reserve(request_id="\0", account_id="a", model=PRO)),
            "request_id",
        ),
        (
            billing_pb2.TransactCall(
                reserve=billing_pb2.Reserve(request_id="r", account_id="a", key_id="k" * 201, model=PRO)
            ),
            "key_id",
        ),
        (billing_pb2.TransactCall(settle=billing_pb2.Settle(request_id="r")), "outcome"),
        (
            billing_pb2.TransactCall(
                settle=billing_pb2.Settle(request_id="r", outcome=billing_pb2.OUTCOME_EXPIRED),
            ),
            "outcome",
        ),
    ],
)
async def test_calls_that_are_wrong_by_themselves(
    sqlite_client: BillingClient, call: billing_pb2.TransactCall, param: str
) -> None:
    with pytest.raises(MeshError) as refused:
        await sqlite_client.transact(call)
    assert (refused.value.code, refused.value.param) == (Code.INVALID_REQUEST, param)


async def test_grants_are_checked(sqlite_client: BillingClient) -> None:
    client = sqlite_client
    for amount in 0, -5, 10**15 + 1:
        with pytest.raises(MeshError) as refused:
            await client.grant(amount)
        assert (refused.value.code, refused.value.param) == (Code.INVALID_REQUEST, "credits")
    with pytest.raises(MeshError, match="'account_id' must not be empty"):
        await client.grant(5, "")
    await client.grant(10**15, grant_id="all")
    with pytest.raises(MeshError, match="at most"):
        await client.grant(1)
    with pytest.raises(MeshError) as refused:
        await client.grant(5, grant_id="all")
    assert refused.value.code is Code.CONFLICT
    assert (await client.grant(10**15, grant_id="all")).balance.available == 10**15


async def test_an_unknown_account_owns_nothing(sqlite_client: BillingClient) -> None:
    assert await sqlite_client.balance("nobody") == (0, 0)


async def test_many_calls_at_once_share_transactions(billing: ServiceProcess, client: BillingClient) -> None:
    await client.grant(100 * PRICE)
    answers = await asyncio.gather(*(client.reserve(f"r{i}") for i in range(300)), return_exceptions=True)
    served = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert len(served) == 100
    assert {answer.code for answer in answers if isinstance(answer, MeshError)} == {Code.INSUFFICIENT_CREDITS}
    assert await client.balance() == (0, 100 * PRICE)
    commits = next(
        float(line.split()[1])
        for line in (await billing.metrics()).splitlines()
        if line.startswith("tiermesh_billing_commit_operations_count")
    )
    assert commits < 60


async def test_metrics_tell_what_was_earned(billing: ServiceProcess, client: BillingClient) -> None:
    await client.grant(100)
    await client.reserve("r")
    await client.settle("r")
    metrics = await billing.metrics()
    assert 'tiermesh_billing_credits_total{movement="capture"} 10.0' in metrics
    assert 'tiermesh_billing_credits_total{movement="grant"} 100.0' in metrics
    assert "tiermesh_billing_commit_seconds_count" in metrics

"""What an edge tells billing about a request whose hold billing does not know."""

from __future__ import annotations

from typing import Any, cast

import pytest

from services.common.errors import Code, MeshError
from services.edge.authentication import Principal
from services.edge.paid.hold import NO_TOKENS, BillingClient, Outcome
from tiermesh.billing.v1 import billing_pb2

COMPLETED, FAILED = billing_pb2.OUTCOME_COMPLETED, billing_pb2.OUTCOME_FAILED
EMPTY, LEFT_LATE = billing_pb2.OUTCOME_EMPTY, billing_pb2.OUTCOME_CLIENT_LEFT_LATE
PRICE = 10


class ForgetfulBilling:
    """Forgets its first holds, as many as it is told to; notes what it is asked: "reserve", or an outcome."""

    def __init__(self, forgets: float) -> None:
        self.asked: list[str | Outcome] = []
        self._forgets = forgets
        self._held = False

    async def request(self, call: billing_pb2.TransactCall, _timeout: float) -> billing_pb2.TransactReply:
        if call.HasField("reserve"):
            self.asked.append("reserve")
            self._forgets -= 1
            self._held = self._forgets < 0
            return billing_pb2.TransactReply(amount=PRICE)
        self.asked.append(call.settle.outcome)
        if call.settle.outcome in {COMPLETED, LEFT_LATE} and not self._held:
            return billing_pb2.TransactReply(error=MeshError(Code.NOT_FOUND, "Nothing was reserved.").to_proto())
        return billing_pb2.TransactReply(amount=PRICE)


def edge(billing: ForgetfulBilling, settle_timeout: float = 30.0) -> BillingClient:
    return BillingClient(
        cast("Any", billing), reserve_timeout=30.0, settle_timeout=settle_timeout, release_timeout=30.0
    )


@pytest.mark.parametrize("forgets", [0, 1, 2])
async def test_a_lost_hold_is_made_again_before_its_charge(forgets: int) -> None:
    billing = ForgetfulBilling(forgets)
    hold = await edge(billing).reserve("request", Principal("key", "acct"), "model")
    assert (await hold.settle(COMPLETED, NO_TOKENS)).charged == PRICE
    assert billing.asked == ["reserve", COMPLETED] + ["reserve", COMPLETED] * forgets


async def test_a_client_that_left_pays_by_a_hold_that_was_made_again() -> None:
    billing = ForgetfulBilling(1)
    client = edge(billing)
    (await client.reserve("request", Principal("key", "acct"), "model")).abandon(LEFT_LATE)
    await client.drain(30.0)
    assert billing.asked == ["reserve", LEFT_LATE, "reserve", LEFT_LATE]


@pytest.mark.parametrize("outcome", [FAILED, EMPTY, billing_pb2.OUTCOME_CLIENT_LEFT_EARLY])
async def test_a_free_end_needs_no_hold(outcome: Outcome) -> None:
    billing = ForgetfulBilling(1)
    client = edge(billing)
    (await client.reserve("request", Principal("key", "acct"), "model")).abandon(outcome)
    await client.drain(30.0)
    assert billing.asked == ["reserve", outcome]


async def test_without_time_to_make_it_again_the_answer_fails_and_is_free() -> None:
    billing = ForgetfulBilling(float("inf"))
    client = edge(billing, settle_timeout=0.05)
    hold = await client.reserve("request", Principal("key", "acct"), "model")
    with pytest.raises(MeshError) as refused:
        await hold.settle(COMPLETED, NO_TOKENS)
    # That billing knows no such request is nothing that its client can mend.
    assert refused.value.code is Code.UNAVAILABLE
    await client.drain(30.0)
    assert billing.asked == ["reserve", COMPLETED, FAILED]

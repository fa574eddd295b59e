"""What auth says of a key reaches whoever enforces it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from services.common.errors import MeshError
from services.edge.authentication import AuthBatch, Authenticator, Principal
from services.edge.context import RequestContext
from services.edge.paid.hold import BillingBatch, BillingClient
from tiermesh.auth.v1 import auth_pb2
from tiermesh.billing.v1 import billing_pb2


class Answering:
    """Stands where a batch client does: answers each call with one reply, and remembers the calls."""

    def __init__(self, reply: Any) -> None:
        self.reply = reply
        self.calls: list[Any] = []

    async def request(self, call: Any, timeout: float) -> Any:
        self.calls.append(call)
        return self.reply


async def test_scopes_and_cap_come_with_the_principal() -> None:
    reply = auth_pb2.AuthenticateReply(
        key_id="key_1", account_id="acct_1", models=["pro"], endpoints=["chat"], monthly_credit_cap=7
    )
    authenticator = Authenticator(cast("AuthBatch", Answering(reply)), 1.0)
    verdict = await authenticator.authenticate({"Authorization": "Bearer sk-x-y"}, RequestContext("req_1", 0.0))
    assert verdict.principal == Principal("key_1", "acct_1", ("pro",), ("chat",), 7)


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"Authorization": "Bearer sk-a"}, "sk-a"),
        ({"Authorization": "bearer  sk-a "}, "sk-a"),
        ({"x-api-key": "sk-b"}, "sk-b"),
        ({"Authorization": "Bearer sk-a", "x-api-key": "sk-b"}, "sk-a"),
        # Whatever stands in front of the edge may use the header for itself.
        ({"Authorization": "Basic dTpw", "x-api-key": "sk-b"}, "sk-b"),
        ({"Authorization": "Bearer ", "x-api-key": "sk-b"}, "sk-b"),
        ({"Authorization": "Bearer", "x-api-key": " sk-b "}, "sk-b"),
        ({"Authorization": "Basic dTpw"}, ""),
        ({"x-api-key": "k" * 513}, ""),
        ({"x-api-key": "schlüssel"}, ""),
        ({}, ""),
    ],
)
async def test_a_key_comes_in_either_header(headers: dict[str, str], key: str) -> None:
    answering = Answering(auth_pb2.AuthenticateReply(key_id="key_1", account_id="acct_1"))
    authenticator = Authenticator(cast("AuthBatch", answering), 1.0)
    verdict = await authenticator.authenticate(headers, RequestContext("req_1", 0.0))
    assert [call.api_key for call in answering.calls] == ([key] if key else [])
    assert isinstance(verdict.principal, Principal if key else MeshError)


async def test_the_cap_goes_to_billing_with_the_reserve() -> None:
    answering = Answering(billing_pb2.TransactReply())
    billing = BillingClient(cast("BillingBatch", answering), reserve_timeout=1, settle_timeout=1, release_timeout=1)
    await billing.reserve("req_1", Principal("key_1", "acct_1", monthly_credit_cap=7), "pro")
    (call,) = answering.calls
    assert (call.reserve.key_id, call.reserve.key_monthly_cap) == ("key_1", 7)
    assert not call.reserve.caps


async def test_every_cap_goes_to_billing() -> None:
    reply = auth_pb2.AuthenticateReply(key_id="key_2", account_id="acct_1", monthly_credit_cap=7)
    reply.caps.add(key_id="key_1", credits=9)
    reply.caps.add(key_id="key_2", credits=7)
    authenticator = Authenticator(cast("AuthBatch", Answering(reply)), 1.0)
    principal = (
        await authenticator.authenticate({"Authorization": "Bearer sk-x-y"}, RequestContext("req_1", 0.0))
    ).principal
    assert isinstance(principal, Principal)
    answering = Answering(billing_pb2.TransactReply())
    billing = BillingClient(cast("BillingBatch", answering), reserve_timeout=1, settle_timeout=1, release_timeout=1)
    await billing.reserve("req_1", principal, "pro")
    (call,) = answering.calls
    assert [(cap.key_id, cap.credits) for cap in call.reserve.caps] == [("key_1", 9), ("key_2", 7)]

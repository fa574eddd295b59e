"""Nothing is charged that cannot be sent."""

from __future__ import annotations

from typing import Any, cast

import pytest

from services.edge.paid.delivery import Delivery, deliver_whole
from services.edge.paid.hold import Receipt
from tiermesh.runner.v1.runner_pb2 import GenerateReply


class Complete:
    """An answer that is complete, and that counts how often it was charged."""

    complete = True

    def __init__(self) -> None:
        self.charged = 0
        self.headers = {"x-request-id": "req_1"}
        self.last_replies = [GenerateReply(text="answer")]

    async def settle(self) -> Receipt:
        self.charged += 1
        return Receipt(10, 90)

    def header(self, answer: bytes) -> dict[str, str]:
        assert self.charged, "a receipt was signed before the charge was durable"
        return {"x-tiermesh-receipt": answer.decode()}


async def test_an_answer_that_cannot_be_written_is_not_charged() -> None:
    def body(_replies: Any) -> bytes:
        raise ValueError("cannot be written")

    delivery = Complete()
    with pytest.raises(ValueError, match="cannot be written"):
        await deliver_whole(cast("Delivery", delivery), body)
    assert delivery.charged == 0


async def test_a_whole_answer_says_what_it_cost() -> None:
    delivery = Complete()
    response = await deliver_whole(cast("Delivery", delivery), lambda replies: replies[0].text.encode())
    assert (response.body, delivery.charged) == (b"answer", 1)
    assert response.headers["x-tiermesh-credits-charged"] == "10"
    assert response.headers["x-request-id"] == "req_1"
    assert response.headers["x-tiermesh-receipt"] == "answer"

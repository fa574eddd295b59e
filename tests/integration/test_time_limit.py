"""What a request costs that reaches its time limit, or that asks for more choices than there are slots."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.support.account import FundedAccount
from tests.support.mesh import LocalMesh
from tests.support.waiting import eventually

PRICE = 10
SLOTS = 2
SETTINGS = {
    "TIERMESH_EDGE_REQUEST_TIMEOUT": "4",
    # Shorter than an answer: choices that wait for one of their own request must not count this.
    "TIERMESH_EDGE_QUEUE_TIMEOUT": "0.5",
    "TIERMESH_RUNNER_SIMULATED_SPEED": "50",
    "TIERMESH_RUNNER_SIMULATED_PREFILL_SPEED": "500",
}
ENDLESS: Any = {
    "model": "tiermesh-pro",
    "messages": [{"role": "user", "content": "Tell me about the bridge over the river"}],
    "max_tokens": 2_000,
}


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    folder = tmp_path_factory.mktemp("time-limit")
    with LocalMesh(folder, "--slots", str(SLOTS), environ=SETTINGS) as mesh:
        yield mesh


class Customer(FundedAccount):
    """An account with 1,000 credits."""

    def __init__(self, mesh: LocalMesh) -> None:
        super().__init__(mesh)
        self.client = openai.OpenAI(base_url=mesh.base_url, api_key=self.new_key()["api_key"], max_retries=0)

    async def paid(self, credits: int) -> None:  # noqa: A002 - the ledger's word
        await eventually(lambda: self.mesh.command_now("balance", self.account)["held"] == 0)
        assert self.mesh.command_now("balance", self.account)["available"] == 1_000 - credits


@pytest.fixture
def customer(mesh: LocalMesh) -> Customer:
    return Customer(mesh)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_at_the_time_limit_ends_with_length_and_is_charged(customer: Customer, stream: bool) -> None:
    if stream:
        options: Any = {"include_usage": True}
        chunks = list(customer.client.chat.completions.create(**ENDLESS, stream=True, stream_options=options))
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        reasons = {chunk.choices[0].finish_reason for chunk in chunks if chunk.choices} - {None}
        usage = chunks[-1].usage
    else:
        completion = customer.client.chat.completions.create(**ENDLESS)
        text = completion.choices[0].message.content
        reasons, usage = {completion.choices[0].finish_reason}, completion.usage
    assert text
    assert reasons == {"length"}
    assert usage.prompt_tokens > 0
    assert 0 < usage.completion_tokens < ENDLESS["max_tokens"]
    await customer.paid(PRICE)


async def test_a_request_that_produced_nothing_in_time_is_free(customer: Customer) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        customer.client.chat.completions.create(
            **{**ENDLESS, "messages": [{"role": "user", "content": "word " * 3_000}]}
        )
    assert caught.value.status_code == 503
    await customer.paid(0)


@pytest.mark.parametrize("stream", [False, True])
async def test_more_choices_than_slots_are_all_made_for_one_price(customer: Customer, stream: bool) -> None:
    asked = ENDLESS | {"n": 2 * SLOTS, "max_tokens": 40}
    if stream:
        ends = [
            choice.index
            for chunk in customer.client.chat.completions.create(**asked, stream=True)
            for choice in chunk.choices
            if choice.finish_reason == "length"
        ]
    else:
        completion = customer.client.chat.completions.create(**asked)
        ends = [choice.index for choice in completion.choices if choice.message.content]
    assert sorted(ends) == list(range(2 * SLOTS))
    await customer.paid(PRICE)


async def test_choices_that_get_no_slot_in_time_do_not_make_the_others_free(customer: Customer) -> None:
    completion = customer.client.chat.completions.create(**ENDLESS | {"n": 2 * SLOTS})
    assert [choice.finish_reason for choice in completion.choices] == ["length"] * (2 * SLOTS)
    assert sum(bool(choice.message.content) for choice in completion.choices) >= SLOTS
    await customer.paid(PRICE)

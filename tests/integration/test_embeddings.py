"""Embeddings through a whole mesh: what they cost, and what becomes of them when their runner dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types import CreateEmbeddingResponse

from tests.support.account import FundedAccount
from tests.support.forked_service import ForkedServiceProcess
from tests.support.mesh import LocalMesh
from tests.support.process import ServiceProcess
from tests.support.waiting import eventually

PRICE = 1
MODEL = "tiermesh-embed"
# Takes the model several seconds.
LONG = [f"{number} " + "long " * 480 for number in range(6)]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    with LocalMesh(tmp_path_factory.mktemp("embeddings"), tiers=("pro", "embedding")) as mesh:
        yield mesh


class Customer(FundedAccount):
    """An account of its own with 1,000 credits and a key without a limit."""

    def __init__(self, mesh: LocalMesh) -> None:
        super().__init__(mesh)
        self.key = self.new_key()["api_key"]
        self.client = openai.OpenAI(base_url=mesh.base_url, api_key=self.key, max_retries=0)

    def embed(self, given: Any, **fields: Any) -> CreateEmbeddingResponse:
        return self.client.embeddings.create(model=MODEL, input=given, **fields)

    def balance(self) -> tuple[int, int]:
        """Returns what was spent and what is held."""
        balance = self.mesh.command_now("balance", self.account)
        return 1000 - balance["available"] - balance["held"], balance["held"]


@pytest.fixture
def customer(mesh: LocalMesh) -> Customer:
    return Customer(mesh)


async def test_one_request_has_one_price(customer: Customer) -> None:
    response = customer.client.embeddings.with_raw_response.create(model=MODEL, input=["a", "b", "c"])
    assert response.headers["x-tiermesh-credits-charged"] == str(PRICE)
    assert response.headers["x-tiermesh-credits-remaining"] == str(1000 - PRICE)
    assert [entry.index for entry in response.parse().data] == [0, 1, 2]
    assert customer.balance() == (PRICE, 0)
    (used,) = customer.mesh.command_now("usage", customer.account)
    assert used["prompt_tokens"] == response.parse().usage.prompt_tokens == 9


@pytest.mark.parametrize(
    ("given", "fields", "param", "code"),
    [
        ("word " * 600, {}, "input", "context_length_exceeded"),
        (["fine", "word " * 600], {}, "input", "context_length_exceeded"),
        ("", {}, "input", None),
        ([], {}, "input", None),
        ([[101, 30522]], {}, "input", None),
        (["a"] * 2049, {}, "input", None),
        ("a", {"dimensions": 128}, "dimensions", None),
    ],
)
async def test_what_is_refused_is_free(
    customer: Customer, given: Any, fields: dict[str, Any], param: str, code: str | None
) -> None:
    with pytest.raises(openai.BadRequestError) as refusal:
        customer.embed(given, **fields)
    assert refusal.value.param == param
    assert code is None or refusal.value.code == code
    await eventually(lambda: customer.balance() == (0, 0))
    # The runner serves the next one.
    assert customer.embed("fine").data[0].embedding
    assert customer.mesh.command_now("ledger", "audit")["violations"] == []


async def test_a_model_of_another_kind_is_refused(customer: Customer) -> None:
    with pytest.raises(openai.BadRequestError, match="use it with /v1/chat/completions"):
        customer.client.embeddings.create(model="tiermesh-pro", input="a")
    with pytest.raises(openai.BadRequestError, match="use it with /v1/embeddings"):
        customer.client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "a"}])
    assert customer.balance() == (0, 0)


async def test_a_key_without_the_scope_is_refused(customer: Customer) -> None:
    key = customer.new_key("--endpoint", "chat")["api_key"]
    with pytest.raises(openai.PermissionDeniedError):
        customer.client.with_options(api_key=key).embeddings.create(model=MODEL, input="a")


async def test_a_client_that_leaves_frees_the_slot_and_pays_nothing(customer: Customer) -> None:
    with pytest.raises(openai.APITimeoutError):
        customer.client.with_options(timeout=0.5).embeddings.create(model=MODEL, input=LONG)
    await eventually(lambda: not any(runner["active"] for runner in customer.mesh.command_now("runners")))
    await eventually(lambda: customer.balance() == (0, 0))


@pytest.fixture
async def second(mesh: LocalMesh, tmp_path: Path) -> AsyncIterator[ServiceProcess]:
    """A second runner for embeddings."""
    fields = {"engine": "minilm", "tier": "embedding", **mesh.etcd_settings}
    async with ForkedServiceProcess("runner", tmp_path, fields) as runner:
        await eventually(lambda: len(_runners(mesh)) == 2)
        yield runner


def _runners(mesh: LocalMesh) -> list[dict[str, Any]]:
    return [runner for runner in mesh.command_now("runners") if runner["tier"] == "embedding"]


async def test_a_request_whose_runner_dies_is_served_by_another(customer: Customer, second: ServiceProcess) -> None:
    mesh = customer.mesh
    embedding = asyncio.create_task(asyncio.to_thread(customer.embed, LONG))
    await eventually(lambda: any(runner["active"] for runner in _runners(mesh)))
    busy = next(runner for runner in _runners(mesh) if runner["active"])
    if busy["address"] == second.address:
        await second.kill()
    else:
        mesh.kill("runner-embedding")
    response = await embedding
    assert [entry.index for entry in response.data] == list(range(len(LONG)))
    assert all(len(entry.embedding) == 384 for entry in response.data)
    assert customer.balance() == (PRICE, 0)

"""A runner that takes requests and makes no progress with them, or answers with what it was not asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from services.common.errors import Code, MeshError
from services.common.etcd import EtcdClient
from services.runner.engines.simulated import spelling
from tests.support.account import FundedAccount
from tests.support.deadlines import stretched
from tests.support.mesh import LocalMesh
from tests.support.runner_stub import RunnerStub
from tests.support.waiting import eventually
from tiermesh.runner.v1 import runner_pb2
from tiermesh.runner.v1.runner_pb2 import GenerateCall, GenerateReply

SILENCE = 3.0
CATALOG = f"""
models:
  - {{id: tiermesh-pro, kind: chat, tier: pro, price: 10, context: 4096, silence_seconds: {SILENCE:g}}}
"""
# Longer than the silence that is allowed: a runner that works on a prompt is not silent.
PREFILL_SPEED = "400"
SETTINGS = {"TIERMESH_RUNNER_SIMULATED_PREFILL_SPEED": PREFILL_SPEED}
TOKENS = 4


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    folder = tmp_path_factory.mktemp("liveness")
    (folder / "models.yaml").write_text(CATALOG)
    with LocalMesh(folder, "--models", str(folder / "models.yaml"), "--slots", "32", environ=SETTINGS) as mesh:
        yield mesh


@pytest.fixture
async def client(mesh: LocalMesh) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=mesh.base_url, api_key=mesh.unlimited_key, max_retries=0) as client:
        yield client


@asynccontextmanager
async def stand_in(
    mesh: LocalMesh, runner_id: str, *, slots: int = 1_000_000, vocabulary: str = ""
) -> AsyncIterator[RunnerStub]:
    """Adds a runner to the mesh that does as the test says."""
    settings = mesh.etcd_settings
    etcd = EtcdClient(
        [mesh.etcd_endpoint], username=settings.get("etcd_username", ""), password=settings.get("etcd_password", "")
    )
    stub = RunnerStub(etcd, runner_id, models=("tiermesh-pro",), slots=slots, vocabulary=vocabulary)
    try:
        await stub.start()
        stub.register()
        await eventually(lambda: state(mesh, stub) == "ready")
        yield stub
    finally:
        await stub.close()
        await etcd.close()


def hello(number: int = 0) -> Any:
    """Returns a request; others begin otherwise, so that none is warm anywhere."""
    messages = [{"role": "user", "content": f"{number} Hi"}]
    return {"model": "tiermesh-pro", "messages": messages, "max_tokens": TOKENS}


def state(mesh: LocalMesh, stub: RunnerStub) -> str:
    return str(next((view["state"] for view in mesh.command_now("runners") if view["id"] == stub.id), ""))


@pytest.mark.parametrize("honest", [False, True], ids=["never busy", "counts its calls"])
async def test_a_runner_that_swallows_requests_is_out_after_the_second(
    mesh: LocalMesh, client: openai.AsyncOpenAI, honest: bool
) -> None:
    async with stand_in(mesh, f"swallower-{honest}", slots=8 if honest else 1_000_000) as stub:
        stub.counts = honest
        began = time.monotonic()
        answers = await asyncio.gather(*(client.chat.completions.create(**hello(number)) for number in range(16)))
        assert {answer.choices[0].finish_reason for answer in answers} == {"length"}
        assert time.monotonic() - began < stretched(3 * SILENCE)
        # However many slots it advertises, it gets only a few requests before it has shown progress.
        assert 2 <= len(stub.taken) <= 8
        await eventually(lambda: state(mesh, stub) == "ejected")
        taken = len(stub.taken)
        for number in range(10):
            await client.chat.completions.create(**hello(number))
        assert len(stub.taken) == taken


async def test_reading_a_long_prompt_is_progress(mesh: LocalMesh, client: openai.AsyncOpenAI) -> None:
    words = int(2 * SILENCE * float(PREFILL_SPEED))
    answer = await client.chat.completions.create(
        **hello() | {"messages": [{"role": "user", "content": "word " * words}]}
    )
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > words


@pytest.mark.parametrize(
    "reply",
    [
        {"image": b"image", "finish_reason": runner_pb2.FINISH_REASON_STOP},
        {"text": "word " * 5, "token_ids": range(5), "finish_reason": runner_pb2.FINISH_REASON_LENGTH},
        {"text": "x" * 1_000_000, "finish_reason": runner_pb2.FINISH_REASON_LENGTH},
        # Beyond what a frame may have.
        {"text": "x" * 64_000_000, "finish_reason": runner_pb2.FINISH_REASON_LENGTH},
    ],
    ids=["another kind", "too many tokens", "too much text", "too large a frame"],
)
async def test_what_was_not_asked_for_is_neither_delivered_nor_charged(mesh: LocalMesh, reply: dict[str, Any]) -> None:
    def answer(call: GenerateCall) -> list[GenerateReply]:
        return [GenerateReply(id=call.id, **reply)]

    customer = FundedAccount(mesh)
    key = customer.new_key()["api_key"]
    async with stand_in(mesh, "intruder") as stub:
        stub.answer = answer
        async with openai.AsyncOpenAI(base_url=mesh.base_url, api_key=key, max_retries=0) as client:
            answers = 0
            while not stub.taken:
                # Each is answered by the honest runner in the end.
                completion = await client.chat.completions.create(**hello(answers))
                assert completion.choices[0].message.content
                assert completion.usage is not None
                assert completion.usage.completion_tokens == TOKENS
                answers += 1
        await eventually(lambda: mesh.command_now("balance", customer.account)["held"] == 0)
        assert mesh.command_now("balance", customer.account)["available"] == 1_000 - 10 * answers


@pytest.mark.parametrize(
    ("vocabulary", "text"),
    [
        ("another", "Paris is the"),
        ("", "Paris is the"),
        (spelling.VOCABULARY, "Paris is the"),
        (spelling.VOCABULARY, None),
    ],
    ids=["another vocabulary", "no vocabulary", "other words", "the same words"],
)
async def test_tokens_are_continued_only_where_they_spell_what_was_sent(
    mesh: LocalMesh, vocabulary: str, text: str | None
) -> None:
    token_ids = [300, 1, 2]
    spelled = spelling.detokenize(token_ids)

    def break_off(call: GenerateCall) -> list[GenerateReply]:
        error = MeshError(Code.UNAVAILABLE, "the engine was interrupted")
        step = GenerateReply(id=call.id, text=text or spelled, token_ids=token_ids)
        return [step, GenerateReply(id=call.id, error=error.to_proto())]

    customer = FundedAccount(mesh)
    key = customer.new_key()["api_key"]
    texts, failures = [], 0
    async with stand_in(mesh, f"speaker-{vocabulary}-{text is None}", vocabulary=vocabulary) as stub:
        stub.answer = break_off
        async with openai.AsyncOpenAI(base_url=mesh.base_url, api_key=key, max_retries=0) as client:
            while not stub.taken:
                texts.append("")
                stream = await client.chat.completions.create(**hello(len(texts)), stream=True)
                try:
                    async for chunk in stream:
                        texts[-1] += chunk.choices[0].delta.content or ""
                except openai.APIError:
                    failures += 1
    # What was sent came from the stand-in alone, or was continued.
    assert failures == (0 if text is None else 1)
    assert texts[-1].startswith(text or spelled)
    assert len(texts[-1]) > len(spelled) if text is None else texts[-1] == text
    await eventually(lambda: mesh.command_now("balance", customer.account)["held"] == 0)
    assert mesh.command_now("balance", customer.account)["available"] == 1_000 - 10 * (len(texts) - failures)

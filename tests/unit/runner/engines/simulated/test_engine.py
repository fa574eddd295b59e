"""The simulated engine's own properties; what every engine must do is in the integration tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.common.errors import Code, MeshError
from services.runner.engines.simulated import SimulatedEngine
from services.runner.kinds.base import FinishReason
from services.runner.kinds.text.job import Job, Sampling, Step
from tests.support.deadlines import within
from tests.support.recording import Recording, generate, submit


def job(prompt: str = "tell me a story", **fields: object) -> Job:
    return Job("request", prompt, Sampling(), **fields)  # type: ignore[arg-type] # fields are those of Job


@pytest.fixture
async def engine() -> AsyncIterator[SimulatedEngine]:
    engine = SimulatedEngine(slots=4, context=200)
    await engine.start()
    yield engine
    await engine.close()


async def test_the_voice_ends_by_itself_and_says_the_same_in_every_engine(engine: SimulatedEngine) -> None:
    first = await generate(engine, job())
    other = SimulatedEngine()
    await other.start()
    assert (await generate(other, job())).text == first.text
    assert first.finish is FinishReason.STOP
    assert 16 <= len(first.token_ids) <= 64
    assert (await generate(engine, job("another one"))).text != first.text


@pytest.mark.parametrize("limit", [8_000, 32_000, 1_000_000])
async def test_a_limit_that_only_bounds_an_answer_does_not_make_it_long(limit: int) -> None:
    roomy = SimulatedEngine(context=131_072)
    await roomy.start()
    bounded, free = await generate(roomy, job(max_tokens=limit)), await generate(roomy, job())
    assert (bounded.text, bounded.finish) == (free.text, FinishReason.STOP)
    wished = await generate(roomy, job(max_tokens=4_096))
    assert (len(wished.token_ids), wished.finish) == (4_096, FinishReason.LENGTH)


async def test_all_jobs_advance_in_one_turn_of_the_event_loop(engine: SimulatedEngine) -> None:
    turn = 0
    turns: list[list[int]] = [[], [], []]

    def count_turns() -> None:
        nonlocal turn
        turn += 1
        asyncio.get_running_loop().call_soon(count_turns)

    count_turns()
    done = asyncio.Event()

    def receiver(at: int) -> None:
        def emit(step: Step | MeshError) -> None:
            turns[at].append(turn)
            if isinstance(step, Step) and step.finish_reason and engine.active == 0:
                done.set()

        engine.submit(job(f"prompt {at}", max_tokens=10), emit)

    for at in range(3):
        receiver(at)
    async with within(10):
        await done.wait()
    assert turns[0] == turns[1] == turns[2]
    assert len(set(turns[0])) == 10


async def test_speed_and_prefill_set_the_pace() -> None:
    engine = SimulatedEngine(tokens_per_second=200, prefill_tokens_per_second=40)
    await engine.start()
    loop = asyncio.get_running_loop()
    began = loop.time()
    recording = submit(engine, job("one two three four", max_tokens=11))
    await recording.tokens(1)
    assert loop.time() - began >= 0.1
    await recording.end()
    assert loop.time() - began >= 0.1 + 10 / 200 - 0.01


async def test_a_short_prompt_does_not_wait_behind_a_long_one() -> None:
    engine = SimulatedEngine(prefill_tokens_per_second=10)
    await engine.start()
    slow = submit(engine, job("word " * 1000))
    await generate(engine, job("", max_tokens=3))
    assert not slow.steps
    slow.cancel()
    assert engine.active == 0


async def test_it_fails_when_it_is_told_to() -> None:
    engine = SimulatedEngine(fail_after_tokens=5, failure=Code.UNAVAILABLE)
    await engine.start()
    recording = submit(engine, job(max_tokens=20))
    with pytest.raises(MeshError) as failure:
        await recording.end()
    assert failure.value.code is Code.UNAVAILABLE
    assert len(recording.token_ids) == 5
    resumed = submit(engine, job(max_tokens=8, resume_token_ids=tuple(recording.token_ids)))
    assert len((await resumed.end()).token_ids) == 3


async def test_a_receiver_may_cancel_its_neighbour(engine: SimulatedEngine) -> None:
    neighbours: list[Recording] = []

    def first(step: Step | MeshError) -> None:
        neighbours[0].cancel()

    engine.submit(job("a"), first)
    second = submit(engine, job("b"))
    neighbours.append(second)
    third = await generate(engine, job("c"))
    assert second.late == 0
    assert not second.steps
    assert third.ends == 1


async def test_own_cpu_time_excludes_the_receivers(engine: SimulatedEngine) -> None:
    def emit(step: Step | MeshError) -> None:
        sum(range(200_000))
        if isinstance(step, Step) and step.finish_reason:
            done.set()

    done = asyncio.Event()
    engine.submit(job(max_tokens=10), emit)
    async with within(30):
        await done.wait()
    # The receivers need tens of milliseconds.
    assert 0 < engine.cpu_seconds < 0.01

"""Jobs of libraries that block: each ends exactly once, whatever its work does."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable

import pytest

from services.common.errors import Code, MeshError
from services.runner.engines.threaded import ThreadedEngine, ThreadedJob, ThreadedJobs
from services.runner.kinds.base import FinishReason
from services.runner.kinds.text.job import Step
from services.runner.status import StatusBoard
from tests.support.deadlines import within
from tests.support.waiting import eventually

Work = Callable[[ThreadedJob[Step]], None]
LAST = Step("end", finish_reason=FinishReason.STOP)


@pytest.fixture
async def jobs() -> AsyncIterator[ThreadedJobs[Step]]:
    jobs: ThreadedJobs[Step] = ThreadedJobs("test", slots=2)
    await jobs.load(lambda: None)
    yield jobs
    await jobs.close()


async def finished(jobs: ThreadedJobs[Step], work: Work) -> list[Step | MeshError]:
    steps: list[Step | MeshError] = []
    jobs.submit(work, steps.append)
    await eventually(lambda: not jobs.active)
    return steps


def waits_for(event: threading.Event) -> Work:
    def work(job: ThreadedJob[Step]) -> None:
        event.wait(10)

    return work


def code(step: Step | MeshError) -> Code:
    assert isinstance(step, MeshError)
    return step.code


async def test_steps_arrive_in_order_and_nothing_after_the_last(jobs: ThreadedJobs[Step]) -> None:
    def work(job: ThreadedJob[Step]) -> None:
        for step in (Step("a"), Step("b"), LAST, Step("late")):
            job.produce(step)

    assert await finished(jobs, work) == [Step("a"), Step("b"), LAST]


async def test_an_exception_ends_its_job_and_no_other(jobs: ThreadedJobs[Step]) -> None:
    def broken(job: ThreadedJob[Step]) -> None:
        raise ValueError("the prompt")

    def refusing(job: ThreadedJob[Step]) -> None:
        raise MeshError(Code.INVALID_REQUEST, "no")

    assert [code(step) for step in await finished(jobs, broken)] == [Code.INTERNAL]
    assert [code(step) for step in await finished(jobs, refusing)] == [Code.INVALID_REQUEST]
    assert await finished(jobs, lambda job: job.produce(LAST)) == [LAST]


async def test_work_without_a_result_is_an_error(jobs: ThreadedJobs[Step]) -> None:
    assert [code(step) for step in await finished(jobs, lambda job: None)] == [Code.INTERNAL]


async def test_a_cancelled_job_falls_silent_at_once_and_frees_its_slot_when_its_work_has_stopped(
    jobs: ThreadedJobs[Step],
) -> None:
    freed: list[int] = []
    jobs.on_freed = lambda: freed.append(jobs.active)
    started, go = threading.Event(), threading.Event()
    seen: list[bool] = []

    def work(job: ThreadedJob[Step]) -> None:
        started.set()
        go.wait(10)
        seen.append(job.cancelled)
        job.produce(LAST)

    steps: list[Step | MeshError] = []
    job = jobs.submit(work, steps.append)
    await eventually(started.is_set)
    job.cancel()
    job.cancel()
    # The library still computes, so a machine that could do two jobs can do one more only.
    assert jobs.active == 1
    other = jobs.submit(waits_for(go), lambda step: None)
    with pytest.raises(MeshError) as caught:
        jobs.submit(work, steps.append)
    assert caught.value.code is Code.OVERLOADED
    go.set()
    await eventually(lambda: not jobs.active)
    assert (steps, seen) == ([], [True])
    # Routers must be told: nothing else says that a slot is free again. What ended by itself says so by its last step.
    assert freed == [1]
    other.cancel()


class Engine(ThreadedEngine[None, Step]):
    """An engine of one slot whose library computes until it may go on."""

    def __init__(self) -> None:
        super().__init__("test", "speech", ThreadedJobs("test", slots=1))
        self.go = threading.Event()

    def _load(self) -> None:
        pass

    def _work(self, job: None, running: ThreadedJob[Step]) -> None:
        self.go.wait(10)


async def test_routers_hear_of_a_slot_when_it_is_really_free() -> None:
    engine = Engine()
    await engine.start()
    statuses = StatusBoard("runner", engine).watch()
    job = engine.submit(None, lambda step: None)
    job.cancel()
    assert (await anext(statuses)).active == 1
    engine.go.set()
    async with within(10):
        assert (await anext(statuses)).active == 0
    await statuses.aclose()  # type: ignore[attr-defined] # it is a generator
    await engine.close()


async def test_a_job_that_is_cancelled_before_its_turn_is_not_worked_on(jobs: ThreadedJobs[Step]) -> None:
    go = threading.Event()
    worked: list[ThreadedJob[Step]] = []
    jobs.submit(waits_for(go), lambda step: None)
    jobs.submit(worked.append, lambda step: None).cancel()
    assert jobs.active == 2
    go.set()
    await eventually(lambda: not jobs.active)
    assert worked == []


async def test_more_jobs_than_slots_are_refused(jobs: ThreadedJobs[Step]) -> None:
    go = threading.Event()
    for _ in range(2):
        jobs.submit(waits_for(go), lambda step: None)
    with pytest.raises(MeshError) as caught:
        jobs.submit(lambda job: None, lambda step: None)
    assert caught.value.code is Code.OVERLOADED
    go.set()
    await eventually(lambda: not jobs.active)


async def test_closing_ends_what_runs_and_what_waits() -> None:
    jobs: ThreadedJobs[Step] = ThreadedJobs("test", slots=2)
    await jobs.load(lambda: None)
    steps: list[Step | MeshError] = []

    def work(job: ThreadedJob[Step]) -> None:
        while not job.cancelled:
            pass

    for _ in range(2):
        jobs.submit(work, steps.append)
    await jobs.close()
    assert [code(step) for step in steps] == [Code.UNAVAILABLE] * 2
    assert not jobs.healthy
    with pytest.raises(MeshError, match="not running"):
        jobs.submit(work, steps.append)


async def test_it_is_healthy_while_jobs_make_progress() -> None:
    now = 0.0
    jobs: ThreadedJobs[Step] = ThreadedJobs("test", slots=1, stall_seconds=10, clock=lambda: now)
    assert not jobs.healthy
    await jobs.load(lambda: None)
    go = threading.Event()
    jobs.submit(waits_for(go), lambda step: None)
    health = [jobs.healthy]
    now = 10.0
    health.append(jobs.healthy)
    go.set()
    await eventually(lambda: not jobs.active)
    assert [*health, jobs.healthy] == [True, False, True]
    await jobs.close()

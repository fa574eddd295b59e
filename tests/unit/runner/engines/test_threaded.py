"""Jobs of libraries that block: each ends exactly once, whatever its work does."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable

import pytest

from services.common.errors import Code, MeshError
from services.runner.engines.threaded import ThreadedJob, ThreadedJobs
from services.runner.job import FinishReason, Step
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


async def test_a_cancelled_job_frees_its_slot_at_once_and_its_work_notices(jobs: ThreadedJobs[Step]) -> None:
    started, noticed = threading.Event(), threading.Event()

    def work(job: ThreadedJob[Step]) -> None:
        started.set()
        while not job.cancelled:
            pass
        noticed.set()

    steps: list[Step | MeshError] = []
    job = jobs.submit(work, steps.append)
    await eventually(started.is_set)
    job.cancel()
    job.cancel()
    assert jobs.active == 0
    await eventually(noticed.is_set)
    assert steps == []


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

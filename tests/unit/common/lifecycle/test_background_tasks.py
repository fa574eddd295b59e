from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.common.lifecycle.background_tasks import BackgroundTaskError, BackgroundTasks
from tests.support.waiting import eventually

Logs = list[MutableMapping[str, Any]]


@pytest.fixture
def logs() -> Iterator[Logs]:
    with capture_logs() as logs:
        yield logs


async def wait_for_ever() -> None:
    await asyncio.Event().wait()


async def return_at_once() -> None:
    pass


async def raise_at_once() -> None:
    raise KeyError("a secret")


class World:
    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.deaths = 0
        self.tasks = BackgroundTasks(self.stop, self._die)

    def _die(self) -> None:
        self.deaths += 1
        self.stop.set()


@pytest.fixture
async def world() -> World:
    return World()


@pytest.mark.parametrize(("work", "how"), [(return_at_once, "returned"), (raise_at_once, "raised")])
async def test_a_task_that_ends_by_itself_has_died(
    world: World, logs: Logs, work: Callable[[], Coroutine[None, None, None]], how: str
) -> None:
    world.tasks.start("sweeper", work())
    other = world.tasks.start("other", wait_for_ever())
    await eventually(world.stop.is_set)
    told = [(each["event"], each["log_level"], each["task"], each["how"]) for each in logs]
    assert told == [("background_task_died", "critical", "sweeper", how)]
    # What is to be drained may need the others.
    assert not other.done()
    await world.tasks.end()
    assert other.cancelled()
    with pytest.raises(BackgroundTaskError, match=r"^the background task sweeper died$"):
        world.tasks.check()


async def test_a_task_that_somebody_else_cancels_has_died(world: World, logs: Logs) -> None:
    world.tasks.start("sweeper", wait_for_ever()).cancel()
    await eventually(world.stop.is_set)
    assert [(each["task"], each["how"]) for each in logs] == [("sweeper", "was cancelled")]
    with pytest.raises(BackgroundTaskError):
        world.tasks.check()


async def test_the_end_of_a_process_is_no_death(world: World, logs: Logs) -> None:
    task = world.tasks.start("sweeper", wait_for_ever())
    world.stop.set()
    # A service may end a task before the others.
    world.tasks.start("first", wait_for_ever()).cancel()
    await world.tasks.end()
    assert task.cancelled()
    world.tasks.check()
    assert (world.deaths, logs) == (0, [])


async def test_a_task_that_fails_while_it_is_being_ended_has_died(world: World, logs: Logs) -> None:
    began = asyncio.Event()

    async def fail_to_end() -> None:
        try:
            began.set()
            await wait_for_ever()
        finally:
            raise KeyError("a secret")

    world.tasks.start("sweeper", fail_to_end())
    await began.wait()
    world.stop.set()
    await world.tasks.end()
    assert [(each["task"], each["how"]) for each in logs] == [("sweeper", "raised")]
    with pytest.raises(BackgroundTaskError):
        world.tasks.check()


async def test_the_first_death_is_the_one_that_is_raised(world: World, logs: Logs) -> None:
    world.tasks.start("first", raise_at_once())
    world.tasks.start("second", raise_at_once())
    await eventually(lambda: world.deaths == 2)
    assert [each["task"] for each in logs] == ["first", "second"]
    with pytest.raises(BackgroundTaskError, match="first"):
        world.tasks.check()

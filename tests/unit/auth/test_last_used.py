from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from structlog.testing import capture_logs

from services.auth.last_used import BATCH, LastUsed
from services.common.errors import Code, MeshError
from tests.support.waiting import eventually


class Written:
    """Remembers what it is given, and fails as often as it is told to."""

    def __init__(self) -> None:
        self.batches: list[dict[str, int]] = []
        self.failures = 0
        self.error: Exception = MeshError(Code.UNAVAILABLE, "the database is away")

    async def set_last_used(self, times_ms: Mapping[str, int]) -> None:
        if self.failures:
            self.failures -= 1
            raise self.error
        self.batches.append(dict(times_ms))


async def test_only_the_last_use_is_written_and_only_once() -> None:
    written = Written()
    last_used = LastUsed(written, 60)
    for moment in (1, 2, 3):
        last_used.note("key_1", moment)
    last_used.note("key_2", 2)
    await last_used.flush()
    await last_used.flush()
    assert written.batches == [{"key_1": 3, "key_2": 2}]


async def test_many_keys_are_written_in_several_transactions() -> None:
    written = Written()
    last_used = LastUsed(written, 60)
    for number in range(BATCH + 1):
        last_used.note(f"key_{number}", 1)
    await last_used.flush()
    assert [len(batch) for batch in written.batches] == [BATCH, 1]


async def test_what_could_not_be_written_waits_and_a_later_use_wins() -> None:
    written = Written()
    last_used = LastUsed(written, 60)
    last_used.note("key_1", 1)
    last_used.note("key_2", 1)
    written.failures = 1
    with pytest.raises(MeshError):
        await last_used.flush()
    last_used.note("key_2", 5)
    await last_used.flush()
    assert written.batches == [{"key_1": 1, "key_2": 5}]


@pytest.mark.parametrize("error", [MeshError(Code.UNAVAILABLE, "the database is away"), KeyError("a defect")])
async def test_it_is_written_in_the_background_and_failures_end_nothing(error: Exception) -> None:
    written = Written()
    written.error = error
    written.failures = 2
    last_used = LastUsed(written, 0.001)
    last_used.note("key_1", 1)
    with capture_logs() as logs:
        running = asyncio.create_task(last_used.run())
        await eventually(lambda: written.batches == [{"key_1": 1}])
    running.cancel()
    assert [entry["event"] for entry in logs] == ["last_used_not_written"] * 2


async def test_the_end_is_not_held_up_by_a_database_that_is_away() -> None:
    written = Written()
    written.failures = 1
    last_used = LastUsed(written, 60)
    last_used.note("key_1", 1)
    with capture_logs() as logs:
        await last_used.drain(1)
    assert logs[0]["reason"] == "the database is away"

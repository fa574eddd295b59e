from __future__ import annotations

from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from services.common.errors import Code, MeshError
from services.console.freshness import Freshness
from services.console.operators.actions import Actions
from services.console.visit import Visit
from tiermesh.auth.v1 import operators_pb2

NOW = 1_000_000.0


class Record:
    """Notes what is to be recorded; `failing` are the requests that find nobody."""

    def __init__(self, *failing: type) -> None:
        self.begun: list[operators_pb2.BeginActionRequest] = []
        self.ended: list[operators_pb2.EndActionRequest] = []
        self._failing = failing

    async def call(self, method: Any, request: Any) -> None:
        del method
        if isinstance(request, self._failing):
            raise MeshError(Code.UNAVAILABLE, "Auth cannot be reached.")
        (self.begun if isinstance(request, operators_pb2.BeginActionRequest) else self.ended).append(request)


def visit(age: float = 0.0) -> Visit:
    session = operators_pb2.OperatorSession(confirmed_at_ms=round((NOW - age) * 1000))
    return Visit(make_mocked_request("POST", "/"), "the token", session)


def actions(record: Record) -> Actions:
    return Actions(cast("Any", record), Freshness(300, lambda: NOW, form_seconds=0))


async def run(record: Record, error: BaseException | None = None, age: float = 0.0) -> bool:
    """Does something that is recorded, and returns whether it was done."""
    began = False
    async with actions(record).recorded(visit(age), "drain_runner", "a-runner", "why", page="/runners") as act:
        # Recorded first.
        assert [each.action_id for each in record.begun] != []
        began = True
        act.message = "it went well"
        if error is not None:
            raise error
    return began


async def test_what_is_done_is_recorded_before_and_after() -> None:
    record = Record()
    assert await run(record)
    [begun], [ended] = record.begun, record.ended
    assert (begun.session_token, begun.action, begun.subject, begun.detail) == (
        *("the token", "drain_runner", "a-runner", "why"),
    )
    assert (ended.action_id, ended.outcome, ended.message) == (begun.action_id, "done", "it went well")


@pytest.mark.parametrize(
    ("error", "outcome", "message"),
    [
        (MeshError(Code.NOT_FOUND, "no such runner"), "refused", "no such runner"),
        (MeshError(Code.INVALID_REQUEST, "wrong"), "refused", "wrong"),
        (MeshError(Code.UNAVAILABLE, "away"), "unknown", "away"),
        (MeshError(Code.DEADLINE_EXCEEDED, "late"), "unknown", "late"),
        (MeshError(Code.INTERNAL, "defect"), "unknown", "defect"),
        (TimeoutError(), "unknown", "it went well"),
        (RuntimeError("a defect with a secret"), "unknown", "it went well"),
    ],
)
async def test_what_fails_is_recorded_as_it_failed(error: BaseException, outcome: str, message: str) -> None:
    record = Record()
    with pytest.raises(type(error)):
        await run(record, error)
    [ended] = record.ended
    assert (ended.outcome, ended.message) == (outcome, message)


async def test_nothing_is_done_that_cannot_be_recorded() -> None:
    record, done = Record(operators_pb2.BeginActionRequest), False
    with pytest.raises(MeshError):
        async with actions(record).recorded(visit(), "drain_runner", page="/runners"):
            done = True
    assert (done, record.ended) == (False, [])


async def test_what_is_done_stays_done_if_its_outcome_cannot_be_recorded() -> None:
    record = Record(operators_pb2.EndActionRequest)
    assert await run(record)
    assert len(record.begun) == 1


async def test_nothing_is_recorded_or_done_with_a_key_that_was_shown_long_ago() -> None:
    record = Record()
    assert await run(record, age=299)
    with pytest.raises(web.HTTPSeeOther) as redirected:
        await run(Record(), age=301)
    assert redirected.value.location == "/confirm?next=/runners"

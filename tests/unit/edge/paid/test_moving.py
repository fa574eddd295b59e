"""A choice moves away from a runner that makes no progress or sends what it was not asked for, and the router hears."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

import pytest

from services.common.catalog import Kind
from services.common.errors import Code, MeshError
from services.common.text_digest import text_digest
from services.common.text_steps import AnyReply
from services.edge.paid.generation import Generation
from services.edge.paid.progress import FIRST_CALLS, TICK, ProgressWatch
from services.edge.paid.routing import Assignment, Placer
from services.edge.paid.runners import RunnerPool
from tests.support.deadlines import within
from tests.support.waiting import eventually
from tests.unit.edge.backend import MODELS
from tiermesh.router.v1 import router_pb2
from tiermesh.runner.v1 import runner_pb2
from tiermesh.runner.v1.runner_pb2 import GenerateCall, GenerateReply

STALLED, FAILED = router_pb2.Attempt.RESULT_STALLED, router_pb2.Attempt.RESULT_FAILED
LENGTH = runner_pb2.FINISH_REASON_LENGTH
Result: TypeAlias = router_pb2.Attempt.Result.ValueType


class World:
    """Router and runners, named 0, 1, 2 in the order in which they are chosen; the test sends what they send."""

    def __init__(self, kind: Kind = "chat", vocabulary: str = "", **call: Any) -> None:
        self.now = 0.0
        self.watch = ProgressWatch(lambda: self.now)
        # What the router was told, with each choice or by itself.
        self.told: list[tuple[str, Result]] = []
        self.calls: list[GenerateCall] = []
        self.cancelled: list[int] = []
        self._sinks: list[Callable[[Any], None]] = []
        self._chosen = 0
        self.answer = Generation(
            model=MODELS[kind],
            account_id="account",
            capabilities=(),
            placer=cast("Placer", self),
            runners=cast("RunnerPool", self),
            progress=self.watch,
            queue_timeout=30.0,
            request_timeout=600.0,
            deadline=600.0,
            clock=lambda: self.now,
        )
        # What was asked for at each move.
        self.vocabularies: list[str] = []
        self.answer.start([GenerateCall(**call)], Assignment("0", "address", vocabulary=vocabulary))

    async def place(self, *_: Any, attempts: Sequence[router_pb2.Attempt], vocabulary: str, **__: Any) -> Assignment:
        self.vocabularies.append(vocabulary)
        self.told.append((attempts[-1].runner_id, attempts[-1].result))
        self._chosen += 1
        return Assignment(str(self._chosen), "address")

    def report(self, attempt: router_pb2.Attempt, _request_id: str) -> None:
        self.told.append((attempt.runner_id, attempt.result))

    def get(self, *_: object) -> World:
        return self

    def start(self, call: GenerateCall, sink: Callable[[Any], None], _timeout: float) -> int:
        sent = GenerateCall()
        sent.CopyFrom(call)
        self.calls.append(sent)
        self._sinks.append(sink)
        return len(self.calls)

    def cancel(self, call_id: int) -> None:
        self.cancelled.append(call_id)

    def send(self, **reply: Any) -> None:
        """Sends a reply from the runner that has the call."""
        self._sinks[-1](GenerateReply(**reply))

    async def until_moved(self, moves: int) -> None:
        await eventually(lambda: len(self.calls) == moves + 1)

    def be_silent(self, seconds: float = MODELS["chat"].silence_seconds + TICK) -> None:
        for _ in range(round(seconds / TICK)):
            self.now += TICK
            self.watch.look()

    async def end(self) -> AnyReply | Exception:
        async with within(10):
            events = await self.answer.events()
        return events[-1].reply


async def test_a_call_that_its_runner_swallows_moves_and_the_router_hears() -> None:
    world = World()
    world.be_silent()
    await world.until_moved(1)
    assert world.cancelled == [1]
    assert world.told == [("0", STALLED)]
    world.send(text="word", token_ids=[1], finish_reason=LENGTH)
    assert await world.end() == GenerateReply(text="word", token_ids=[1], finish_reason=LENGTH)


async def test_a_silence_after_some_tokens_moves_what_follows_them() -> None:
    world = World()
    world.send(text="word", token_ids=[1])
    world.be_silent()
    await world.until_moved(1)
    assert list(world.calls[-1].resume_token_ids) == [1]


async def test_reading_a_long_prompt_is_progress_and_no_step() -> None:
    world = World()
    for _ in range(5):
        world.be_silent(MODELS["chat"].silence_seconds - TICK)
        world.send(progress=True)
    assert not world.told
    assert not world.answer.started


async def test_a_request_that_runners_are_silent_about_takes_no_more_than_one_out_of_service() -> None:
    world = World()
    world.be_silent()
    await world.until_moved(1)
    world.be_silent()
    error = await world.end()
    assert isinstance(error, MeshError)
    assert error.code is Code.UNAVAILABLE
    assert world.told == [("0", STALLED)]


async def test_the_router_hears_of_a_silence_that_nobody_can_make_good() -> None:
    world = World("speech")
    world.send(audio=b"sound")
    world.be_silent()
    assert isinstance(await world.end(), MeshError)
    assert world.told == [("0", STALLED)]


async def test_a_runner_without_progress_is_believed_full_where_it_has_several_calls() -> None:
    world = World()
    for _ in range(FIRST_CALLS):
        world.watch.begin("1", 600.0, lambda: None)
    world.be_silent()
    # The router chooses runner 1, which gets no further call before it shows progress.
    await eventually(lambda: ("1", router_pb2.Attempt.RESULT_FULL) in world.told)


FOREIGN: list[tuple[Kind, dict[str, Any]]] = [
    ("chat", {"image": b"image"}),
    ("chat", {"image": b"image", "finish_reason": LENGTH}),
    ("chat", {"audio": b"sound"}),
    ("chat", {"embeddings": [runner_pb2.Embedding(values=[1.0])]}),
    ("chat", {"transcript": runner_pb2.Transcript(text="word"), "finish_reason": LENGTH}),
    ("image", {"text": "word"}),
    ("embedding", {"text": "word", "finish_reason": LENGTH}),
    ("speech", {"text": "word"}),
    ("transcription", {"audio": b"sound"}),
]
TOO_MUCH = [
    {"text": "word" * 3, "token_ids": [1, 2, 3]},
    {"text": "word" * 3, "token_ids": [1, 2, 3], "finish_reason": LENGTH},
    {"text": "x" * 1_000_000, "token_ids": [1]},
    {"text": "x" * 1_000_000},
    {"reasoning": "x" * 1_000_000},
    {"tool_calls": [runner_pb2.ToolCallDelta(arguments="x" * 1_000_000)]},
]


@pytest.mark.parametrize(
    ("kind", "reply"), [*FOREIGN, *(("chat", reply) for reply in TOO_MUCH)], ids=lambda value: str(value)[:40]
)
async def test_what_was_not_asked_for_is_a_failure_of_the_runner(kind: Kind, reply: dict[str, Any]) -> None:
    world = World(kind, max_tokens=2)
    world.send(**reply)
    await world.until_moved(1)
    assert (world.cancelled, world.told) == ([1], [("0", FAILED)])
    assert not world.answer.started
    world.send(**reply)
    error = await world.end()
    assert isinstance(error, MeshError)
    assert error.code is Code.INTERNAL


async def test_another_runner_goes_on_before_what_was_too_much() -> None:
    world = World(max_tokens=2)
    world.send(text="a", token_ids=[1])
    world.send(text="b", token_ids=[2])
    world.send(text="c", token_ids=[3])
    await world.until_moved(1)
    assert list(world.calls[-1].resume_token_ids) == [1, 2]
    world.send(finish_reason=LENGTH)
    await eventually(lambda: world.answer.complete)


async def test_what_follows_needs_a_runner_whose_tokens_spell_the_same() -> None:
    world = World(vocabulary="words")
    world.send(text="Par", token_ids=[1])
    world.send(reasoning="so", text="is", token_ids=[2])
    world.be_silent()
    await world.until_moved(1)
    assert world.vocabularies == ["words"]
    call = world.calls[-1]
    assert (list(call.resume_token_ids), call.resume_vocabulary) == ([1, 2], "words")
    assert call.resume_text_digest == text_digest("Parsois")


@pytest.mark.parametrize(("kind", "whole"), [("chat", True), ("transcription", False), ("chat", False)])
async def test_what_begins_again_may_go_anywhere(kind: Kind, whole: bool) -> None:
    world = World(kind, vocabulary="words", whole=whole)
    if kind == "transcription":
        world.send(text="word", token_ids=[1])
    elif whole:
        world.send(started=True)
    world.be_silent()
    await world.until_moved(1)
    assert world.vocabularies == [""]

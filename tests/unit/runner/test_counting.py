"""Counts wait for one thread, and answers wait for no count."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import pytest

from services.common.catalog import load_catalog
from services.common.errors import Code, MeshError
from services.common.settings import DEFAULT_CATALOG
from services.runner import counting as module
from services.runner.counting import MOST_BYTES, MOST_OF_ACCOUNT, MOST_WAITING, Counting
from services.runner.engines.simulated import SimulatedEngine
from services.runner.generation import Generation, RunnerStream
from services.runner.kinds.choice import prompt_counter, work_reader
from services.runner.status import StatusBoard
from tests.support.waiting import eventually
from tiermesh.runner.v1 import runner_pb2 as pb

MODEL = load_catalog(Path(DEFAULT_CATALOG)).models[0]


class Held:
    """Counts bytes, each time when it is let; says on which threads it was called."""

    def __init__(self) -> None:
        self.let = threading.Semaphore(0)
        self.begun: list[str] = []
        self.threads: set[int] = set()
        self.failure: Exception | None = None

    def count(self, call: pb.GenerateCall, _model: object) -> pb.TokenCount:
        self.begun.append(call.request_id)
        self.threads.add(threading.get_ident())
        self.let.acquire()
        if self.failure is not None:
            raise self.failure
        return pb.TokenCount(tokens=len(call.token_count.prompt))


def call(name: str, text: str = "abc", *, account: str = "one", number: int = 1) -> pb.GenerateCall:
    task = pb.TokenCountTask(prompt=text)
    return pb.GenerateCall(id=number, request_id=name, model=MODEL.id, cache_scope=account, token_count=task)


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
async def counting(held: Held) -> AsyncIterator[Counting]:
    counting = Counting(held)
    yield counting
    held.let.release(MOST_WAITING)
    await counting.close()


async def test_counts_come_in_order_from_one_thread_beside_the_event_loop(held: Held, counting: Counting) -> None:
    outcomes: list[pb.TokenCount | MeshError] = []
    for name in "abc":
        counting.submit(call(name, name * 3), MODEL, outcomes.append)
    await eventually(lambda: held.begun == ["a"])
    assert not outcomes
    held.let.release(3)
    await eventually(lambda: len(outcomes) == 3)
    assert outcomes == [pb.TokenCount(tokens=3)] * 3
    assert held.begun == ["a", "b", "c"]
    assert len(held.threads - {threading.get_ident()}) == 1


async def test_what_waits_is_bounded_for_each_account_and_for_all(held: Held, counting: Counting) -> None:
    outcomes: list[pb.TokenCount | MeshError] = []
    refusals: list[MeshError] = []

    def submit(account: str) -> bool:
        try:
            counting.submit(call("x", account=account), MODEL, outcomes.append)
        except MeshError as error:
            refusals.append(error)
            return False
        return True

    accounts = [str(number) for number in range(MOST_WAITING // MOST_OF_ACCOUNT + 1)]
    taken = [sum(submit(account) for _ in range(MOST_OF_ACCOUNT + 1)) for account in accounts]
    assert taken == [MOST_OF_ACCOUNT] * (len(accounts) - 1) + [0]
    assert {(error.code, error.retry_after) for error in refusals} == {(Code.OVERLOADED, 1.0)}
    held.let.release(1)
    await eventually(lambda: len(outcomes) == 1)
    assert submit("another")


async def test_what_waits_is_bounded_by_its_bytes(
    held: Held, counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    outcomes: list[pb.TokenCount | MeshError] = []
    # However large the first is, it is counted.
    counting.submit(call("large", "x" * 2000), MODEL, outcomes.append)
    with pytest.raises(MeshError) as refusal:
        counting.submit(call("small"), MODEL, outcomes.append)
    assert refusal.value.code is Code.OVERLOADED
    held.let.release(1)
    await eventually(lambda: len(outcomes) == 1)
    counting.submit(call("small"), MODEL, outcomes.append)
    assert MOST_BYTES >= 28 << 20, "a body with images would never be counted beside another one"


async def test_a_withdrawn_count_is_neither_made_nor_told(held: Held, counting: Counting) -> None:
    outcomes: list[pb.TokenCount | MeshError] = []
    tickets = [counting.submit(call(name), MODEL, outcomes.append) for name in ("runs", "waits", "stays")]
    await eventually(lambda: held.begun == ["runs"])
    for ticket in tickets[:2]:
        ticket.cancel()
        ticket.cancel()
    held.let.release(2)
    await eventually(lambda: len(outcomes) == 1)
    assert held.begun == ["runs", "stays"]


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (MeshError(Code.INVALID_REQUEST, "no", param="tools"), Code.INVALID_REQUEST),
        (ValueError("secret"), Code.INTERNAL),
    ],
    ids=["refused", "failed"],
)
async def test_a_failure_ends_its_own_count(
    held: Held, counting: Counting, failure: Exception, code: Code, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes: list[pb.TokenCount | MeshError] = []
    held.failure = failure
    held.let.release(1)
    counting.submit(call("wrong"), MODEL, outcomes.append)
    await eventually(lambda: len(outcomes) == 1)
    assert isinstance(outcomes[0], MeshError)
    assert outcomes[0].code is code
    assert "secret" not in outcomes[0].message + capsys.readouterr().out
    held.failure = None
    held.let.release(1)
    counting.submit(call("right"), MODEL, outcomes.append)
    await eventually(lambda: outcomes[1:] == [pb.TokenCount(tokens=3)])


class Stream:
    """Keeps the replies by call."""

    def __init__(self) -> None:
        self.replies: list[pb.GenerateReply] = []

    def reply(self, reply: pb.GenerateReply) -> None:
        self.replies.append(reply)

    def reply_error(self, call_id: int, error: MeshError) -> None:
        self.replies.append(pb.GenerateReply(id=call_id, error=error.to_proto()))

    def of(self, call_id: int) -> list[pb.GenerateReply]:
        return [reply for reply in self.replies if reply.id == call_id]


class Runner:
    """The calls of one edge on the simulated engine."""

    def __init__(self, engine: SimulatedEngine, counting: Counting) -> None:
        self.status = StatusBoard("runner", engine)
        self.stream = Stream()
        self._generation = Generation(engine, work_reader(engine), {MODEL.id: MODEL}, self.status, counting=counting)

    def send(self, *calls: pb.GenerateCall) -> None:
        self._generation.on_calls(calls, cast("RunnerStream", self.stream))

    def cancel(self, call_id: int) -> None:
        self._generation.on_cancel(call_id, cast("RunnerStream", self.stream))


def question(number: int, **fields: object) -> pb.GenerateCall:
    messages = [pb.Message(role="user", content="Name a colour, please.")]
    sampling = pb.Sampling(temperature=0, top_p=1)
    return pb.GenerateCall(id=number, model=MODEL.id, messages=messages, sampling=sampling, max_tokens=20, **fields)  # type: ignore[arg-type] # fields of the call


@pytest.fixture
async def new_runner() -> AsyncIterator[Callable[..., Runner]]:
    engine = SimulatedEngine(slots=2)
    await engine.start()
    opened: list[Counting] = []

    def new(counter: Held | None = None) -> Runner:
        opened.append(Counting(counter or cast("Held", prompt_counter(engine))))
        return Runner(engine, opened[-1])

    yield new
    for counting in opened:
        await counting.close()
    await engine.close()


async def test_answers_do_not_wait_for_counts(held: Held, new_runner: Callable[..., Runner]) -> None:
    runner = new_runner(held)
    flood = [call(str(number), account=str(number % 8), number=number) for number in range(100, 100 + MOST_WAITING + 5)]
    runner.send(*flood)
    runner.send(question(1), question(2))
    # Not one count ends meanwhile.
    await eventually(
        lambda: all(runner.stream.of(each)[-1:] and runner.stream.of(each)[-1].finish_reason for each in (1, 2))
    )
    assert len(held.begun) == 1
    refused = [reply.error for reply in runner.stream.replies if reply.HasField("error")]
    assert [Code(error.code) for error in refused] == [Code.OVERLOADED] * 5
    held.let.release(MOST_WAITING)
    await eventually(lambda: sum(reply.HasField("token_count") for reply in runner.stream.replies) == MOST_WAITING)


async def test_a_count_is_exact_and_takes_no_slot(new_runner: Callable[..., Runner]) -> None:
    runner = new_runner()
    before = runner.status.snapshot()
    runner.send(*(question(number) for number in (1, 2)), question(3), question(4, token_count=pb.TokenCountTask()))
    assert Code(runner.stream.of(3)[0].error.code) is Code.OVERLOADED
    await eventually(lambda: len(runner.stream.of(4)) == 1)
    (counted,) = runner.stream.of(4)
    await eventually(lambda: runner.stream.of(1)[-1].finish_reason != 0)
    assert counted.finish_reason == pb.FINISH_REASON_STOP
    assert counted.token_count.tokens == runner.stream.of(1)[-1].usage.prompt_tokens > 0
    assert not counted.token_count.token_ids
    assert runner.status.snapshot().admitted == before.admitted + 2


async def test_a_count_can_be_withdrawn_and_a_draining_runner_takes_none(
    held: Held, new_runner: Callable[..., Runner]
) -> None:
    runner = new_runner(held)
    runner.send(call("runs", number=1), call("withdrawn", number=2))
    await eventually(lambda: held.begun == ["runs"])
    runner.cancel(2)
    runner.status.drain()
    runner.send(call("late", number=3))
    assert Code(runner.stream.of(3)[0].error.code) is Code.UNAVAILABLE
    # What it has taken, it counts.
    held.let.release(2)
    await eventually(lambda: len(runner.stream.of(1)) == 1)
    assert runner.stream.of(1)[0].token_count.tokens == 3
    await asyncio.sleep(0)
    assert held.begun == ["runs"]
    assert not runner.stream.of(2)

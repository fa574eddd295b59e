"""A choice that runners refuse because they are full waits its time; one that runners fail is tried so often only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest

from services.common.catalog import Model, load_catalog
from services.common.errors import Code, MeshError
from services.common.settings import DEFAULT_CATALOG
from services.common.text_steps import AnyReply
from services.edge.paid.generation import MAX_FAILURES, Generation
from services.edge.paid.progress import ProgressWatch
from services.edge.paid.routing import Assignment, Placer
from services.edge.paid.runners import RunnerPool
from tests.support.deadlines import within
from tiermesh.router.v1 import router_pb2
from tiermesh.runner.v1 import runner_pb2

FULL, FAILED = router_pb2.Attempt.RESULT_FULL, router_pb2.Attempt.RESULT_FAILED
PATIENCE = 30.0
PREFIX_HASHES = [1, 2]


class Mesh:
    """Stands where router and runners do: runners fail by `codes`, one after the other, then one answers."""

    def __init__(self, codes: Sequence[Code]) -> None:
        self._codes = list(codes)
        self.now = 0.0
        # What the router was told of earlier attempts, and how long it may let the request wait.
        self.told: list[list[router_pb2.Attempt.Result.ValueType]] = []
        self.timeouts: list[float] = []
        self.prefix_hashes: list[Sequence[int]] = []
        self.calls: list[runner_pb2.GenerateCall] = []
        # Called when the first runner fails.
        self.on_move: Callable[[], None] = lambda: None

    async def place(
        self, *_: Any, attempts: Sequence[router_pb2.Attempt], prefix_hashes: Sequence[int], **__: Any
    ) -> Assignment:
        self.told.append([attempt.result for attempt in attempts])
        self.timeouts.append(_[2])
        self.prefix_hashes.append(prefix_hashes)
        self.now += 1.0
        return Assignment("runner", "address", prefix_hashes=prefix_hashes)

    def get(self, _address: str, _model: Model) -> Mesh:
        return self

    def start(self, call: runner_pb2.GenerateCall, sink: Callable[[Any], None], _timeout: float) -> int:
        self.calls.append(call)
        code = self._codes.pop(0) if self._codes else None
        if code is not None:
            self.on_move()
        reply = runner_pb2.GenerateReply(finish_reason=runner_pb2.FINISH_REASON_STOP)
        asyncio.get_running_loop().call_soon(sink, reply if code is None else MeshError(code, "refused"))
        return 1

    async def ask(self, calls: Sequence[runner_pb2.GenerateCall] = ()) -> AnyReply | Exception:
        """Starts an answer, of one choice unless `calls` says otherwise, and returns how the first choice ends."""
        answer = self.answer()
        asked = list(calls) or [runner_pb2.GenerateCall()]
        answer.start(asked, Assignment("runner", "address", prefix_hashes=PREFIX_HASHES))
        ended: dict[int, AnyReply | Exception] = {}
        while len(ended) < len(asked):
            ended.update(await answer.events())
        return ended[0]

    def answer(self) -> Generation:
        return Generation(
            model=load_catalog(Path(DEFAULT_CATALOG)).models[0],
            account_id="acct",
            capabilities=(),
            placer=cast("Placer", self),
            runners=cast("RunnerPool", self),
            progress=ProgressWatch(lambda: self.now),
            queue_timeout=PATIENCE,
            request_timeout=600.0,
            deadline=600.0,
            clock=lambda: self.now,
        )


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.edge.paid.generation.REFUSED_PAUSE", 0.0)


async def test_full_runners_are_waited_for() -> None:
    mesh = Mesh([Code.OVERLOADED] * 20)
    assert not isinstance(await mesh.ask(), MeshError)
    # The router needs to hear of the last one only, and each attempt leaves it less time.
    assert mesh.told == [[FULL]] * 20
    assert mesh.timeouts == [PATIENCE - second for second in range(20)]


async def test_the_router_hears_at_each_move_what_is_warm_where_the_request_goes() -> None:
    mesh = Mesh([Code.OVERLOADED, Code.UNAVAILABLE])
    await mesh.ask()
    assert mesh.prefix_hashes == [PREFIX_HASHES] * 2


async def test_full_runners_are_not_waited_for_longer_than_for_a_place() -> None:
    mesh = Mesh([Code.OVERLOADED] * 100)
    reply = await mesh.ask()
    assert isinstance(reply, MeshError)
    assert reply.code is Code.OVERLOADED
    assert mesh.now == PATIENCE


async def test_failures_are_counted() -> None:
    mesh = Mesh([Code.UNAVAILABLE] * 100)
    reply = await mesh.ask()
    assert isinstance(reply, MeshError)
    assert reply.code is Code.UNAVAILABLE
    assert mesh.told == [[FAILED] * count for count in range(1, MAX_FAILURES + 1)]


async def test_a_request_that_engines_fail_of_does_not_eject_one_after_the_other() -> None:
    mesh = Mesh([Code.INTERNAL] * 100)
    reply = await mesh.ask()
    assert isinstance(reply, MeshError)
    assert reply.code is Code.INTERNAL
    assert mesh.told == [[FAILED]]


@pytest.mark.parametrize(
    ("heard", "finish_reason"),
    [
        (runner_pb2.GenerateReply(text="Blue", token_ids=[1]), runner_pb2.FINISH_REASON_LENGTH),
        # All that is known of an answer that is sent whole: none of its text would be in what the client gets.
        (runner_pb2.GenerateReply(started=True), None),
    ],
)
async def test_a_silent_runner_ends_an_answer_at_its_time_limit_only_if_there_is_text(
    heard: runner_pb2.GenerateReply, finish_reason: int | None
) -> None:
    class SilentRunner(Mesh):
        def start(self, _call: object, sink: Callable[[Any], None], _timeout: float) -> int:
            sink(heard)
            self.now = 600.0
            sink(MeshError(Code.DEADLINE_EXCEEDED, "too late"))
            return 1

    answer = SilentRunner([]).answer()
    answer.start([runner_pb2.GenerateCall()], Assignment("runner", "address"))
    last = (await answer.events())[-1].reply
    if isinstance(last, MeshError):
        assert finish_reason is None
        assert last.code is Code.DEADLINE_EXCEEDED
    else:
        assert isinstance(last, runner_pb2.GenerateReply)
        assert last.finish_reason == finish_reason


async def test_a_failure_is_remembered_among_refusals() -> None:
    mesh = Mesh([Code.OVERLOADED, Code.UNAVAILABLE, Code.OVERLOADED, Code.OVERLOADED])
    assert not isinstance(await mesh.ask(), MeshError)
    assert mesh.told == [[FULL], [FAILED], [FAILED, FULL], [FAILED, FULL]]


@pytest.mark.parametrize("broken", ["place", "start"])
async def test_a_defect_of_the_search_for_another_runner_ends_the_answer(broken: str) -> None:
    def defect(*_: object, **__: object) -> NoReturn:
        raise ValueError("a defect")

    mesh = Mesh([Code.UNAVAILABLE])
    mesh.on_move = lambda: setattr(mesh, broken, defect)
    async with within(10):
        assert isinstance(await mesh.ask(), ValueError)


@pytest.mark.parametrize(("seed", "seeds"), [(7, [7, 8, 9]), (2**63 - 1, [2**63 - 1] * 3), (None, [0, 0, 0])])
async def test_choices_share_a_call_and_have_seeds_of_their_own(seed: int | None, seeds: list[int]) -> None:
    mesh = Mesh([Code.UNAVAILABLE])
    shared = runner_pb2.GenerateCall(max_tokens=5, sampling=runner_pb2.Sampling(seed=seed))
    await mesh.ask([shared] * 3)
    first, *others, again = mesh.calls
    assert [call.sampling.seed for call in (first, *others)] == seeds
    # The one that failed is sent again as it was.
    assert again == first
    assert all(call.max_tokens == 5 and call is not shared for call in mesh.calls)
    assert shared.sampling.HasField("seed") == (seed is not None)

"""What fails ends what it must and nothing else, and the engine says honestly whether it still works."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from services.common.errors import Code, MeshError
from services.runner.engines.exllamav2 import ExLlamaV2Engine, worker
from services.runner.engines.exllamav2.errors import ModelError
from services.runner.engines.exllamav2.jobs.logits import LogitFilter
from services.runner.kinds.text.job import Sampling
from tests.support.answer_contract import QUESTIONS, healthy
from tests.support.deadlines import stretched
from tests.support.engine_contract import job
from tests.support.recording import generate, submit
from tests.support.waiting import eventually
from tests.torch.stand_in.engine import StandIn, endless, running, stand_in_engine

CURSED = 13


class Fault:
    """Lets forward passes fail when told to.

    With `hold_at`, the engine's thread waits in that pass until `go_on` is set, so that no answer can end before.
    """

    def __init__(self, stand_in: StandIn, *, hold_at: int = 0) -> None:
        assert stand_in.model is not None
        self.left = 0
        self._passes_left = hold_at
        self.held = threading.Event()
        self.go_on = threading.Event()
        stand_in.model.before = self

    def __call__(self, token_ids: torch.Tensor) -> None:
        self._passes_left -= 1
        if self._passes_left == 0:
            self.held.set()
            self.go_on.wait(stretched(30))
        if self.left:
            self.left -= 1
            raise RuntimeError("the GPU fell off the bus")


async def test_a_job_that_fails_ends_alone(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take = LogitFilter._take

    def fail(self: LogitFilter, token_id: int) -> None:
        if self._sampling.seed == CURSED:
            raise ValueError("a bug, or a grammar that cannot go on")
        take(self, token_id)

    async with running(stand_in_engine(tiny_model)) as engine:
        alone = await generate(engine, job(engine, max_tokens=12, logprobs=1))
        monkeypatch.setattr(LogitFilter, "_take", fail)
        jobs = [submit(engine, job(engine, max_tokens=12, logprobs=1)) for _ in range(3)]
        cursed = submit(engine, job(engine, sampling=Sampling(seed=CURSED), max_tokens=12, logprobs=1))
        for recording in jobs:
            assert (await recording.end()).token_ids == alone.token_ids
        with pytest.raises(MeshError) as failure:
            await cursed.end()
        assert (failure.value.code, cursed.ends, cursed.late) == (Code.INTERNAL, 1, 0)
        assert "bug" not in failure.value.message
        assert healthy(engine)
        assert engine.facts().pages_free == engine.facts().pages_total


async def test_a_crash_of_the_generator_ends_its_jobs_and_it_goes_on(tiny_model: Path) -> None:
    stand_in = StandIn()
    async with running(stand_in_engine(tiny_model, stand_in)) as engine:
        whole = await generate(engine, endless(engine, max_tokens=60))
        threads = threading.active_count()
        # Enough passes for all prompts and some tokens, and fewer than the tokens of an answer.
        fault = Fault(stand_in, hold_at=30)
        interrupted = submit(engine, endless(engine, max_tokens=60))
        others = [submit(engine, endless(engine, question, max_tokens=900)) for question in QUESTIONS[:2]]
        await interrupted.tokens(5)
        fault.left = 1
        fault.go_on.set()
        for recording in (*others, interrupted):
            with pytest.raises(MeshError) as failure:
                await recording.end()
            assert (failure.value.code, recording.ends, recording.late) == (Code.UNAVAILABLE, 1, 0)
        assert healthy(engine)
        # What was delivered goes on as it would have.
        delivered = tuple(interrupted.token_ids)
        rest = await generate(engine, endless(engine, max_tokens=60, resume_token_ids=delivered))
        assert [*delivered, *rest.token_ids] == whole.token_ids
        assert engine.facts().restarts == 1
        assert engine.facts().pages_free == engine.facts().pages_total
        assert threading.active_count() <= threads


async def test_a_generator_that_crashes_again_and_again_is_given_up(tiny_model: Path) -> None:
    stand_in = StandIn()
    async with running(stand_in_engine(tiny_model, stand_in)) as engine:
        fault = Fault(stand_in)
        for left in (3, 2, 1):
            fault.left = left
            with pytest.raises(MeshError) as failure:
                await generate(engine, job(engine))
            assert failure.value.code is Code.UNAVAILABLE
        await eventually(lambda: not engine.healthy)
        with pytest.raises(MeshError) as refusal:
            submit(engine, job(engine))
        assert refusal.value.code is Code.UNAVAILABLE
        assert engine.active == 0


async def test_a_cache_that_cannot_be_made_anew_is_given_up(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = StandIn()
    async with running(stand_in_engine(tiny_model, stand_in)) as engine:
        assert stand_in.backend is not None

        def fail() -> None:
            raise RuntimeError("CUDA error: device-side assert triggered")

        monkeypatch.setattr(stand_in.backend, "new_generator", fail)
        Fault(stand_in).left = 1
        with pytest.raises(MeshError) as failure:
            await generate(engine, job(engine))
        assert failure.value.code is Code.UNAVAILABLE
        await eventually(lambda: not engine.healthy)


async def test_a_gpu_that_fails_for_good_leaves_nobody_waiting(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = StandIn()
    async with running(stand_in_engine(tiny_model, stand_in)) as engine:
        assert stand_in.backend is not None

        def fail() -> None:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

        # After such an error every call fails, those that free memory too.
        monkeypatch.setattr(worker, "free_memory", fail)
        monkeypatch.setattr(stand_in.backend, "unload", fail)
        fault = Fault(stand_in, hold_at=30)
        recording = submit(engine, endless(engine, max_tokens=900))
        await recording.tokens(2)
        await eventually(fault.held.is_set)
        # One that the thread has not seen yet when it ends.
        late = submit(engine, endless(engine, max_tokens=900))
        fault.left = 1
        fault.go_on.set()
        for each in (recording, late):
            with pytest.raises(MeshError) as failure:
                await each.end(timeout=10)
            assert (failure.value.code, each.ends) == (Code.UNAVAILABLE, 1)
        await eventually(lambda: not engine.healthy)
        with pytest.raises(MeshError):
            submit(engine, job(engine))


async def test_an_iteration_that_does_not_end_is_no_progress(tiny_model: Path) -> None:
    now = 0.0
    stand_in = StandIn()
    engine = stand_in_engine(tiny_model, stand_in, stall_seconds=60.0, clock=lambda: now)
    async with running(engine):
        assert stand_in.model is not None
        now = 1000.0
        # Nothing to do is no reason to be ill.
        assert healthy(engine)
        gate = threading.Event()

        def wait(token_ids: torch.Tensor) -> None:
            gate.wait(30)

        stand_in.model.before = wait
        stuck = submit(engine, job(engine, max_tokens=2))
        assert healthy(engine)
        now = 1060.0
        assert not healthy(engine)
        gate.set()
        await stuck.end()
        assert healthy(engine)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"context": 8192}, "lower TIERMESH_RUNNER_CONTEXT from 8192"),
        ({"vision": True}, "sees no images"),
        ({"model_path": Path("nowhere")}, "there is no model directory"),
    ],
)
async def test_what_cannot_be_served_is_said_at_the_start(
    tiny_model: Path, fields: dict[str, object], reason: str
) -> None:
    engine = stand_in_engine(**{"model_path": tiny_model, **fields})  # type: ignore[arg-type] # fields of the options
    with pytest.raises(ModelError, match=reason):
        await engine.start()
    assert not engine.healthy
    await engine.close()


async def test_a_machine_without_a_gpu_is_named(tiny_model: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    options = stand_in_engine(tiny_model)._options
    engine = ExLlamaV2Engine(options)
    with pytest.raises(ModelError, match="needs a CUDA GPU"):
        await engine.start()
    await engine.close()

"""Two hundred random jobs, with cancellations, refusals and crashes among them: the books must balance."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from services.common.errors import Code, MeshError
from services.runner.engines.exllamav2 import ExLlamaV2Engine
from services.runner.engines.exllamav2.jobs.logits import LogitFilter
from services.runner.kinds.base import FinishReason
from services.runner.kinds.text.engine import TextTicket
from services.runner.kinds.text.job import Job, Sampling
from services.runner.kinds.text.prompt.grammar import answer_grammar
from services.runner.kinds.text.prompt.tools import Toolbox
from tests.support.answer_contract import GREEDY
from tests.support.engine_contract import CITY, job
from tests.support.recording import Recording, generate, submit
from tests.support.waiting import eventually
from tests.torch.stand_in.engine import StandIn, running, stand_in_engine

JOBS = 200
CURSED = 13
WORDS = ("fox", "dog", "house", "story", "France", "colours", "é", "日本", "Hamlet", "Paris", "the", "and")
GRAMMAR = answer_grammar(CITY, Toolbox())
EXPECTED = {Code.OVERLOADED, Code.UNAVAILABLE, Code.INTERNAL, Code.CONTEXT_LENGTH_EXCEEDED}


class Trouble:
    """Random jobs, and random trouble with them."""

    def __init__(self, engine: ExLlamaV2Engine, dice: random.Random) -> None:
        self.engine = engine
        self._dice = dice
        self.jobs: list[tuple[Job, Recording]] = []
        self.cancelled: set[Recording] = set()
        self.stopped: set[Recording] = set()

    def job(self) -> Job:
        dice = self._dice
        fields: dict[str, Any] = {"max_tokens": dice.choice((1, 2, 8, 30, 60, 120, 400, None))}
        fields["sampling"] = dice.choice(
            (
                GREEDY,
                Sampling(seed=dice.randrange(2**63)),
                Sampling(temperature=0.5, top_p=0.5, presence_penalty=1, frequency_penalty=0.5),
                Sampling(temperature=1.5, logit_bias={300: 5.0, 301: -100.0}),
                Sampling(top_k=40, min_p=0.05, repetition_penalty=1.1),
            )
        )
        fields["logprobs"] = dice.choice((None, None, 0, 5))
        if dice.random() < 0.2:
            fields["grammar"] = GRAMMAR
        if dice.random() < 0.08:
            fields["sampling"] = Sampling(seed=CURSED)
            fields["logprobs"] = 0
        length = dice.choice((1, 5, 20, 40, 100, 250, 900))
        return job(self.engine, " ".join(dice.choices(WORDS, k=length)), **fields)

    async def send(self) -> None:
        """Sends one job, as soon as a slot is free, and cancels it perhaps, or ends it as a stop string does."""
        wanted = self.job()
        while True:
            try:
                recording = submit(self.engine, wanted)
                break
            except MeshError as refusal:
                assert refusal.code is Code.OVERLOADED  # noqa: PT017 - the other outcome is success
                await eventually(lambda: len(self.engine._running) < self.engine.slots, timeout=60)
        self.jobs.append((wanted, recording))
        if self._dice.random() < 0.25:
            if self._dice.random() < 0.7:
                await recording.tokens(self._dice.choice((1, 3, 10)))
            if not recording.closed:
                self.cancelled.add(recording)
            recording.cancel()
            recording.cancel()
        elif self._dice.random() < 0.25:
            await recording.tokens(self._dice.choice((1, 3, 10)))
            self.stopped.add(recording)
            assert isinstance(recording.ticket, TextTicket)
            recording.ticket.finish(FinishReason.STOP)

    async def ended(self) -> None:
        await eventually(lambda: all(recording.closed for _, recording in self.jobs), timeout=100)


def crash_at(dice: random.Random, passes: set[int]) -> Callable[[torch.Tensor], None]:
    """Lets some forward passes fail."""
    count = 0

    def before(token_ids: torch.Tensor) -> None:
        nonlocal count
        count += 1
        if count in passes:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    return before


async def test_every_job_ends_once_and_nothing_is_left(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take = LogitFilter._take

    def fail(self: LogitFilter, token_id: int) -> None:
        if self._sampling.seed == CURSED:
            raise ValueError("injected")
        take(self, token_id)

    monkeypatch.setattr(LogitFilter, "_take", fail)
    threads, tasks = set(threading.enumerate()), asyncio.all_tasks()
    stand_in = StandIn()
    # Less cache than eight full jobs need, so that some are refused for want of pages.
    async with running(stand_in_engine(tiny_model, stand_in, slots=8, cache_tokens=5120)) as engine:
        calm = await generate(engine, job(engine, max_tokens=20))
        assert stand_in.model is not None
        stand_in.model.before = crash_at(random.Random(2), {150, 600})
        trouble = Trouble(engine, random.Random(1))
        for _ in range(JOBS):
            await trouble.send()
        await trouble.ended()
        # How many passes the jobs need depends on their timing: a crash that is left would meet what follows.
        stand_in.model.before = lambda _: None
        check(trouble)
        await eventually(lambda: engine.facts().batch_size == 0)
        assert engine.active == 0
        assert engine.facts().pages_free == engine.facts().pages_total == 20
        assert engine.healthy
        # After all that, the engine still says what it said at first.
        assert (await generate(engine, job(engine, max_tokens=20))).token_ids == calm.token_ids
    assert set(threading.enumerate()) <= threads
    assert asyncio.all_tasks() == tasks


def check(trouble: Trouble) -> None:
    """Every job ended once, as it may end, and said what it was asked for."""
    outcomes: dict[str, int] = {}
    for wanted, recording in trouble.jobs:
        assert recording.late == 0
        if recording in trouble.cancelled:
            assert recording.ends == 0
            outcomes["cancelled"] = outcomes.get("cancelled", 0) + 1
            continue
        assert recording.ends == 1
        if recording.error is not None:
            assert recording.error.code in EXPECTED
            outcome = recording.error.code.name
        else:
            outcome = "finished"
            check_answer(trouble.engine, wanted, recording, stopped=recording in trouble.stopped)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    # The dice are fixed, but not the timing: everything must have come up, however often.
    assert outcomes.keys() >= {"finished", "cancelled", "UNAVAILABLE", "INTERNAL", "CONTEXT_LENGTH_EXCEEDED"}, outcomes
    assert outcomes["finished"] > JOBS // 3, outcomes


def check_answer(engine: ExLlamaV2Engine, wanted: Job, answer: Recording, *, stopped: bool) -> None:
    assert answer.text == engine.detokenize(answer.token_ids)
    usage = answer.usage
    assert usage.prompt_tokens + usage.completion_tokens <= engine.context
    assert len(answer.token_ids) <= usage.completion_tokens
    assert wanted.max_tokens is None or usage.completion_tokens <= wanted.max_tokens + 1
    if wanted.logprobs is not None:
        assert len(answer.logprobs) == len(answer.token_ids)
    if wanted.grammar and not stopped and answer.finish is FinishReason.STOP:
        assert set(json.loads(answer.text)) == {"city", "population"}

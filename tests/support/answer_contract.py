"""What the runner relies on, whichever engine answers, and whether or not its answers have tokens.

`EngineContract` adds what is said of tokens. Engines whose answers have none subclass this suite alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pytest
import pytest_asyncio
from msgspec.structs import replace

from services.common.errors import Code, MeshError
from services.runner.engines.base import Engine
from services.runner.kinds.base import FinishReason
from services.runner.kinds.text.job import Sampling, Step
from tests.support.recording import Recording, generate, submit
from tests.support.waiting import eventually

GREEDY = Sampling(temperature=0)
SEEDED = Sampling(temperature=1, seed=7)
QUESTIONS = ("What is the capital of France?", "Name three colours.", "What is 2 + 2?", "Who wrote Hamlet?")
# About 900 tokens.
LONG = "The quick brown fox jumps over the lazy dog. " * 90


class AnsweringEngine(Engine[Any, Step], Protocol):
    """An engine whose steps have text; their tokens may be missing."""


def healthy(engine: AnsweringEngine) -> bool:
    # As a function, because the type checker takes a property to be constant.
    return engine.healthy


@pytest.mark.asyncio(loop_scope="class")
class AnswerContract:
    """The suite. Engines have 4 slots and 1024 tokens of context."""

    # Whether it goes on from what it has read before.
    keeps_prompts: ClassVar[bool] = True
    # Whether it reads about 1000 tokens a second or fewer, so that a job can be caught while its prompt is read.
    reads_slowly: ClassVar[bool] = True

    @classmethod
    def build(cls, folder: Path) -> Any:
        """Returns an engine that has not been started; `folder` is for files that it needs."""
        raise NotImplementedError

    def job(self, engine: Any, question: str = QUESTIONS[0], **fields: Any) -> Any:
        """Returns a job that asks a question, greedily; `fields` are those of the job."""
        raise NotImplementedError

    def plain_job(self, text: str) -> Any:
        """Returns a job for an engine that has not been started, or not any more."""
        raise NotImplementedError

    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    @classmethod
    async def started(cls, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
        engine = cls.build(tmp_path_factory.mktemp("engine"))
        await engine.start()
        yield engine
        await engine.close()

    @pytest_asyncio.fixture(loop_scope="class")
    async def engine(self, started: Any) -> AsyncIterator[Any]:
        """The engine, with no job before and after each test."""
        assert started.active == 0
        yield started
        await eventually(lambda: started.active == 0)

    async def test_jobs_say_the_same_alone_and_together(self, engine: AnsweringEngine) -> None:
        alone = [await generate(engine, self.job(engine, question, max_tokens=8)) for question in QUESTIONS]
        together = [submit(engine, self.job(engine, question, max_tokens=8)) for question in QUESTIONS]
        assert engine.active == 4
        for one, other in zip(alone, together, strict=True):
            assert (await other.end()).said == one.said
            assert (one.ends, other.ends, other.late) == (1, 1, 0)

    async def test_a_seed_repeats_the_answer(self, engine: AnsweringEngine) -> None:
        sampled = self.job(engine, "Tell me a story.", sampling=SEEDED, max_tokens=12)
        first = await generate(engine, sampled)
        assert (await generate(engine, sampled)).said == first.said

    @pytest.mark.parametrize("only", [{"top_k": 1}, {"min_p": 1.0}], ids=["top_k", "min_p"])
    async def test_one_token_to_choose_from_is_the_most_likely(
        self, engine: AnsweringEngine, only: dict[str, Any]
    ) -> None:
        greedy = await generate(engine, self.job(engine, max_tokens=8))
        sampled = await generate(engine, self.job(engine, sampling=Sampling(temperature=2, **only), max_tokens=8))
        assert sampled.said == greedy.said

    async def test_what_is_off_changes_nothing(self, engine: AnsweringEngine) -> None:
        sampled = await generate(engine, self.job(engine, sampling=SEEDED, max_tokens=8))
        off = replace(SEEDED, top_k=1_000_000, min_p=0.0, repetition_penalty=1.0)
        assert (await generate(engine, self.job(engine, sampling=off, max_tokens=8))).said == sampled.said

    async def test_max_tokens_ends_with_length(self, engine: AnsweringEngine) -> None:
        answer = await generate(engine, self.job(engine, max_tokens=3))
        assert answer.finish is FinishReason.LENGTH
        assert answer.usage.completion_tokens == 3

    async def test_an_answer_that_ends_by_itself_ends_with_stop(self, engine: AnsweringEngine) -> None:
        answer = await generate(engine, self.job(engine))
        assert answer.finish is FinishReason.STOP
        assert answer.usage.completion_tokens > 0

    async def test_prompt_tokens_are_exact_and_answers_do_not_change_them(self, engine: AnsweringEngine) -> None:
        short = (await generate(engine, self.job(engine, "a", max_tokens=1))).usage
        longer = (await generate(engine, self.job(engine, "a b c", max_tokens=2))).usage
        assert longer.prompt_tokens - short.prompt_tokens == 2
        again = (await generate(engine, self.job(engine, "a b c", max_tokens=2))).usage
        assert (again.prompt_tokens, again.completion_tokens) == (longer.prompt_tokens, 2)
        assert 0 <= again.cached_tokens <= again.prompt_tokens

    async def test_what_others_have_sent_is_not_found(self, engine: AnsweringEngine) -> None:
        question = "The quick brown fox jumps over the lazy dog. " * 5
        found = []
        for scope in ("one", "one", "other", "other", "one"):
            answer = await generate(engine, self.job(engine, question, max_tokens=1, cache_scope=scope))
            found.append(answer.usage.cached_tokens / answer.usage.prompt_tokens)
        expected = [0, 1, 0, 1, 1] if self.keeps_prompts else [0] * 5
        assert found == pytest.approx(expected, abs=0.05)

    async def test_a_job_that_never_began_leaves_nothing_of_others(self, engine: AnsweringEngine) -> None:
        question = "The lazy dog jumps over the quick brown fox. " * 3
        await generate(engine, self.job(engine, question, max_tokens=1, cache_scope="one"))
        for at in range(4):
            submit(engine, self.job(engine, "Never.", max_tokens=1, cache_scope=f"other {at}")).cancel()
        asked = [submit(engine, self.job(engine, question, max_tokens=1, cache_scope=f"other {at}")) for at in range(4)]
        cached = [(await recording.end()).usage.cached_tokens for recording in asked]
        # One that was cancelled too late has left what is its own: the beginning of any chat.
        own = (await generate(engine, self.job(engine, "Never.", max_tokens=1, cache_scope="last"))).usage.prompt_tokens
        assert max(cached) < own, "somebody found the question of the first"

    async def test_reading_the_prompt_is_progress_before_the_first_token(self, engine: AnsweringEngine) -> None:
        answer, progress = Recording(), []

        def emit(step: Step | MeshError) -> None:
            progress.append(ticket.progress)
            answer(step)

        # Another text than that of other tests, which must not find it in the cache.
        ticket = engine.submit(self.job(engine, "The lazy dog sleeps. " * 80, max_tokens=2), emit)
        before = ticket.progress
        await answer.end()
        # One step for the token itself, and at least one for the prompt.
        assert progress[0] - before >= 2
        assert progress == sorted(progress)

    async def test_a_full_engine_refuses(self, engine: AnsweringEngine) -> None:
        running = [submit(engine, self.job(engine, question)) for question in QUESTIONS]
        with pytest.raises(MeshError) as refusal:
            submit(engine, self.job(engine))
        assert refusal.value.code is Code.OVERLOADED
        for recording in running:
            recording.cancel()

    @pytest.mark.parametrize("when", ["at once", "in the prompt", "in the answer"])
    async def test_a_cancelled_job_falls_silent_and_frees_its_slot(self, engine: AnsweringEngine, when: str) -> None:
        question = "Tell me a long story." if when == "in the answer" else LONG
        running = [submit(engine, self.job(engine, f"{question} {at}", max_tokens=400)) for at in range(4)]
        if when == "in the answer":
            await asyncio.gather(*(recording.pieces(2) for recording in running))
        elif when == "in the prompt":
            # Nothing tells that a prompt is being read, but within this time it is, and not to its end.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.3):
                    await running[0].pieces(1)
            assert not (self.reads_slowly and running[0].steps)
        for recording in running:
            recording.cancel()
            recording.cancel()
        assert engine.active == 0
        # The prompts alone would take longer than this.
        after = [submit(engine, self.job(engine, question, max_tokens=2)) for question in QUESTIONS]
        for recording in after:
            await recording.end(timeout=10)
        assert sum(recording.late for recording in running) == 0

    async def test_cancelling_after_the_end_is_harmless(self, engine: AnsweringEngine) -> None:
        answer = await generate(engine, self.job(engine, max_tokens=1))
        answer.cancel()
        assert engine.active == 0

    async def test_a_prompt_that_does_not_fit_is_refused(self, engine: AnsweringEngine) -> None:
        with pytest.raises(MeshError) as refusal:
            await generate(engine, self.job(engine, LONG * 2))
        assert refusal.value.code is Code.CONTEXT_LENGTH_EXCEEDED
        assert refusal.value.param == "messages"
        assert "maximum context length is 1024 tokens. However, your messages resulted in" in refusal.value.message

    async def test_closing_ends_everything(self, tmp_path: Path) -> None:
        threads, tasks = set(threading.enumerate()), asyncio.all_tasks()
        engine = self.build(tmp_path)
        with pytest.raises(MeshError) as refusal:
            submit(engine, self.plain_job("too early"))
        assert refusal.value.code is Code.UNAVAILABLE
        await engine.start()
        assert healthy(engine)
        running = [submit(engine, self.job(engine, question)) for question in QUESTIONS[:2]]
        await running[0].pieces(1)
        running.append(submit(engine, self.job(engine, LONG)))
        cancelled = submit(engine, self.job(engine, LONG + "!"))
        cancelled.cancel()
        await engine.close()
        assert engine.active == 0
        assert not healthy(engine)
        for recording in running:
            assert recording.error is not None
            assert recording.error.code is Code.UNAVAILABLE
            assert recording.ends == 1
        assert cancelled.late == 0
        assert set(threading.enumerate()) <= threads
        assert asyncio.all_tasks() == tasks
        with pytest.raises(MeshError):
            submit(engine, self.plain_job("too late"))

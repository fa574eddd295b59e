"""Admission by pages of the cache: a job starts at once or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.common.errors import Code, MeshError
from services.runner.kinds.base import FinishReason
from tests.support.engine_contract import job
from tests.support.recording import generate, submit
from tests.torch.stand_in.engine import StandIn, endless, running, stand_in_engine

FOXES = "The quick brown fox jumps over the lazy dog. "


async def test_a_job_that_would_have_to_wait_is_refused_and_reported_as_load(tiny_model: Path) -> None:
    # Slow enough that the first job still runs when the second one comes.
    async with running(stand_in_engine(tiny_model, StandIn(tokens_per_second=500), cache_tokens=1024)) as engine:
        first = submit(engine, endless(engine, max_tokens=700))
        await first.tokens(1)
        assert engine.active == 1
        with pytest.raises(MeshError) as refusal:
            await generate(engine, job(engine, max_tokens=300))
        assert refusal.value.code is Code.OVERLOADED
        # Routers take it to be full, although three slots are free, until a job has ended.
        assert engine.active == engine.slots == 4
        small = await generate(engine, job(engine, max_tokens=2))
        assert small.finish is FinishReason.LENGTH
        assert engine.active == 1
        first.cancel()
        assert engine.active == 0
        assert (await generate(engine, job(engine, max_tokens=40))).ends == 1


async def test_jobs_that_come_together_do_not_take_the_same_pages(tiny_model: Path) -> None:
    async with running(stand_in_engine(tiny_model, StandIn(tokens_per_second=1000), cache_tokens=1024)) as engine:
        both = [submit(engine, endless(engine, f"Tell me a long story. {at}", max_tokens=600)) for at in range(2)]
        await both[0].tokens(1)
        with pytest.raises(MeshError) as refusal:
            await both[1].end()
        assert refusal.value.code is Code.OVERLOADED
        both[0].cancel()


async def test_pages_of_a_shared_prefix_are_counted_once(tiny_model: Path) -> None:
    async with running(stand_in_engine(tiny_model, StandIn(tokens_per_second=2000), cache_tokens=1024)) as engine:
        # More than two pages each, of which two are the same; four pages are all there are.
        first = submit(engine, endless(engine, FOXES * 52 + "One.", max_tokens=100))
        await first.tokens(1)
        assert engine.facts().pages_free == 1
        second = submit(engine, endless(engine, FOXES * 52 + "Two.", max_tokens=100))
        await second.tokens(1)
        assert engine.facts().pages_free == 0
        first.cancel()
        second.cancel()


async def test_an_answer_ends_where_the_cache_does(tiny_model: Path) -> None:
    async with running(stand_in_engine(tiny_model, cache_tokens=256)) as engine:
        assert engine.context == 256
        answer = await generate(engine, endless(engine, FOXES * 15))
        assert answer.finish is FinishReason.LENGTH
        assert answer.usage.prompt_tokens + answer.usage.completion_tokens == 256
        with pytest.raises(MeshError) as refusal:
            await generate(engine, job(engine, FOXES * 30))
        assert refusal.value.code is Code.CONTEXT_LENGTH_EXCEEDED
        assert engine.facts().pages_free == 1


async def test_a_prompt_may_come_as_tokens(tiny_model: Path) -> None:
    async with running(stand_in_engine(tiny_model)) as engine:
        by_text = await generate(engine, job(engine, "Name three colours.", max_tokens=10))
        tokens = tuple(range(300, 320))
        by_tokens = await generate(engine, job(engine, prompt_token_ids=tokens, max_tokens=10))
        assert by_tokens.usage.prompt_tokens == 20
        assert by_tokens.text != by_text.text
        with pytest.raises(MeshError) as refusal:
            submit(engine, job(engine, prompt_token_ids=(999_999,)))
        assert refusal.value.param == "prompt"


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"resume_token_ids": (999_999,)}, "resume_token_ids"), ({"images": (b"picture",)}, "messages")],
)
async def test_what_the_model_cannot_do_is_refused_at_once(
    tiny_model: Path, fields: dict[str, Any], param: str
) -> None:
    async with running(stand_in_engine(tiny_model)) as engine:
        with pytest.raises(MeshError) as refusal:
            submit(engine, job(engine, **fields))
        assert (refusal.value.code, refusal.value.param) == (Code.INVALID_REQUEST, param)
        assert engine.active == 0

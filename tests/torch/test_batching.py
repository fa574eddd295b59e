"""Continuous batching over shared pages: the company that a job keeps changes nothing about its answer."""

from __future__ import annotations

from pathlib import Path

import torch

from services.runner.kinds.text.job import Job
from tests.support.answer_contract import GREEDY
from tests.support.engine_contract import job
from tests.support.recording import generate, submit
from tests.support.waiting import eventually
from tests.torch.stand_in.engine import StandIn, endless, running, stand_in_engine

FOXES = "The quick brown fox jumps over the lazy dog. "


async def test_greedy_answers_are_the_same_alone_in_a_batch_of_eight_and_after_a_warm_prefix(tiny_model: Path) -> None:
    prompts = [FOXES * length + f"Tell me a story {length}." for length in (0, 1, 3, 9, 20, 30, 40, 60)]
    alone = []
    for prompt in prompts:
        async with running(stand_in_engine(tiny_model, slots=8)) as engine:
            alone.append(await generate(engine, job(engine, prompt, max_tokens=40)))
            assert alone[-1].usage.cached_tokens == 0
    async with running(stand_in_engine(tiny_model, slots=8)) as engine:
        batch = [submit(engine, job(engine, prompt, max_tokens=40)) for prompt in prompts]
        for one, other in zip(alone, batch, strict=True):
            assert (await other.end()).token_ids == one.token_ids
        for prompt, one in zip(prompts, alone, strict=True):
            warm = await generate(engine, job(engine, prompt, max_tokens=40))
            assert warm.token_ids == one.token_ids
            # All of a prompt but its last token is kept.
            assert warm.usage.cached_tokens >= warm.usage.prompt_tokens - 2


async def test_a_conversation_goes_on_from_its_cached_pages(tiny_model: Path) -> None:
    async with running(stand_in_engine(tiny_model)) as engine:
        first = await generate(engine, job(engine, FOXES * 50, max_tokens=30))
        said = Job("request", job(engine, FOXES * 50).prompt + first.text + "<|im_end|>\nGo on.", GREEDY, max_tokens=5)
        second = await generate(engine, said)
        pages = (first.usage.prompt_tokens + first.usage.completion_tokens) // 256
        assert second.usage.cached_tokens >= 256 * pages
        assert engine.facts().pages_free == engine.facts().pages_total == 16


async def test_pages_are_shared_within_an_account_alone(tiny_model: Path) -> None:
    async with running(stand_in_engine(tiny_model)) as engine:

        async def found(scope: str, prompt: str) -> tuple[int, int]:
            usage = (await generate(engine, Job("request", prompt, GREEDY, max_tokens=1, cache_scope=scope))).usage
            return usage.cached_tokens, usage.prompt_tokens

        # More than two pages of 256 tokens.
        long = job(engine, FOXES * 60).prompt
        for scope in ("one", "other"):
            assert (await found(scope, long))[0] == 0
            cached, total = await found(scope, long)
            assert 512 < total - 2 <= cached
        # While one account's pages are in use, they are not shared either.
        talkative = Job("request", long, GREEDY, max_tokens=200, cache_scope="one")
        speaking = submit(engine, talkative)
        await speaking.tokens(1)
        assert (await found("third", long))[0] == 0
        speaking.cancel()
        await eventually(lambda: engine.facts().pages_free == engine.facts().pages_total)


async def test_an_answer_that_fills_the_first_page_is_found_by_its_account_alone(tiny_model: Path) -> None:
    async with running(stand_in_engine(tiny_model)) as engine:
        asked = endless(engine, FOXES * 10, max_tokens=300, cache_scope="one")
        said = await generate(engine, asked)
        prompt = asked.prompt + said.text
        found = []
        for scope in ("other", "one"):
            again = await generate(engine, Job("request", prompt, GREEDY, max_tokens=1, cache_scope=scope))
            found.append(again.usage.cached_tokens)
        assert found[0] == 0
        assert found[1] >= 256


async def test_a_long_prompt_does_not_stop_the_others(tiny_model: Path) -> None:
    stand_in = StandIn()
    async with running(stand_in_engine(tiny_model, stand_in)) as engine:
        assert stand_in.model is not None
        passes: list[tuple[int, int]] = []
        stand_in.model.before = lambda token_ids: passes.append((token_ids.shape[0], token_ids.shape[1]))
        talking = submit(engine, endless(engine, max_tokens=200))
        await talking.tokens(2)
        await generate(engine, job(engine, FOXES * 80, max_tokens=1))
        await talking.end()
    chunks = [at for at, (_, tokens) in enumerate(passes) if tokens > 100]
    assert len(chunks) >= 3
    assert max(tokens for _, tokens in passes) == 256
    # Between two chunks of the long prompt, the other job got a token.
    assert all(passes[at + 1] == (1, 1) for at in chunks[:-1])


async def test_a_cancellation_takes_effect_within_an_iteration(tiny_model: Path) -> None:
    stand_in = StandIn()
    async with running(stand_in_engine(tiny_model, stand_in)) as engine:
        assert stand_in.model is not None
        passes: list[torch.Tensor] = []
        stand_in.model.before = passes.append
        talking = submit(engine, endless(engine, max_tokens=900))
        await talking.tokens(3)
        talking.cancel()
        await eventually(lambda: engine.facts().batch_size == 0)
        until = len(passes)
        assert engine.facts().pages_free == engine.facts().pages_total
        await generate(engine, job(engine, "a", max_tokens=1))
        # One pass reads the prompt, and one produces the token.
        assert len(passes) == until + 2
        assert talking.late == 0


async def test_figures_are_those_of_the_moment(tiny_model: Path) -> None:
    now = 100.0
    # Slow enough that the first job still runs when the figures are read.
    async with running(stand_in_engine(tiny_model, StandIn(tokens_per_second=500), clock=lambda: now)) as engine:
        assert (engine.facts().pages_total, engine.facts().tokens_per_second) == (16, 0.0)
        talking = submit(engine, endless(engine, max_tokens=300))
        await talking.tokens(2)
        assert (engine.facts().batch_size, engine.facts().pages_free) == (1, 14)
        talking.cancel()
        await generate(engine, job(engine, max_tokens=20))
        assert engine.facts().tokens_per_second >= 1.0
        now = 110.0
        assert engine.facts().tokens_per_second == 0.0
        assert engine.facts().gpus == ()

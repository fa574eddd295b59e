"""Between the model and the sampler: OpenAI's meaning of penalties, biases and log probabilities."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import llguidance
import pytest
import torch
from msgspec.structs import replace

from services.common.errors import MeshError
from services.runner.engines.exllamav2.jobs.logits import LogitFilter, ShapeLostError
from services.runner.engines.exllamav2.jobs.sampling import sampler_settings
from services.runner.engines.exllamav2.model_directory import read_model_directory
from services.runner.engines.exllamav2.vocabulary import Vocabulary
from services.runner.kinds.text.job import Job, Sampling
from tests.support.engine_contract import job
from tests.support.recording import generate, submit
from tests.torch.stand_in.engine import running, stand_in_engine

REPEATING = Sampling(repetition_penalty=1.5)
PENALISED = Sampling(presence_penalty=0.5, frequency_penalty=0.25, logit_bias={7: 3.0, 8: -100.0})


@pytest.fixture(scope="module")
def vocabulary(tiny_model: Path) -> Vocabulary:
    return Vocabulary(read_model_directory(tiny_model))


def logit_filter(vocabulary: Vocabulary, matcher: Any = None, **fields: Any) -> LogitFilter:
    job = Job("request", "prompt", **{"sampling": Sampling(), **fields})
    return LogitFilter(None, None, vocabulary, job, matcher)


def logits(vocabulary: Vocabulary, seed: int = 0) -> torch.Tensor:
    size = vocabulary.size + -vocabulary.size % 32
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def feed(each: LogitFilter, *token_ids: int) -> None:
    for token_id in token_ids:
        each.feed(torch.tensor([[token_id]]))


def test_penalties_count_what_was_said(vocabulary: Vocabulary) -> None:
    each = logit_filter(vocabulary, sampling=PENALISED)
    raw = logits(vocabulary)
    feed(each, 7, 9, 9, 9)
    changed = each.mask_logits(raw.clone()) - raw
    # A bias is added; frequency counts every time, presence once.
    expected = {7: 3.0 - 0.75, 8: -100.0, 9: -0.75 - 0.5}
    for token_id, offset in expected.items():
        assert changed[token_id].item() == pytest.approx(offset, abs=1e-5)
    assert int((changed != 0).sum()) == len(expected)
    assert each.failure is None


def test_resumed_tokens_were_said_too(vocabulary: Vocabulary) -> None:
    told = logit_filter(vocabulary, sampling=PENALISED)
    feed(told, 7, 9, 9)
    resumed = logit_filter(vocabulary, sampling=PENALISED, resume_token_ids=(7, 9, 9))
    raw = logits(vocabulary)
    assert torch.equal(told.mask_logits(raw.clone()), resumed.mask_logits(raw.clone()))


def test_what_is_there_is_less_likely(vocabulary: Vocabulary) -> None:
    end, image = min(vocabulary.eos_token_ids), vocabulary.size + 1000
    each = LogitFilter(
        None, None, vocabulary, Job("request", "", REPEATING, resume_token_ids=(8,)), None, [7, end, image]
    )
    feed(each, 9, end)
    raw = logits(vocabulary)
    raw[7], raw[8], raw[9], raw[end] = 3.0, -1.0, 0.0, 5.0
    changed = each.mask_logits(raw.clone())
    assert changed[[7, 8, 9]].tolist() == [2.0, -1.5, 0.0]
    # The end of a turn is not repetition.
    assert changed[end] == raw[end]
    assert int((changed != raw).sum()) == 2
    assert each.failure is None


def test_log_probabilities_are_those_of_the_model(vocabulary: Vocabulary) -> None:
    each = logit_filter(vocabulary, sampling=PENALISED, logprobs=3)
    raw = logits(vocabulary)
    each.mask_logits(raw.clone())
    feed(each, 9)
    entry = each.entries.popleft()
    # Neither the biases, nor the penalties, nor what lies beyond the vocabulary count.
    expected = torch.log_softmax(raw[: vocabulary.size], dim=-1)
    assert entry.logprob == pytest.approx(expected[9].item(), abs=1e-5)
    assert entry.token == vocabulary.piece(9)
    values, indices = expected.topk(3)
    assert [top.logprob for top in entry.top] == pytest.approx(values.tolist(), abs=1e-5)
    assert [top.token for top in entry.top] == [vocabulary.piece(index) for index in indices.tolist()]


def test_a_prompt_that_is_scored_is_all_that_may_be_said(vocabulary: Vocabulary) -> None:
    scored = Job("request", "", PENALISED, 1, 0, score_prompt=True)
    each = LogitFilter(None, None, vocabulary, scored, None, [5, 8, 9])
    raw = logits(vocabulary)
    for token_id in (8, 9):
        assert (each.mask_logits(raw.clone()) > float("-inf")).nonzero().flatten().tolist() == [token_id]
        feed(each, token_id)
    expected = torch.log_softmax(raw[: vocabulary.size], dim=-1)
    assert [entry.logprob for entry in each.entries] == pytest.approx(expected[[8, 9]].tolist(), abs=1e-5)
    # The prompt was not said, so nothing is penalised for it; the biases count.
    changed = each.mask_logits(raw.clone()) - raw
    assert (changed[7].item(), changed[9].item()) == pytest.approx((3.0, 0.0), abs=1e-5)
    assert each.failure is None


async def test_an_end_within_a_prompt_cannot_be_scored(tiny_model: Path, vocabulary: Vocabulary) -> None:
    end = min(vocabulary.eos_token_ids)
    async with running(stand_in_engine(tiny_model)) as engine:
        asked = Job("request", "", Sampling(), 0, 1, prompt_token_ids=(end, 7, 8), score_prompt=True)
        assert len((await generate(engine, asked)).steps[-1].prompt_logprobs) == 3
        with pytest.raises(MeshError, match="must not hold the token of its end") as caught:
            await generate(engine, replace(asked, prompt_token_ids=(7, end, 8)))
        assert caught.value.param == "prompt"


def test_a_grammar_forbids_all_else(vocabulary: Vocabulary) -> None:
    matcher = llguidance.LLMatcher(vocabulary.guidance, '%llguidance {}\nstart: "no"\n')
    each = logit_filter(vocabulary, matcher, grammar="…")
    assert each.use_background_worker()
    assert each.prepare_logit_mask()
    allowed = (each.mask_logits(logits(vocabulary)) > float("-inf")).nonzero().flatten().tolist()
    assert {vocabulary.piece(token_id) for token_id in allowed} <= {b"n", b"no"}
    feed(each, *vocabulary.encode("no"))
    each.prepare_logit_mask()
    ends = (each.mask_logits(logits(vocabulary)) > float("-inf")).nonzero().flatten().tolist()
    assert set(ends) == vocabulary.eos_token_ids


def test_a_grammar_that_cannot_go_on_is_a_failure_and_no_exception(vocabulary: Vocabulary) -> None:
    matcher = llguidance.LLMatcher(vocabulary.guidance, '%llguidance {}\nstart: "no"\n', log_level=0)
    each = logit_filter(vocabulary, matcher, grammar="…")
    feed(each, *vocabulary.encode("yes"))
    assert isinstance(each.failure, ShapeLostError)


def test_a_grammar_that_leaves_no_token_is_a_failure_and_no_exception(vocabulary: Vocabulary) -> None:
    nothing = '%llguidance {}\nstart: "no" NOTHING\nNOTHING: /[a-z]+/ & /[0-9]+/\n'
    matcher = llguidance.LLMatcher(vocabulary.guidance, nothing, log_level=0)
    each = logit_filter(vocabulary, matcher, grammar="…")
    feed(each, *vocabulary.encode("no"))
    each.prepare_logit_mask()
    each.mask_logits(logits(vocabulary))
    assert isinstance(each.failure, ShapeLostError)


def test_a_job_without_wishes_needs_no_filter() -> None:
    assert not LogitFilter.needed(Job("request", "prompt", Sampling(temperature=0.3, top_p=0.9, seed=1)))
    assert LogitFilter.needed(Job("request", "prompt", Sampling(), logprobs=0))
    assert LogitFilter.needed(Job("request", "prompt", PENALISED))
    assert LogitFilter.needed(Job("request", "prompt", REPEATING))
    assert not LogitFilter.needed(Job("request", "prompt", Sampling(top_k=5, min_p=0.1)))


def test_every_default_of_the_library_is_off() -> None:
    settings = dataclasses.asdict(sampler_settings(Sampling(temperature=0.7, top_p=0.9)))
    assert (settings["temperature"], settings["top_p"], settings["top_k"]) == (0.7, 0.9, 0)
    assert settings["token_repetition_penalty"] == 1.0
    off = (
        *("token_frequency_penalty", "token_presence_penalty", "min_p", "top_a", "tfs", "typical", "skew"),
        *("smoothing_factor", "min_temp", "max_temp", "dry_multiplier", "xtc_probability", "mirostat", "cfg_scale"),
    )
    assert not any(settings[name] for name in off)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0),
        Sampling(temperature=0.001),
        Sampling(top_p=0),
        Sampling(temperature=2, top_k=1, top_p=0.5),
        Sampling(min_p=1, top_k=5),
    ],
)
def test_the_coldest_wishes_are_greedy(sampling: Sampling) -> None:
    settings = sampler_settings(sampling)
    assert (settings.top_k, settings.temperature, settings.min_p) == (1, 1.0, 0.0)


def test_what_openai_does_not_have_is_passed_on() -> None:
    settings = sampler_settings(Sampling(top_k=5, min_p=0.25, repetition_penalty=1.5))
    assert (settings.top_k, settings.min_p, settings.token_repetition_penalty) == (5, 0.25, 1.0)


async def test_sampling_is_what_was_asked_for(tiny_model: Path) -> None:
    async with running(stand_in_engine(tiny_model)) as engine:
        greedy = await generate(engine, job(engine, max_tokens=10))
        for sampling in (Sampling(top_p=0), Sampling(temperature=0.005, seed=3)):
            assert (await generate(engine, job(engine, sampling=sampling, max_tokens=10))).token_ids == greedy.token_ids
        seeds = [submit(engine, job(engine, sampling=Sampling(seed=seed), max_tokens=10)) for seed in (1, 2, 3)]
        assert len({(await answer.end()).text for answer in seeds}) == 3
        unseeded = [submit(engine, job(engine, sampling=Sampling(), max_tokens=10)) for _ in range(3)]
        assert len({(await answer.end()).text for answer in unseeded}) > 1


async def test_a_bias_forces_a_token_and_a_penalty_wears_it_out(tiny_model: Path) -> None:
    async with running(stand_in_engine(tiny_model)) as engine:
        forced = Sampling(temperature=0, logit_bias={300: 100})
        assert (await generate(engine, job(engine, sampling=forced, max_tokens=5))).token_ids == [300] * 5
        # Two points a time outweigh a lead of forty after about twenty times.
        worn = Sampling(temperature=0, logit_bias={300: 40}, frequency_penalty=2)
        answer = await generate(engine, job(engine, sampling=worn, max_tokens=40))
        assert 5 < answer.token_ids.count(300) < 30

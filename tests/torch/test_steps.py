"""Tokens → text: whole characters, and tokens behind exactly their text."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import pytest

from services.runner.engines.exllamav2.jobs.steps import StepAssembler
from services.runner.engines.exllamav2.model_directory import read_model_directory
from services.runner.engines.exllamav2.vocabulary import Vocabulary
from services.runner.kinds.base import FinishReason
from services.runner.kinds.text.job import Job, Sampling, TokenLogprob
from tests.support.answer_contract import GREEDY
from tests.support.answers import answer
from tests.support.engine_contract import job, tokens_until
from tests.support.recording import generate
from tests.torch.stand_in.checkpoint import END_OF_TURN
from tests.torch.stand_in.engine import running, stand_in_engine

TEXT = "né日本語🎉, fox!"


@pytest.fixture(scope="module")
def vocabulary(tiny_model: Path) -> Vocabulary:
    return Vocabulary(read_model_directory(tiny_model))


def assembler(vocabulary: Vocabulary, resumed: tuple[int, ...] = ()) -> StepAssembler:
    return StepAssembler(Job("request", "prompt", Sampling(), resume_token_ids=resumed), vocabulary, 10)


def test_tokens_come_with_whole_characters(vocabulary: Vocabulary) -> None:
    said = assembler(vocabulary)
    token_ids = vocabulary.encode(TEXT)
    steps = [said.take([token_id], None) for token_id in token_ids]
    assert "".join(step.text for step in steps) == TEXT
    assert [token_id for step in steps for token_id in step.token_ids] == token_ids
    for step in steps:
        assert vocabulary.text(step.token_ids) == step.text
        assert "\ufffd" not in step.text
    # "é" takes two tokens of this vocabulary, and the first one waits for the second.
    assert (steps[1].text, steps[1].token_ids) == ("", [])


def test_an_answer_cut_within_a_character_shows_that_something_is_missing(vocabulary: Vocabulary) -> None:
    said = assembler(vocabulary)
    token_ids = vocabulary.encode("日")[:2]
    step = said.take(token_ids, None)
    assert step.text == ""
    said.finish(step, FinishReason.LENGTH)
    assert (step.text, step.token_ids) == ("\ufffd", token_ids)
    assert vocabulary.text(token_ids) == step.text


def test_every_token_keeps_its_log_probability(vocabulary: Vocabulary) -> None:
    said = assembler(vocabulary)
    token_ids = vocabulary.encode("日本語")
    entries = deque(TokenLogprob(vocabulary.piece(token_id), -float(at)) for at, token_id in enumerate(token_ids))
    step = said.finish(said.take(token_ids, entries), FinishReason.LENGTH)
    assert step.text == "日本語"
    assert [entry.logprob for entry in step.logprobs] == [-float(at) for at in range(len(step.token_ids))]
    assert b"".join(entry.token for entry in step.logprobs).decode() == "日本語"


def test_counts_include_what_was_resumed_and_what_was_cut(vocabulary: Vocabulary) -> None:
    said = assembler(vocabulary, resumed=(300, 301))
    step = said.finish(said.take(vocabulary.encode("fox"), None), FinishReason.LENGTH, cached_tokens=99)
    assert step.usage is not None
    assert step.usage.completion_tokens == 2 + len(vocabulary.encode("fox"))
    # The resumed tokens are in the cache as well, but they are no part of the prompt.
    assert (step.usage.prompt_tokens, step.usage.cached_tokens) == (10, 10)


def test_special_tokens_have_no_text(vocabulary: Vocabulary) -> None:
    assert vocabulary.piece(END_OF_TURN) == b""
    assert vocabulary.text([*vocabulary.encode("fox"), END_OF_TURN]) == "fox"


async def test_characters_made_of_several_tokens_lose_none(tiny_model: Path) -> None:
    async with running(stand_in_engine(tiny_model)) as engine:
        grammar = f'%llguidance {{}}\nstart: "{TEXT}"\n'
        whole = await generate(engine, job(engine, sampling=GREEDY, grammar=grammar, logprobs=2))
        assert (whole.text, whole.finish) == (TEXT, FinishReason.STOP)
        assert b"".join(entry.token for entry in whole.logprobs).decode() == TEXT
        for step in whole.steps:
            assert engine.detokenize(step.token_ids) == step.text
        for stop in ("é", "日本", "本語🎉", "🎉, f", "ox!"):
            stopped = await answer(engine, job(engine, grammar=grammar), "never", stop)
            assert stopped.content == TEXT[: TEXT.index(stop)]
            assert stopped.usage.completion_tokens == tokens_until(whole, TEXT.index(stop) + len(stop))

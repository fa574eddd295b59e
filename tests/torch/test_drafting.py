"""A model that guesses ahead changes how fast an answer comes, and nothing else about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.runner.engines.exllamav2.errors import ModelError
from services.runner.kinds.text.job import Sampling
from services.runner.kinds.text.prompt.grammar import answer_grammar
from services.runner.kinds.text.prompt.tools import Toolbox
from tests.support.answer_contract import QUESTIONS, SEEDED
from tests.support.answers import answer
from tests.support.engine_contract import CITY, job, tokens_until
from tests.support.recording import generate, submit
from tests.torch.stand_in.checkpoint import write_checkpoint
from tests.torch.stand_in.engine import running, stand_in_engine

CASES: tuple[dict[str, Any], ...] = (
    {},
    {"max_tokens": 1},
    {"max_tokens": 23},
    {"sampling": SEEDED, "max_tokens": 30},
    {"max_tokens": 20, "logprobs": 2},
    {"sampling": Sampling(temperature=0, frequency_penalty=1.5), "max_tokens": 20},
    {"grammar": answer_grammar(CITY, Toolbox()), "max_tokens": 80},
)


@pytest.mark.parametrize("same", [True, False], ids=["always right", "hardly ever right"])
async def test_answers_are_the_same_with_a_draft_model(tiny_model: Path, tmp_path: Path, same: bool) -> None:
    draft = tiny_model if same else write_checkpoint(tmp_path / "draft", seed=8)
    async with running(stand_in_engine(tiny_model)) as engine:
        plain = [await generate(engine, job(engine, **case)) for case in CASES]
    async with running(stand_in_engine(tiny_model, draft_path=draft, slots=8)) as engine:
        drafted = [submit(engine, job(engine, **case)) for case in CASES]
        for one, other in zip(plain, drafted, strict=True):
            await other.end()
            assert (other.text, other.token_ids, other.finish) == (one.text, one.token_ids, one.finish)
            assert other.logprobs == one.logprobs
            assert other.usage.completion_tokens == one.usage.completion_tokens
        assert engine.facts().pages_free == engine.facts().pages_total


async def test_stop_strings_and_interruptions_fall_between_guesses(tiny_model: Path) -> None:
    async with running(stand_in_engine(tiny_model, draft_path=tiny_model)) as engine:
        whole = await generate(engine, job(engine, max_tokens=12))
        stop = whole.text[10:14]
        stopped = await answer(engine, job(engine, max_tokens=60), stop)
        assert stopped.content == whole.text[: whole.text.index(stop)]
        assert stopped.usage.completion_tokens == tokens_until(whole, whole.text.index(stop) + len(stop))
        for produced in range(1, 12):
            delivered = tuple(whole.token_ids[:produced])
            rest = await generate(engine, job(engine, max_tokens=12, resume_token_ids=delivered))
            assert [*delivered, *rest.token_ids] == whole.token_ids


async def test_a_full_context_of_guesses_fits(tiny_model: Path) -> None:
    async with running(stand_in_engine(tiny_model, draft_path=tiny_model, context=256, slots=2)) as engine:
        answers = [submit(engine, job(engine, question, sampling=Sampling(seed=2))) for question in QUESTIONS[:2]]
        for answer in answers:
            await answer.end()
            assert answer.usage.prompt_tokens + answer.usage.completion_tokens <= 256


async def test_a_draft_model_with_other_tokens_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    draft = write_checkpoint(tmp_path / "draft")
    tokenizer = draft / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace('"fox"', '"cat"').replace('"Ġfox"', '"Ġcat"'))
    engine = stand_in_engine(tiny_model, draft_path=draft)
    with pytest.raises(ModelError, match="another vocabulary"):
        await engine.start()
    await engine.close()

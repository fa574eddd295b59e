"""What the runner relies on, whichever engine it has, if it has tokens: one suite that every such engine passes.

An engine's tests subclass `EngineContract` and say how it is built.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
from msgspec.structs import replace

from services.common.errors import Code, MeshError
from services.runner.kinds.base import FinishReason
from services.runner.kinds.text.engine import TextEngine, TextTicket
from services.runner.kinds.text.job import Job, Sampling
from services.runner.kinds.text.prompt.controls import ControlTexts
from services.runner.kinds.text.prompt.formats.rules import json_rule
from services.runner.kinds.text.prompt.grammar import answer_grammar
from services.runner.kinds.text.prompt.template import ChatTemplate
from services.runner.kinds.text.prompt.tools import Toolbox
from tests.support.answer_contract import GREEDY, QUESTIONS, SEEDED, AnswerContract
from tests.support.answers import answer
from tests.support.recording import Recording, generate, submit
from tests.support.waiting import eventually
from tiermesh.runner.v1.runner_pb2 import FINISH_REASON_LENGTH, FINISH_REASON_STOP, FINISH_REASON_TOOL_CALLS

REPEATING = Sampling(temperature=0, repetition_penalty=1.3)
THOUGHT, CONTENT = "<think>hm, a name</think>", "Let me see."
CALLS = '\n<tool_call>\n{"name": "look", "arguments": {"city": "Paris"}}\n</tool_call>' * 2
CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "population": {"type": "integer", "maximum": 99999999}},
    "required": ["city", "population"],
    "additionalProperties": False,
}


# What one build of llguidance knows and another does not, and texts that a tokenizer takes for control tokens.
KEPT_OR_REFUSED: tuple[dict[str, Any], ...] = (
    {"type": "string", "pattern": "^(^a)$"},
    {"type": "string", "pattern": "^\\Ax\\z$"},
    {"type": "string", "pattern": "^<\\|im_(end|start)\\|>$"},
    {"enum": ["<|im_end|>"]},
    {"enum": [{"<|im_start|>": ["</s>", "<|endoftext|>"]}]},
)
# After its first word nothing fits.
STOPS_MIDWAY = '%llguidance {}\nstart: "yes" NOTHING\nNOTHING: /[a-z]+/ & /[0-9]+/\n'


def job(engine: TextEngine, question: str = QUESTIONS[0], **fields: object) -> Job:
    messages = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": question}]
    controls = ControlTexts(engine.control_texts)
    prompt = ChatTemplate(engine.chat_template, controls=controls).render(messages)
    return Job("request", prompt, cuts=prompt.cuts, **{"sampling": GREEDY, **fields})  # type: ignore[arg-type] # fields of Job


def tokens_until(free: Recording, end: int) -> int:
    """Returns how many tokens an answer had when so many characters were complete."""
    text, tokens = "", 0
    for step in free.steps:
        text, tokens = text + step.text, tokens + len(step.token_ids)
        if len(text) >= end:
            break
    return tokens


async def outcome(engine: TextEngine, asked: Job) -> Recording | MeshError:
    """Returns what a job has said, or how it was refused or failed."""
    try:
        return await generate(engine, asked)
    except MeshError as error:
        return error


def boundaries(answer: Recording) -> list[int]:
    """Returns after how many tokens an edge may have seen this answer break off, the end left out."""
    counts = [len(step.token_ids) for step in answer.steps]
    return sorted({sum(counts[:at]) for at in range(1, len(counts))} - {0, len(answer.token_ids)})


@pytest.mark.asyncio(loop_scope="class")
class EngineContract(AnswerContract):
    """The suite. Engines have 4 slots and 1024 tokens of context."""

    # Whether some tokens mean something that no text does.
    has_control_tokens: ClassVar[bool] = True
    # Whether a sampled answer with a seed goes on as it would have, after it was interrupted.
    resumes_seeds: ClassVar[bool] = True
    # The logit_bias that makes an answer long, for a model that would soon end it.
    talkative: ClassVar[dict[int, float]] = {}

    @classmethod
    def build(cls, folder: Path) -> TextEngine:
        """Returns an engine that has not been started; `folder` is for files that it needs."""
        raise NotImplementedError

    def job(self, engine: TextEngine, question: str = QUESTIONS[0], **fields: Any) -> Job:
        """Returns a job that asks a question, greedily."""
        return job(engine, question, **fields)

    def plain_job(self, text: str) -> Job:
        """Returns a job for an engine that has not been started, or not any more."""
        return Job("request", text, GREEDY)

    async def test_tokens_are_those_that_are_counted(self, engine: TextEngine) -> None:
        cut = await generate(engine, job(engine, max_tokens=3))
        assert len(cut.token_ids) == cut.usage.completion_tokens == 3
        whole = await generate(engine, job(engine))
        # An engine may count the token that says that the turn is over.
        assert 0 <= whole.usage.completion_tokens - len(whole.token_ids) <= 1

    async def test_a_prompt_of_tokens_is_taken_as_it_is(self, engine: TextEngine) -> None:
        tokens = tuple((await generate(engine, job(engine, max_tokens=6))).token_ids)
        bare = Job("request", engine.detokenize(tokens), GREEDY, max_tokens=5, prompt_token_ids=tokens)
        whole = await generate(engine, bare)
        assert whole.usage.prompt_tokens == len(tokens)
        delivered = tuple(whole.token_ids[:2])
        rest = await generate(engine, replace(bare, resume_token_ids=delivered))
        assert [*delivered, *rest.token_ids] == whole.token_ids
        assert rest.usage.prompt_tokens == len(tokens)

    async def test_what_a_client_writes_is_never_a_control_token(self, engine: TextEngine) -> None:
        written = [text for text in sorted(engine.control_texts) if text in engine.chat_template]
        if not self.has_control_tokens:
            assert not written
            return
        assert written
        words = "x" + "".join(text * 20 for text in written if "im_end" in text)
        plain = ControlTexts(engine.control_texts).plain(words)
        few, many = job(engine, "x", max_tokens=1), job(engine, words, max_tokens=1)
        bare = Job("request", plain, GREEDY, max_tokens=1, cuts=plain.cuts)
        counts = [(await generate(engine, each)).usage.prompt_tokens for each in (few, many, bare)]
        assert counts[1] - counts[0] >= 60
        assert counts[2] > 60

    async def test_an_answer_to_words_of_control_tokens_can_be_resumed(self, engine: TextEngine) -> None:
        asked = job(engine, "Say <|im_end|> and <|im_start|>.", max_tokens=6)
        whole = await generate(engine, asked)
        delivered = tuple(whole.token_ids[:2])
        rest = await generate(engine, replace(asked, resume_token_ids=delivered))
        assert [*delivered, *rest.token_ids] == whole.token_ids
        assert rest.usage.prompt_tokens == whole.usage.prompt_tokens

    async def test_the_text_is_that_of_the_tokens(self, engine: TextEngine) -> None:
        answer = await generate(engine, job(engine))
        assert engine.detokenize(answer.token_ids) == answer.text
        for step in answer.steps:
            assert engine.detokenize(step.token_ids) == step.text

    async def test_the_vocabulary_is_known(self, engine: TextEngine) -> None:
        assert re.fullmatch("[0-9a-f]{16}", engine.vocabulary)

    @pytest.mark.parametrize("whole", [False, True])
    @pytest.mark.parametrize("width", [1, 5, 9])
    async def test_a_stop_string_ends_the_answer_before_it(self, engine: TextEngine, width: int, whole: bool) -> None:
        asked = job(engine, max_tokens=12, logprobs=0)
        free = await generate(engine, asked)
        stop = free.text[10 : 10 + width]
        # What follows it does not change what an answer with a stop string is, and is not charged for.
        longer = replace(asked, max_tokens=300)
        said = await answer(engine, longer, "never", stop, whole=whole)
        assert said.content == said.logprobs.decode() == free.text[: free.text.index(stop)]
        assert said.finish == FINISH_REASON_STOP
        assert said.content.startswith(engine.detokenize(said.token_ids))
        assert said.usage.completion_tokens == tokens_until(free, free.text.index(stop) + width)
        assert said.usage.prompt_tokens == free.usage.prompt_tokens
        assert 0 <= said.usage.cached_tokens <= said.usage.prompt_tokens
        await eventually(lambda: engine.active == 0)

    async def test_text_held_back_for_a_stop_string_that_does_not_come_is_sent(self, engine: TextEngine) -> None:
        asked = job(engine, max_tokens=8)
        free = await generate(engine, asked)
        # The end of the text begins this stop string, but the answer ends there.
        said = await answer(engine, asked, free.text[-4:] + "never", free.text[:3] + "never")
        assert (said.content, said.token_ids) == (free.text, free.token_ids)
        by_limit = free.finish is FinishReason.LENGTH
        assert said.finish == (FINISH_REASON_LENGTH if by_limit else FINISH_REASON_STOP)
        assert said.usage.completion_tokens == free.usage.completion_tokens

    async def test_an_answer_with_a_stop_string_goes_on_at_another_runner(self, engine: TextEngine) -> None:
        asked = job(engine, max_tokens=12)
        free = await generate(engine, asked)
        stop = free.text[-6:]
        said = await answer(engine, asked, stop)
        for produced in range(1, len(said.token_ids)):
            delivered = tuple(free.token_ids[:produced])
            rest = await answer(engine, replace(asked, resume_token_ids=delivered), stop)
            assert engine.detokenize(delivered) + rest.content == said.content
            assert (rest.finish, rest.usage.completion_tokens) == (said.finish, said.usage.completion_tokens)

    @pytest.mark.parametrize("whole", [False, True])
    async def test_stop_strings_see_neither_thoughts_nor_calls(self, engine: TextEngine, whole: bool) -> None:
        asked = job(engine, grammar=f"%llguidance {{}}\nstart: {json.dumps(THOUGHT + CONTENT + CALLS)}\n")
        stops = ("}", "name", "\n", "hm", "</think>", "<tool_call>", "Paris")
        said = await answer(engine, asked, *stops, whole=whole, parsed=True)
        assert (said.reasoning, said.content) == ("hm, a name", CONTENT)
        assert said.calls == [("look", '{"city": "Paris"}')] * 2
        assert said.finish == FINISH_REASON_TOOL_CALLS
        said = await answer(engine, asked, "me s", whole=whole, parsed=True)
        assert (said.reasoning, said.content, said.calls) == ("hm, a name", "Let ", [])
        assert said.finish == FINISH_REASON_STOP

    async def test_log_probabilities_come_with_the_tokens(self, engine: TextEngine) -> None:
        answer = await generate(engine, job(engine, max_tokens=5, logprobs=3))
        assert len(answer.logprobs) == len(answer.token_ids)
        assert b"".join(entry.token for entry in answer.logprobs).decode() == answer.text
        for entry in answer.logprobs:
            assert len(entry.top) == 3
            assert entry.top[0] == type(entry.top[0])(entry.token, entry.logprob)
            assert sorted(entry.top, key=lambda top: -top.logprob) == list(entry.top)
            assert sum(math.exp(top.logprob) for top in entry.top) <= 1.001
        bare = await generate(engine, job(engine, max_tokens=2, logprobs=0))
        assert [entry.top for entry in bare.logprobs] == [(), ()]
        assert not (await generate(engine, job(engine, max_tokens=2))).logprobs

    async def test_a_prompt_is_scored_as_it_would_have_been_said(self, engine: TextEngine) -> None:
        first = (await generate(engine, job(engine, max_tokens=1))).token_ids
        plain = Job("request", engine.detokenize(first), GREEDY, 6, 2, prompt_token_ids=tuple(first))
        said = await generate(engine, plain)
        token_ids = (*first, *said.token_ids)
        text = engine.detokenize(token_ids)
        asked = replace(plain, prompt=text, prompt_token_ids=token_ids, score_prompt=True, max_tokens=0)
        scored = await generate(engine, asked)
        assert (scored.text, scored.token_ids, scored.logprobs) == ("", [], [])
        assert scored.finish is FinishReason.LENGTH
        assert (scored.usage.prompt_tokens, scored.usage.completion_tokens) == (len(token_ids), 0)
        beginning, *entries = scored.steps[-1].prompt_logprobs
        assert (beginning.token.decode(errors="replace"), beginning.top) == (engine.detokenize(first), ())
        assert [entry.token for entry in entries] == [entry.token for entry in said.logprobs]
        for entry, own in zip(entries, said.logprobs, strict=True):
            assert entry.logprob == pytest.approx(own.logprob, abs=1e-2)
            assert entry.top[0].token == own.top[0].token
        # What is said to a prompt does not depend on whether it is scored.
        unscored = await generate(engine, replace(asked, score_prompt=False, max_tokens=4))
        both = await generate(engine, replace(asked, max_tokens=4))
        assert (both.token_ids, both.text) == (unscored.token_ids, unscored.text)
        assert both.usage == replace(unscored.usage, cached_tokens=both.usage.cached_tokens)
        assert len(both.logprobs) == both.usage.completion_tokens
        again = [entry.logprob for entry in both.steps[-1].prompt_logprobs[1:]]
        assert again == pytest.approx([entry.logprob for entry in entries], abs=1e-2)

    async def test_a_text_is_scored_as_its_tokens(self, engine: TextEngine) -> None:
        text = "It is 日本語, né?"
        asked = Job("request", text, GREEDY, 0, 1, score_prompt=True)
        of_text = (await generate(engine, asked)).steps[-1].prompt_logprobs
        assert b"".join(entry.token for entry in of_text).decode().strip() == text
        assert all(entry.logprob < 0 and len(entry.top) == 1 for entry in of_text[1:])
        (alone,) = (await generate(engine, replace(asked, prompt="a"))).steps[-1].prompt_logprobs[-1:]
        assert alone.token == b"a"

    async def test_what_cannot_be_scored_is_refused(self, engine: TextEngine) -> None:
        (token_id,) = (await generate(engine, job(engine, max_tokens=1))).token_ids
        for count, code in ((1100, Code.CONTEXT_LENGTH_EXCEEDED), (4097, None)):
            token_ids = (token_id,) * count
            asked = Job("request", engine.detokenize(token_ids), GREEDY, 0, 1, prompt_token_ids=token_ids)
            refused = await outcome(engine, replace(asked, score_prompt=True))
            assert isinstance(refused, MeshError)
            assert code is None or refused.code is code

    async def test_a_job_that_scores_can_be_cancelled(self, engine: TextEngine) -> None:
        (token_id,) = (await generate(engine, job(engine, max_tokens=1))).token_ids
        token_ids = (token_id,) * 900
        asked = Job("request", engine.detokenize(token_ids), GREEDY, 0, 1, prompt_token_ids=token_ids)
        recording = submit(engine, replace(asked, score_prompt=True))
        if self.reads_slowly:
            ticket = recording.ticket
            assert ticket is not None
            await eventually(lambda: ticket.progress > 0)
        recording.cancel()
        await eventually(lambda: engine.active == 0)
        assert not recording.steps

    async def test_every_token_of_a_character_has_its_log_probability(self, engine: TextEngine) -> None:
        text = "né日本語🎉!"
        asked = job(engine, logprobs=1, grammar=f"%llguidance {{}}\nstart: {json.dumps(text)}\n")
        whole = await generate(engine, asked)
        assert whole.text == text
        assert len(whole.logprobs) == len(whole.token_ids)
        assert b"".join(entry.token for entry in whole.logprobs).decode() == text
        for step in whole.steps:
            assert b"".join(entry.token for entry in step.logprobs).decode() == step.text
        said = await answer(engine, asked, "語🎉")
        assert said.content == said.logprobs.decode() == "né日本"
        assert said.usage.completion_tokens == tokens_until(whole, text.index("!"))

    @pytest.mark.parametrize("sampling", [GREEDY, SEEDED, REPEATING], ids=["greedy", "seeded", "repeating"])
    async def test_an_answer_resumed_anywhere_goes_on_where_it_stopped(
        self, engine: TextEngine, sampling: Sampling
    ) -> None:
        if sampling is SEEDED and not self.resumes_seeds:
            pytest.skip("this engine begins a new sequence of random numbers when it resumes")
        whole = await generate(engine, job(engine, sampling=sampling, max_tokens=7))
        for produced in boundaries(whole):
            delivered = tuple(whole.token_ids[:produced])
            resumed = job(engine, sampling=sampling, max_tokens=7, resume_token_ids=delivered)
            rest = await generate(engine, resumed)
            assert [*delivered, *rest.token_ids] == whole.token_ids
            assert engine.detokenize(delivered) + rest.text == whole.text
            assert rest.finish is whole.finish
            assert rest.usage.completion_tokens == whole.usage.completion_tokens
            assert rest.usage.prompt_tokens == whole.usage.prompt_tokens

    async def test_a_resumed_answer_that_has_all_its_tokens_only_ends(self, engine: TextEngine) -> None:
        whole = await generate(engine, job(engine, max_tokens=3))
        rest = await generate(engine, job(engine, max_tokens=3, resume_token_ids=tuple(whole.token_ids)))
        assert (rest.text, rest.token_ids, rest.finish) == ("", [], FinishReason.LENGTH)
        assert (rest.usage.prompt_tokens, rest.usage.completion_tokens) == (whole.usage.prompt_tokens, 3)

    async def test_an_answer_follows_its_grammar_and_can_be_resumed(self, engine: TextEngine) -> None:
        shaped: dict[str, Any] = {"grammar": answer_grammar(CITY, Toolbox()), "max_tokens": 80}
        whole = await generate(engine, job(engine, **shaped))
        value = json.loads(whole.text)
        assert isinstance(value["city"], str)
        assert isinstance(value["population"], int)
        assert whole.finish is FinishReason.STOP
        places = boundaries(whole)
        for produced in (places[0], places[len(places) // 2], places[-1]):
            delivered = tuple(whole.token_ids[:produced])
            rest = await generate(engine, job(engine, **shaped, resume_token_ids=delivered))
            assert engine.detokenize(delivered) + rest.text == whole.text
            assert rest.usage.completion_tokens == whole.usage.completion_tokens

    async def test_a_bad_grammar_is_refused(self, engine: TextEngine) -> None:
        with pytest.raises(MeshError) as refusal:
            submit(engine, job(engine, grammar="%llguidance {}\nstart: nowhere\n"))
        assert refusal.value.code is Code.INVALID_REQUEST
        assert refusal.value.param == "response_format"

    @pytest.mark.parametrize("schema", KEPT_OR_REFUSED, ids=json.dumps)
    async def test_a_shape_is_kept_or_refused(self, engine: TextEngine, schema: dict[str, Any]) -> None:
        shaped = job(engine, grammar=f"%llguidance {{}}\nstart: {json_rule(schema)}\n", max_tokens=80)
        answer = await outcome(engine, shaped)
        if isinstance(answer, MeshError):
            assert (answer.code, answer.param) == (Code.INVALID_REQUEST, "response_format")
            return
        assert answer.finish is FinishReason.STOP
        value = json.loads(answer.text)
        assert value in schema["enum"] if "enum" in schema else re.search(schema["pattern"].replace("\\z", "$"), value)

    async def test_a_grammar_that_stops_midway_is_an_error(self, engine: TextEngine) -> None:
        with pytest.raises(MeshError) as failure:
            await generate(engine, job(engine, grammar=STOPS_MIDWAY, max_tokens=20))
        # Neither code has another runner tried, or this one ejected: the request is the cause.
        assert failure.value.code in {Code.CANCELLED, Code.INVALID_REQUEST}

    async def test_an_answer_cut_short_ends_with_length_and_what_it_has_said(self, engine: TextEngine) -> None:
        sampling = Sampling(temperature=0, logit_bias=self.talkative)
        asked = job(engine, "Tell me a long story.", sampling=sampling, max_tokens=900)
        whole = await generate(engine, replace(asked, max_tokens=20))
        recording = submit(engine, asked)
        assert isinstance(recording.ticket, TextTicket)
        # Nothing has been said yet, so that there is nothing to end with.
        recording.ticket.finish()
        await recording.tokens(2)
        recording.ticket.finish()
        await recording.end()
        assert recording.finish is FinishReason.LENGTH
        assert recording.usage.prompt_tokens == whole.usage.prompt_tokens
        assert len(recording.token_ids) <= recording.usage.completion_tokens < 900
        common = min(len(recording.text), len(whole.text))
        assert recording.text[:common] == whole.text[:common]
        recording.ticket.finish()
        recording.ticket.cancel()
        await eventually(lambda: engine.active == 0)
        assert (recording.ends, recording.late) == (1, 0)

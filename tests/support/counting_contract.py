"""What counts of tokens rely on, whichever engine counts: they are those of the answer.

An engine's tests subclass `CountingContract` beside `EngineContract`, which builds the engine.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from msgspec.structs import replace

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.runner.kinds.text.counting import PromptCounter
from services.runner.kinds.text.engine import TextEngine
from services.runner.kinds.text.prompt.controls import ControlTexts
from services.runner.kinds.text.prompt.template import ChatTemplate, packaged_template
from services.runner.kinds.text.reader import RequestReader
from tests.support.answer_contract import LONG, QUESTIONS
from tests.support.conversation_contract import MODEL, NAMED, SHAPE, THINKER, TOOLS
from tests.support.engine_contract import job
from tests.support.recording import generate, submit
from tiermesh.runner.v1 import runner_pb2 as pb

SYSTEM = pb.Message(role="system", content="You are a helpful assistant.")
HELLO = pb.Message(role="user", content="Hello, 世界! 🎉")
CALLED = pb.Message(
    role="assistant", tool_calls=[pb.ToolCall(id="call_1", name="add_city", arguments='{"city": "Paris"}')]
)
RESULT = pb.Message(role="tool", tool_call_id="call_1", name="add_city", content="Added.")
THOUGHT = pb.Message(role="assistant", content="Good day.", reasoning_content="A greeting needs one in return.")
CONVERSATIONS: dict[str, dict[str, Any]] = {
    "plain": {"messages": [HELLO]},
    "system": {"messages": [SYSTEM, HELLO]},
    "turns": {"messages": [SYSTEM, HELLO, THOUGHT, HELLO]},
    "tools": {"messages": [HELLO], "tools": TOOLS},
    "no-tools": {"messages": [HELLO], "tools": TOOLS, "tool_choice": pb.ToolChoice(mode=pb.ToolChoice.MODE_NONE)},
    "forced": {"messages": [HELLO], "tools": TOOLS, "tool_choice": NAMED},
    "results": {"messages": [HELLO, CALLED, RESULT], "tools": TOOLS},
    "schema": {
        "messages": [HELLO],
        "response_format": pb.ResponseFormat(json_schema=SHAPE.json_schema, description="The largest city."),
    },
    "control-tokens": {"messages": [pb.Message(role="user", content="<|im_end|><think>\n<s></s><tool_call>")]},
    "empty": {"messages": [pb.Message(role="user", content="")]},
    "long": {"messages": [SYSTEM, pb.Message(role="user", content=LONG[:800])]},
}
# Those whose prompts thoughts may change.
THOUGHTFUL = ("turns", "results")
TEMPLATE = packaged_template("smollm2")
TEXTS = ("a", " ", "It is 日本語, né?", "<|im_start|>user\nHi<|im_end|>", "\n\n\tdef f():", "<s>a", LONG[:200])


class Exact:
    """Counts and answers as a runner does, with a template that knows functions and thoughts."""

    def __init__(self, engine: TextEngine) -> None:
        self.engine = engine
        self._reader = self._new_reader()
        self._counter = PromptCounter(engine, self._new_reader)

    def _new_reader(self) -> RequestReader:
        controls = ControlTexts(self.engine.control_texts)
        return RequestReader(
            ChatTemplate(TEMPLATE, controls=controls),
            controls=controls,
            detokenize=self.engine.detokenize,
            new_call_id=lambda: "call_1",
            vocabulary=self.engine.vocabulary,
        )

    async def count(self, model: Model, **fields: Any) -> pb.TokenCount:
        task = fields.pop("token_count", pb.TokenCountTask())
        call = pb.GenerateCall(id=1, model=model.id, **fields, token_count=task)
        return await asyncio.to_thread(self._counter.count, call, model)

    async def prompt_tokens(self, model: Model, **fields: Any) -> int:
        """Returns what an answer says; the first token is enough."""
        sampling = pb.Sampling(temperature=0, top_p=1)
        call = pb.GenerateCall(id=1, model=model.id, sampling=sampling, max_tokens=1, **fields)
        return (await generate(self.engine, self._reader.read(call, model).job)).usage.prompt_tokens


@pytest.mark.asyncio(loop_scope="class")
class CountingContract:
    """The suite, for engines that pass `EngineContract`."""

    @pytest.fixture(scope="class")
    @classmethod
    def exact(cls, started: TextEngine) -> Exact:
        return Exact(started)

    @pytest.mark.parametrize("name", CONVERSATIONS)
    async def test_the_count_is_that_of_the_answer(self, engine: TextEngine, exact: Exact, name: str) -> None:
        del engine
        for model in (MODEL, THINKER) if name in THOUGHTFUL else (MODEL,):
            counted = await exact.count(model, **CONVERSATIONS[name])
            assert counted.tokens == await exact.prompt_tokens(model, **CONVERSATIONS[name]) > 0
            assert (len(counted.token_ids), len(counted.token_texts)) == (0, 0)

    async def test_effort_changes_the_count_as_it_does_the_answer(self, engine: TextEngine, exact: Exact) -> None:
        del engine
        for effort in ("none", "low", "high"):
            fields: dict[str, Any] = {"messages": [SYSTEM, HELLO], "reasoning_effort": effort}
            assert (await exact.count(THINKER, **fields)).tokens == await exact.prompt_tokens(THINKER, **fields)

    @pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
    async def test_a_text_has_the_tokens_that_are_continued(self, engine: TextEngine, exact: Exact, text: str) -> None:
        task = pb.TokenCountTask(prompt=text, listed=True, texts=True)
        counted = await exact.count(MODEL, token_count=task)
        completion = pb.CompletionTask(prompt=text)
        assert counted.tokens == await exact.prompt_tokens(MODEL, completion=completion)
        again = pb.CompletionTask(token_ids=counted.token_ids)
        assert await exact.prompt_tokens(MODEL, completion=again) == len(counted.token_ids) == len(counted.token_texts)
        bare = await exact.count(MODEL, token_count=pb.TokenCountTask(prompt=text, listed=True, bare=True))
        assert engine.detokenize(bare.token_ids).strip() == text.strip()
        assert list(counted.token_ids)[len(counted.token_ids) - len(bare.token_ids) :] == list(bare.token_ids)

    async def test_nothing_has_no_tokens_of_its_own(self, engine: TextEngine, exact: Exact) -> None:
        del engine
        nothing = await exact.count(MODEL, token_count=pb.TokenCountTask(prompt="", bare=True, listed=True))
        assert (nothing.tokens, list(nothing.token_ids)) == (0, [])

    async def test_the_tokens_of_a_conversation_show_what_the_template_writes(
        self, engine: TextEngine, exact: Exact
    ) -> None:
        task = pb.TokenCountTask(listed=True, texts=True)
        counted = await exact.count(MODEL, messages=[SYSTEM, HELLO], token_count=task)
        assert len(counted.token_texts) == len(counted.token_ids)
        written = [text for text in engine.control_texts if text in TEMPLATE and "im_" in text]
        assert {*written} <= {*counted.token_texts}

    async def test_what_does_not_fit_is_counted_as_it_is_refused(self, engine: TextEngine, exact: Exact) -> None:
        del engine
        fields: dict[str, Any] = {"messages": [SYSTEM, pb.Message(role="user", content=LONG * 2)]}
        counted = await exact.count(MODEL, **fields)
        with pytest.raises(MeshError) as refusal:
            await exact.prompt_tokens(MODEL, **fields)
        assert refusal.value.code is Code.CONTEXT_LENGTH_EXCEEDED
        assert f"resulted in {counted.tokens} tokens" in refusal.value.message

    async def test_a_full_engine_counts(self, engine: TextEngine, exact: Exact) -> None:
        running = [submit(engine, job(engine, question, max_tokens=200)) for question in QUESTIONS]
        assert engine.active == 4
        counted = await exact.count(MODEL, messages=[HELLO])
        assert counted.tokens > 0
        for recording in running:
            recording.cancel()

    async def test_what_an_answer_would_refuse_is_refused(self, engine: TextEngine, exact: Exact) -> None:
        del engine
        wrong = pb.Tool(name="f", parameters_json=json.dumps({"type": "string"}))
        fields: dict[str, Any] = {
            "messages": [HELLO],
            "tools": [wrong],
            "tool_choice": pb.ToolChoice(mode=pb.ToolChoice.MODE_REQUIRED),
        }
        for ask in (exact.count, exact.prompt_tokens):
            with pytest.raises(MeshError) as refusal:
                await ask(MODEL, **fields)
            assert refusal.value.code is Code.INVALID_REQUEST

    async def test_too_many_tokens_are_not_listed(self, engine: TextEngine, exact: Exact) -> None:
        del engine
        # The shorter a context is, the fewer tokens a reply may list.
        model = replace(MODEL, context=16)
        with pytest.raises(MeshError) as refusal:
            await exact.count(
                model, token_count=pb.TokenCountTask(prompt="word and " * 80_000, listed=True, texts=True)
            )
        assert (refusal.value.code, refusal.value.param) == (Code.INVALID_REQUEST, "prompt")
        assert "too many to be listed" in refusal.value.message

"""What answers rely on, whichever engine says them: shapes, calls and thoughts, read and written as a runner does.

An engine's tests subclass `ConversationContract` beside `EngineContract`, which builds the engine.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from services.common.catalog import Model
from services.common.text_digest import text_digest
from services.common.text_steps import AnyReply
from services.runner.kinds.text.engine import TextEngine
from services.runner.kinds.text.prompt.template import ChatTemplate, packaged_template
from services.runner.kinds.text.reader import RequestReader
from services.runner.kinds.text.writer import TextReader
from tests.support.engine_contract import CITY
from tests.support.recording import generate
from tiermesh.runner.v1 import runner_pb2 as pb

MODEL = Model(id="model", kind="chat", tier="pro", price=10, context=1024, capabilities=("tools",))
THINKER = Model(id="thinker", kind="chat", tier="pro", price=10, context=1024, reasoning=True, capabilities=("tools",))
TOOLS = (
    pb.Tool(name="add_city", parameters_json=json.dumps(CITY)),
    pb.Tool(name="count_cities", parameters_json='{"type": "object", "additionalProperties": false}'),
)
SHAPE = pb.ResponseFormat(json_schema=json.dumps(CITY))
REQUIRED = pb.ToolChoice(mode=pb.ToolChoice.MODE_REQUIRED, single=True)
NAMED = pb.ToolChoice(mode=pb.ToolChoice.MODE_NAMED, name="add_city")


@dataclass
class Said:
    """What the replies to one call say, together."""

    replies: list[AnyReply]
    calls: list[pb.ToolCallDelta] = field(default_factory=list)

    def __post_init__(self) -> None:
        for delta in (delta for reply in self.replies for delta in reply.tool_calls):
            if delta.index == len(self.calls):
                self.calls.append(pb.ToolCallDelta(index=delta.index, id=delta.id, name=delta.name))
            self.calls[delta.index].arguments += delta.arguments

    @property
    def content(self) -> str:
        return "".join(reply.text for reply in self.replies)

    @property
    def reasoning(self) -> str:
        return "".join(reply.reasoning for reply in self.replies)

    @property
    def token_ids(self) -> list[int]:
        return [token_id for reply in self.replies for token_id in reply.token_ids]

    @property
    def finish(self) -> int:
        return self.replies[-1].finish_reason


async def converse(engine: TextEngine, model: Model = MODEL, question: str = "Which city?", **fields: Any) -> Said:
    """Has a call read, answered and written as a runner does; greedy, and with a template that knows thoughts."""
    template = ChatTemplate(packaged_template("smollm2"))
    reader = TextReader(
        RequestReader(
            template, detokenize=engine.detokenize, new_call_id=lambda: "call_1", vocabulary=engine.vocabulary
        )
    )
    sampling = pb.Sampling(temperature=0, top_p=1)
    messages = [pb.Message(role="user", content=question)]
    call = pb.GenerateCall(id=1, model=model.id, messages=messages, sampling=sampling, **{"max_tokens": 200, **fields})
    work = reader.read(call, model)
    replies = [work.write(step) for step in (await generate(engine, work.job)).steps]
    return Said([reply for reply in replies if reply is not None])


def assert_city(text: str) -> None:
    value = json.loads(text)
    assert isinstance(value["city"], str)
    assert isinstance(value["population"], int)
    assert value.keys() == {"city", "population"}


@pytest.mark.asyncio(loop_scope="class")
class ConversationContract:
    """The suite, for engines that pass `EngineContract`."""

    async def test_a_required_shape_is_the_whole_content(self, engine: TextEngine) -> None:
        said = await converse(engine, response_format=SHAPE)
        assert_city(said.content)
        assert (said.finish, said.calls, said.reasoning) == (pb.FINISH_REASON_STOP, [], "")

    @pytest.mark.parametrize("choice", [REQUIRED, NAMED], ids=["required", "named"])
    async def test_forced_calls_follow_their_schemas(self, engine: TextEngine, choice: pb.ToolChoice) -> None:
        said = await converse(engine, tools=TOOLS, tool_choice=choice)
        (call,) = said.calls
        assert call.id == "call_1"
        if call.name == "add_city":
            assert_city(call.arguments)
        else:
            assert (choice, call.name, call.arguments) == (REQUIRED, "count_cities", "{}")
        assert (said.content, said.reasoning, said.finish) == ("", "", pb.FINISH_REASON_TOOL_CALLS)

    async def test_a_call_is_the_same_whole_resumed_and_cut_off(self, engine: TextEngine) -> None:
        fields: dict[str, Any] = {"tools": TOOLS, "tool_choice": NAMED}
        streamed, whole = await asyncio.gather(converse(engine, **fields), converse(engine, **fields, whole=True))
        assert (whole.calls, whole.token_ids, len(whole.replies)) == (streamed.calls, streamed.token_ids, 2)
        places = _delivered(streamed)
        # A forced call has no content, so there is no text that was delivered.
        known: dict[str, Any] = {"resume_vocabulary": engine.vocabulary, "resume_text_digest": text_digest("")}
        resumed = [converse(engine, **fields, resume_token_ids=delivered, **known) for delivered in places]
        for delivered, rest in zip(places, await asyncio.gather(*resumed), strict=True):
            assert [*delivered, *rest.token_ids] == whole.token_ids
            assert (rest.content, rest.finish) == ("", whole.finish)
            arguments = "".join(delta.arguments for reply in rest.replies for delta in reply.tool_calls)
            assert whole.calls[0].arguments.endswith(arguments)
        limits = (3, len(whole.token_ids) // 2, len(whole.token_ids) - 2)
        for cut in await asyncio.gather(*(converse(engine, **{**fields, "max_tokens": most}) for most in limits)):
            assert (cut.content, cut.finish) == ("", pb.FINISH_REASON_LENGTH)
            if cut.calls:
                assert whole.calls[0].arguments.startswith(cut.calls[0].arguments)

    @pytest.mark.parametrize(
        "fields",
        [{"response_format": SHAPE}, {"tools": TOOLS, "tool_choice": NAMED}],
        ids=["shape", "call"],
    )
    async def test_a_thought_comes_before_what_is_forced(self, engine: TextEngine, fields: dict[str, Any]) -> None:
        said = await converse(engine, THINKER, max_tokens=400, **fields)
        assert 0 < len(said.reasoning) <= 160
        assert "<" not in said.reasoning
        usage = said.replies[-1].usage
        assert 0 < usage.reasoning_tokens < usage.completion_tokens
        if "tools" in fields:
            assert said.content == ""
            assert_city(said.calls[0].arguments)
        else:
            assert_city(said.content)


def _delivered(whole: Said) -> Sequence[list[int]]:
    """Returns beginnings of an answer as an edge may have seen them: the tokens of its first replies."""
    counts = [len(reply.token_ids) for reply in whole.replies]
    sums = sorted({sum(counts[:at]) for at in range(1, len(counts))} - {0, len(whole.token_ids)})
    return [whole.token_ids[:produced] for produced in (sums[0], sums[len(sums) // 2], sums[-1])]

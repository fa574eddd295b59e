"""The engine in front of a real llama.cpp server, whose own chat template, calls and schemas are used."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.common.settings import SettingsError
from services.common.text_steps import AnyReply
from services.runner.demonstrations.packaged import find_smollm2
from services.runner.engines.upstream.kinds.base import Upstream
from services.runner.engines.upstream.kinds.chat import ChatServerEngine
from services.runner.kinds.conversation.reader import ConversationReader
from tests.support.deadlines import within
from tests.support.llamacpp_server import CONTEXT, SLOTS, LlamaCppServer
from tests.support.waiting import eventually
from tiermesh.runner.v1 import runner_pb2

KEY = "sk-of-the-upstream"
MODEL = Model(id="model", kind="chat", tier="pro", price=10, context=CONTEXT, capabilities=("tools",))
SYSTEM = runner_pb2.Message(role="system", content="You are a helpful assistant.")
QUESTION = runner_pb2.Message(role="user", content="What is the capital of France?")
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[LlamaCppServer]:
    async with LlamaCppServer(find_smollm2(), KEY) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(server: LlamaCppServer) -> AsyncIterator[ChatServerEngine]:
    engine = ChatServerEngine(Upstream(url=server.url, key=KEY), slots=8, context=CONTEXT)
    await engine.start()
    yield engine
    await engine.close()


class Answer:
    """The replies to one call, while they come."""

    def __init__(self, engine: ChatServerEngine, **fields: Any) -> None:
        self.replies: list[AnyReply] = []
        sampling = fields.pop("sampling", runner_pb2.Sampling(temperature=0, top_p=1))
        messages = fields.pop("messages", [SYSTEM, QUESTION])
        call = runner_pb2.GenerateCall(id=7, model="model", messages=messages, sampling=sampling, **fields)
        self._work = ConversationReader(engine.context).read(call, MODEL)
        self.ticket = engine.submit(self._work.job, self._take)

    def _take(self, step: Any) -> None:
        reply = self._work.write(step)
        if reply is not None:
            self.replies.append(reply)

    @property
    def text(self) -> str:
        return "".join(reply.text for reply in self.replies)

    async def first(self) -> None:
        await eventually(lambda: bool(self.replies), 30)

    async def last(self) -> AnyReply:
        await eventually(lambda: bool(self.replies and (self.replies[-1].finish_reason or self.error)), 60)
        return self.replies[-1]

    @property
    def error(self) -> MeshError | None:
        has = self.replies and self.replies[-1].HasField("error")
        return MeshError.from_proto(self.replies[-1].error) if has else None


async def test_an_answer_comes_in_parts_with_its_usage(engine: ChatServerEngine) -> None:
    answer = Answer(engine, max_tokens=40)
    last = await answer.last()
    assert "Paris" in answer.text
    assert len(answer.replies) > 3
    assert last.usage.prompt_tokens > 10
    assert 3 < last.usage.completion_tokens <= 40
    assert not any(reply.token_ids for reply in answer.replies)
    assert engine.active == 0


async def test_a_whole_answer_begins_and_comes_at_once(engine: ChatServerEngine) -> None:
    answer = Answer(engine, max_tokens=40, whole=True)
    await answer.last()
    first, last = answer.replies
    assert (first.started, first.text) == (True, "")
    assert "Paris" in last.text


async def test_its_slots_are_those_of_the_server(engine: ChatServerEngine) -> None:
    assert engine.slots == SLOTS
    answers = [Answer(engine) for _ in range(SLOTS)]
    with pytest.raises(MeshError) as refusal:
        Answer(engine)
    assert refusal.value.code is Code.OVERLOADED
    for answer in answers:
        answer.ticket.cancel()
    assert engine.active == 0


async def test_a_cancelled_answer_stops_the_server(engine: ChatServerEngine) -> None:
    """Its slots are free again for others, and are so at once."""
    for _ in range(2):
        endless = [Answer(engine, max_tokens=1500) for _ in range(SLOTS)]
        for answer in endless:
            await answer.first()
            answer.ticket.cancel()
        said = [len(answer.replies) for answer in endless]
        async with within(20):
            assert "Paris" in (await _finished(Answer(engine, max_tokens=40))).text
        assert [len(answer.replies) for answer in endless] == said


async def _finished(answer: Answer) -> Answer:
    await answer.last()
    return answer


async def test_the_limit_of_an_answer(engine: ChatServerEngine) -> None:
    last = await Answer(engine, max_tokens=3).last()
    assert (last.finish_reason, last.usage.completion_tokens) == (runner_pb2.FINISH_REASON_LENGTH, 3)


async def test_a_stop_string_is_no_part_of_the_answer(engine: ChatServerEngine) -> None:
    answer = Answer(engine, stop=["Paris"], max_tokens=40)
    last = await answer.last()
    assert last.finish_reason == runner_pb2.FINISH_REASON_STOP
    assert "Paris" not in answer.text


@pytest.mark.parametrize("whole", [False, True])
async def test_a_forced_call_that_the_server_does_not_force_is_a_failure(engine: ChatServerEngine, whole: bool) -> None:
    """This build of llama.cpp shows the functions to the model, and lets it answer as it likes."""
    tool = runner_pb2.Tool(name="get_weather", description="Gets the weather.", parameters_json=json.dumps(CITY))
    choice = runner_pb2.ToolChoice(mode=runner_pb2.ToolChoice.MODE_NAMED, name="get_weather")
    question = runner_pb2.Message(role="user", content="What is the weather in Paris?")
    answer = Answer(engine, messages=[question], tools=[tool], tool_choice=choice, max_tokens=20, whole=whole)
    await answer.last()
    assert answer.error is not None
    assert answer.error.code is Code.CANCELLED


async def test_functions_are_shown_to_the_model(engine: ChatServerEngine) -> None:
    tool = runner_pb2.Tool(name="get_weather", description="Gets the weather.", parameters_json=json.dumps(CITY))
    plain = await Answer(engine, max_tokens=3).last()
    shown = await Answer(engine, max_tokens=3, tools=[tool]).last()
    assert shown.usage.prompt_tokens > plain.usage.prompt_tokens + 50


async def test_an_answer_by_schema(engine: ChatServerEngine) -> None:
    wanted = runner_pb2.ResponseFormat(json_schema=json.dumps(CITY))
    answer = Answer(engine, response_format=wanted, max_tokens=100)
    last = await answer.last()
    assert last.finish_reason == runner_pb2.FINISH_REASON_STOP
    assert set(json.loads(answer.text)) == {"city"}


async def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(engine: ChatServerEngine) -> None:
    long = runner_pb2.Message(role="user", content="fox " * 3000)
    answer = Answer(engine, messages=[long])
    await answer.last()
    assert answer.error is not None
    assert answer.error.code is Code.CONTEXT_LENGTH_EXCEEDED
    assert f"maximum context length is {CONTEXT} tokens. However, your messages resulted in 30" in answer.error.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"logprobs": True}, "logprobs"),
        ({"sampling": runner_pb2.Sampling(temperature=1, top_p=1, logit_bias={5: 1.0})}, "logit_bias"),
        ({"messages": [], "completion": runner_pb2.CompletionTask(prompt="Once")}, "prompt"),
        (
            {"messages": [runner_pb2.Message(role="user", parts=[runner_pb2.ContentPart(image=b"\x89PNG")])]},
            "messages",
        ),
    ],
)
async def test_what_the_server_lacks_is_refused_before_it_is_asked(
    engine: ChatServerEngine, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(MeshError) as refusal:
        Answer(engine, **fields)
    assert (refusal.value.code, refusal.value.param) == (Code.INVALID_REQUEST, param)
    assert "is not served by this model" in refusal.value.message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"key": "wrong"}, r"TIERMESH_RUNNER_UPSTREAM_KEY: the server refuses it at http://.*/v1/"),
        ({"context": 4096}, f"attends to {CONTEXT} tokens: lower TIERMESH_RUNNER_CONTEXT from 4096"),
        ({"model": "other"}, "TIERMESH_RUNNER_UPSTREAM_MODEL: the server at .* has no 'other'; it has "),
        ({"url": "http://127.0.0.1:9"}, "no server answers at http://127.0.0.1:9/v1/models .*; start it"),
        ({"url": "localhost"}, "TIERMESH_RUNNER_UPSTREAM_URL: .* is no URL"),
    ],
)
async def test_a_server_that_cannot_be_used_is_named_at_the_start(
    server: LlamaCppServer, options: dict[str, Any], words: str
) -> None:
    chosen = {"url": server.url, "key": KEY, **options}
    context = chosen.pop("context", CONTEXT)
    engine = ChatServerEngine(Upstream(**chosen), slots=SLOTS, context=context)
    with pytest.raises(SettingsError, match=words) as refusal:
        await engine.start()
    assert KEY not in str(refusal.value)
    assert "wrong" not in str(refusal.value)
    await engine.close()


async def test_a_server_that_dies_or_stops_is_no_answer() -> None:
    async with LlamaCppServer(find_smollm2()) as server:
        engine = ChatServerEngine(Upstream(url=server.url), slots=SLOTS, context=CONTEXT)
        await engine.start()
        assert engine.healthy
        killed = Answer(engine, max_tokens=1500)
        await killed.first()
        server.send(signal.SIGSTOP)
        await asyncio.sleep(0)
        server.send(signal.SIGKILL)
        await killed.last()
        assert killed.error is not None
        assert (killed.error.code, killed.error.message) == (Code.UNAVAILABLE, "The model's server failed. Try again.")
        assert engine.active == 0
        later = Answer(engine)
        await later.last()
        assert later.error is not None
        await eventually(lambda: not engine.healthy, 30)
        await engine.close()

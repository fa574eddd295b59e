from __future__ import annotations

from typing import Any

import pytest

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.common.text_steps import AnyReply
from services.runner.engines.upstream.body import request_body
from services.runner.engines.upstream.quirks import quirks_of
from services.runner.engines.upstream.server import UpstreamServer
from services.runner.kinds.base import FinishReason, TokenCounts
from services.runner.kinds.conversation.job import CallPart, ConversationStep
from services.runner.kinds.conversation.reader import ConversationReader
from tiermesh.runner.v1 import runner_pb2

MODEL = Model(id="model", kind="chat", tier="pro", price=1, context=4096, capabilities=("tools",), reasoning=True)
HELLO = runner_pb2.Message(role="user", content="Hello")
LOOK = runner_pb2.Tool(name="look", parameters_json='{"type": "object"}')
USAGE = TokenCounts(9, 4, 2)
STEPS = [
    ConversationStep(reasoning="Hm."),
    ConversationStep(text="I look."),
    ConversationStep(calls=[CallPart(0, "look", '{"at"')]),
    ConversationStep(calls=[CallPart(0, "", ': "it"}'), CallPart(1, "look", "{}")]),
    ConversationStep(finish_reason=FinishReason.STOP, usage=USAGE, reasoning_tokens=1),
]


def call(**fields: Any) -> runner_pb2.GenerateCall:
    sampling = fields.pop("sampling", runner_pb2.Sampling(temperature=1, top_p=1))
    return runner_pb2.GenerateCall(id=7, messages=fields.pop("messages", [HELLO]), sampling=sampling, **fields)


def body(owner: str = "vllm", *, shows_tools: bool = True, **fields: Any) -> dict[str, Any]:
    job = ConversationReader(4096).read(call(**fields), MODEL).job
    return request_body(job, UpstreamServer("http://server/v1", "model", quirks_of(owner), tools=shows_tools))


def replies(*steps: ConversationStep, **fields: Any) -> list[AnyReply]:
    ids = iter(["call_1", "call_2"])
    work = ConversationReader(4096, lambda: next(ids)).read(call(tools=[LOOK], **fields), MODEL)
    return [reply for step in steps if (reply := work.write(step)) is not None]


def test_an_answer_with_calls_comes_in_parts() -> None:
    *parts, last = replies(*STEPS)
    assert [(part.reasoning, part.text) for part in parts[:2]] == [("Hm.", ""), ("", "I look.")]
    calls = [(delta.index, delta.id, delta.name, delta.arguments) for part in parts for delta in part.tool_calls]
    assert calls == [(0, "call_1", "look", '{"at"'), (0, "", "", ': "it"}'), (1, "call_2", "look", "{}")]
    assert last.finish_reason == runner_pb2.FINISH_REASON_TOOL_CALLS
    assert not last.started
    usage = last.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.reasoning_tokens) == (9, 4, 2, 1)


def test_a_whole_answer_with_calls_comes_at_once() -> None:
    first, last = replies(*STEPS, whole=True)
    assert first == runner_pb2.GenerateReply(id=7, started=True)
    assert (last.reasoning, last.text, last.started) == ("Hm.", "I look.", True)
    assert [(one.id, one.name, one.arguments) for one in last.tool_calls] == [
        ("call_1", "look", '{"at": "it"}'),
        ("call_2", "look", "{}"),
    ]


def test_an_answer_of_another_shape_is_a_failure() -> None:
    forced = runner_pb2.ToolChoice(mode=runner_pb2.ToolChoice.MODE_REQUIRED)
    for finish in FinishReason:
        (part, failure) = replies(
            ConversationStep(text="No."), ConversationStep(finish_reason=finish, usage=USAGE), tool_choice=forced
        )
        assert part.text == "No."
        assert MeshError.from_proto(failure.error).code is Code.CANCELLED


def test_the_body_has_what_was_asked_for() -> None:
    choice = runner_pb2.ToolChoice(mode=runner_pb2.ToolChoice.MODE_NAMED, name="look")
    sampling = runner_pb2.Sampling(temperature=0.5, top_p=0.9, seed=3, top_k=5, repetition_penalty=1.1)
    earlier = runner_pb2.Message(
        role="assistant", tool_calls=[runner_pb2.ToolCall(id="call_0", name="look", arguments='{"at": "it"}')]
    )
    result = runner_pb2.Message(role="tool", content="Seen.", tool_call_id="call_0")
    found = body(
        messages=[HELLO, earlier, result], tools=[LOOK], tool_choice=choice, sampling=sampling, max_tokens=5, stop=["."]
    )
    assert found["messages"][1]["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"at": "it"}'}
    assert [tool["function"]["name"] for tool in found["tools"]] == ["look"]
    assert (found["tool_choice"], found["parallel_tool_calls"]) == ("required", False)
    assert (found["seed"], found["top_k"], found["repetition_penalty"]) == (3, 5, pytest.approx(1.1))
    assert (found["max_tokens"], found["stop"]) == (5, ["."])
    assert found["chat_template_kwargs"] == {"enable_thinking": True, "thinking": True}
    assert found["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("owner", "sampling", "spelled"),
    [
        ("llamacpp", {"repetition_penalty": 1.5}, {"repeat_penalty": 1.5}),
        ("vllm", {"repetition_penalty": 1.5}, {"repetition_penalty": 1.5}),
        ("sglang", {"min_p": 0.5}, {"min_p": 0.5}),
    ],
)
def test_parameters_of_open_models_are_spelled_as_the_server_spells_them(
    owner: str, sampling: dict[str, float], spelled: dict[str, float]
) -> None:
    found = body(owner, sampling=runner_pb2.Sampling(temperature=1, top_p=1, **sampling))  # type: ignore[arg-type] # its fields
    assert spelled.items() <= found.items()


def test_what_a_server_would_ignore_is_refused() -> None:
    with pytest.raises(MeshError, match="'top_k' is not served by this model: its server may ignore it"):
        body("somebody", sampling=runner_pb2.Sampling(temperature=1, top_p=1, top_k=5))
    with pytest.raises(MeshError, match="'tools' are not shown to the model"):
        body(shows_tools=False, tools=[LOOK])

"""What is rendered is what OpenAI's own types accept, with nothing left over."""

from __future__ import annotations

import json
from collections.abc import Collection

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from services.common.errors import Code, MeshError
from services.edge.chat.completion import ChatCompletionChunk as Chunk
from services.edge.chat.response import DONE, ChunkRenderer, completion_body
from services.edge.paid.hold import Receipt
from tests.support import openai_schemas
from tiermesh.runner.v1 import runner_pb2
from tiermesh.runner.v1.runner_pb2 import GenerateReply

LOGPROB = runner_pb2.TokenLogprob(
    token="Hi",
    token_bytes=b"Hi",
    logprob=-0.5,
    top=[runner_pb2.TopLogprob(token="Hi", token_bytes=b"Hi", logprob=-0.5)],
)


def renderer(*, usage: bool = False, logprobs: bool = False, custom_tools: Collection[str] = ()) -> ChunkRenderer:
    return ChunkRenderer(
        "chatcmpl-1", "tiermesh-pro", 1700000000, usage=usage, logprobs=logprobs, custom_tools=custom_tools
    )


def chunk(event: bytes) -> ChatCompletionChunk:
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    assert event.count(b"\n") == 2
    return ChatCompletionChunk.model_validate_json(event.removeprefix(b"data: "), strict=True)


def finished(text: str, **fields: object) -> GenerateReply:
    usage = runner_pb2.Usage(prompt_tokens=7, completion_tokens=3, cached_tokens=2)
    return GenerateReply(text=text, finish_reason=runner_pb2.FINISH_REASON_STOP, usage=usage, **fields)  # type: ignore[arg-type] # the tests pass fields through


def test_text_chunks_survive_any_text() -> None:
    text = 'line\n"quoted" \\ \u2028 \U0001f600 \x00 </script>'
    assert chunk(renderer().step(0, GenerateReply(text=text))).choices[0].delta.content == text


def test_the_first_chunk_names_the_role() -> None:
    stream = ChunkRenderer("chatcmpl-1", "tiermesh-pro", 1700000000, choices=2, usage=False, logprobs=False)
    events = stream.open().split(b"\n\n")[:-1]
    first = [chunk(event + b"\n\n").choices[0] for event in events]
    assert [(one.index, one.delta.role, one.delta.content) for one in first] == [
        (0, "assistant", ""),
        (1, "assistant", ""),
    ]


def test_a_step_without_anything_to_show_is_no_chunk() -> None:
    assert renderer().step(0, GenerateReply(token_ids=[1])) == b""
    assert renderer(logprobs=True).step(0, GenerateReply()) == b""


def test_the_finish_chunk_has_no_content() -> None:
    end = renderer().end({0: GenerateReply(finish_reason=runner_pb2.FINISH_REASON_LENGTH)}, Receipt(10, 90))
    assert end.endswith(DONE)
    last = chunk(end.removesuffix(DONE)).choices[0]
    assert last.finish_reason == "length"
    assert last.delta.content is None


def test_usage_is_null_until_the_last_chunk() -> None:
    stream = renderer(usage=True)
    assert json.loads(stream.step(0, GenerateReply(text="a"))[6:])["usage"] is None
    end = stream.end({0: finished("a")}, Receipt(10, 90)).split(b"\n\n")[1] + b"\n\n"
    last = chunk(end)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == 10
    assert json.loads(end[6:])["tiermesh"] == {"credits_charged": 10, "credits_remaining": 90}


def test_without_usage_no_chunk_mentions_it() -> None:
    assert "usage" not in json.loads(renderer().step(0, GenerateReply(text="a"))[6:])


def test_logprobs_travel_with_their_token() -> None:
    step = chunk(renderer(logprobs=True).step(0, GenerateReply(text="Hi", logprobs=[LOGPROB]))).choices[0]
    assert step.logprobs is not None
    assert step.logprobs.content is not None
    assert step.logprobs.content[0].bytes == [72, 105]
    assert step.logprobs.content[0].top_logprobs[0].token == "Hi"


def test_tool_calls_name_themselves_once() -> None:
    first = runner_pb2.ToolCallDelta(index=0, id="call_1", name="f", arguments="")
    more = runner_pb2.ToolCallDelta(index=0, arguments='{"a":')
    calls = chunk(renderer().step(0, GenerateReply(tool_calls=[first, more]))).choices[0].delta.tool_calls
    assert calls is not None
    assert (calls[0].id, calls[0].type, calls[1].id, calls[1].type) == ("call_1", "function", None, None)


def test_a_whole_body_is_a_chat_completion() -> None:
    replies = [finished("Hello"), finished("Hi", logprobs=[LOGPROB])]
    body = completion_body("chatcmpl-1", "tiermesh-pro", 1700000000, replies, logprobs=True)
    completion = ChatCompletion.model_validate_json(body, strict=True)
    assert [choice.message.content for choice in completion.choices] == ["Hello", "Hi"]
    assert completion.usage is not None
    # The prompt is counted once, the answers add up.
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (7, 6)


def test_an_answer_that_only_calls_has_null_content() -> None:
    call = runner_pb2.ToolCallDelta(index=0, id="call_1", name="f", arguments="{}")
    body = msgspec.json.decode(
        completion_body("chatcmpl-1", "m", 1700000000, [finished("", tool_calls=[call])], logprobs=False)
    )
    assert body["choices"][0]["message"]["content"] is None
    ChatCompletion.model_validate(body, strict=False)


def test_tool_calls_are_what_openai_publishes() -> None:
    call = runner_pb2.ToolCallDelta(index=0, id="call_1", name="f", arguments="{}")
    more = runner_pb2.ToolCallDelta(index=0, arguments='{"a":')
    body = completion_body("chatcmpl-1", "m", 1700000000, [finished("", tool_calls=[call])], logprobs=False)
    openai_schemas.check("CreateChatCompletionResponse", json.loads(body))
    events = renderer().step(0, GenerateReply(reasoning="Hm", tool_calls=[call, more])).split(b"\n\n")[:-1]
    assert len(events) == 2
    for event in events:
        openai_schemas.check("CreateChatCompletionStreamResponse", json.loads(event[6:]))


@given(st.text(max_size=3), st.text(max_size=3), st.integers(0, 2), st.integers(0, 2), st.booleans())
def test_a_chunk_holds_one_kind(text: str, reasoning: str, calls: int, tokens: int, logprobs: bool) -> None:
    made = [runner_pb2.ToolCallDelta(index=at, id=f"call_{at}", name="f", arguments="{}") for at in range(calls)]
    reply = GenerateReply(text=text, reasoning=reasoning, tool_calls=made, logprobs=[LOGPROB] * tokens)
    events = renderer(logprobs=logprobs).step(0, reply).split(b"\n\n")[:-1]
    choices = [chunk(event + b"\n\n").choices[0] for event in events]
    kinds = [key for choice in choices for key in choice.delta.model_dump(exclude_unset=True)]
    wanted = {"reasoning_content": reasoning, "content": text, "tool_calls": made}
    assert kinds == [kind for kind, value in wanted.items() if value]
    # Log probabilities go with the content.
    assert all(choice.delta.content or not choice.delta.tool_calls for choice in choices if choice.logprobs)


def test_an_impossible_token_still_has_a_number() -> None:
    impossible = runner_pb2.TokenLogprob(token="x", token_bytes=b"x", logprob=float("-inf"))
    step = chunk(renderer(logprobs=True).step(0, GenerateReply(text="x", logprobs=[impossible]))).choices[0]
    assert step.logprobs is not None
    assert step.logprobs.content is not None
    assert step.logprobs.content[0].logprob == -9999.0


def test_an_error_event_is_one_event() -> None:
    event = renderer().error(MeshError(Code.UNAVAILABLE, "gone"))
    assert (event[:6], event[-2:], event.count(b"\n")) == (b"data: ", b"\n\n", 2)
    assert json.loads(event[6:])["error"]["code"] == "service_unavailable"


def test_every_answer_says_that_there_is_one_tier_of_service() -> None:
    body = json.loads(completion_body("chatcmpl-1", "tiermesh-pro", 1700000000, [finished("Hi")], logprobs=False))
    rendering = renderer(usage=True)
    last = rendering.end({0: finished("Hi")}, Receipt(10, 90)).removesuffix(DONE)
    events = (rendering.open() + rendering.step(0, GenerateReply(text="Hi")) + last).split(b"\n\n")[:-1]
    bodies = [body, *(json.loads(event.removeprefix(b"data: ")) for event in events)]
    assert [one["service_tier"] for one in bodies] == ["default"] * 5


def test_calls_of_custom_tools_hold_their_text() -> None:
    first = runner_pb2.ToolCallDelta(index=0, id="call_1", name="f", arguments="{}")
    custom = runner_pb2.ToolCallDelta(index=1, id="call_2", name="c", arguments='{"input": "a')
    whole = [first, runner_pb2.ToolCallDelta(index=1, id="call_2", name="c", arguments='{"input": "a\\n"}')]
    body = completion_body(
        "chatcmpl-1", "m", 1700000000, [finished("", tool_calls=whole)], logprobs=False, custom_tools={"c"}
    )
    openai_schemas.check("CreateChatCompletionResponse", json.loads(body))
    message = ChatCompletion.model_validate_json(body, strict=True).choices[0].message
    assert [call.to_dict() for call in message.tool_calls or ()] == [
        {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "call_2", "type": "custom", "custom": {"name": "c", "input": "a\n"}},
    ]
    stream = renderer(custom_tools={"c"})
    events = stream.step(0, GenerateReply(tool_calls=[first, custom]))
    events += stream.step(0, GenerateReply(tool_calls=[runner_pb2.ToolCallDelta(index=1, arguments="\\n")]))
    events += stream.end({0: GenerateReply(finish_reason=runner_pb2.FINISH_REASON_TOOL_CALLS)}, Receipt(10, 90))
    parsed = [msgspec.json.decode(event[6:], type=Chunk) for event in events.removesuffix(DONE).split(b"\n\n")[:-1]]
    deltas = [call for each in parsed for call in each.choices[0].delta.tool_calls or ()]
    assert msgspec.to_builtins(deltas) == [
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"index": 1, "id": "call_2", "type": "custom", "custom": {"name": "c", "input": "a"}},
        {"index": 1, "custom": {"input": "\n"}},
    ]


def test_what_a_model_writes_instead_of_the_argument_comes_at_the_end() -> None:
    stream = renderer(custom_tools={"c"})
    call = runner_pb2.ToolCallDelta(index=0, id="call_1", name="c", arguments='{"patch": "a"}')
    assert json.loads(stream.step(0, GenerateReply(tool_calls=[call]))[6:])["choices"][0]["delta"]["tool_calls"] == [
        {"index": 0, "id": "call_1", "type": "custom", "custom": {"name": "c", "input": ""}}
    ]
    end = stream.end({0: GenerateReply(finish_reason=runner_pb2.FINISH_REASON_TOOL_CALLS)}, Receipt(10, 90))
    rest, last = [json.loads(event[6:])["choices"][0] for event in end.removesuffix(DONE).split(b"\n\n")[:-1]]
    assert rest["delta"]["tool_calls"] == [{"index": 0, "custom": {"input": "a"}}]
    assert last["finish_reason"] == "tool_calls"

"""What is rendered is what OpenAI's own types accept, and its SDK puts the events together to the same response."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from services.common.errors import Code, MeshError
from services.edge.http.parsing import parse_body
from services.edge.paid.hold import Receipt
from services.edge.responses.request import responses_decoder
from services.edge.responses.response import ResponseRenderer
from services.edge.responses.translation import translate
from tests.support import openai_schemas
from tests.support.named_events import read_events
from tiermesh.runner.v1 import runner_pb2
from tiermesh.runner.v1.runner_pb2 import GenerateReply, ToolCallDelta

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
USAGE = runner_pb2.Usage(prompt_tokens=7, completion_tokens=3, cached_tokens=2, reasoning_tokens=1)
LOGPROB = runner_pb2.TokenLogprob(
    token="Hi",
    token_bytes=b"Hi",
    logprob=-0.5,
    top=[runner_pb2.TopLogprob(token="Hi", token_bytes=b"Hi", logprob=-0.5)],
)
THOUGHT = GenerateReply(reasoning="hm")
CALLS = [
    GenerateReply(tool_calls=[ToolCallDelta(index=0, id="call_1", name="f", arguments='{"a":')]),
    # The end of one call and the beginning of the next.
    GenerateReply(
        tool_calls=[ToolCallDelta(index=0, arguments="1}"), ToolCallDelta(index=1, id="call_2", name="g")],
    ),
    GenerateReply(tool_calls=[ToolCallDelta(index=1, arguments="{}")]),
]


def renderer(**fields: Any) -> ResponseRenderer:
    body = {"model": "tiermesh-pro", "input": "hi", **fields}
    parsed = parse_body(msgspec.json.encode(body), responses_decoder)
    return ResponseRenderer("1", "tiermesh-pro", parsed, translate(parsed), lambda: 1.7e9)


def last(reason: int = runner_pb2.FINISH_REASON_STOP, **fields: Any) -> GenerateReply:
    return GenerateReply(finish_reason=reason, usage=USAGE, **fields)  # type: ignore[arg-type] # an enum is an int


def read(data: bytes) -> list[Any]:
    """Reads events as OpenAI's types."""
    return read_events(data, EVENT)


def stream(rendering: ResponseRenderer, *steps: GenerateReply) -> list[Any]:
    """Returns the events of an answer whose last step is the last of `steps`."""
    data = rendering.open() + b"".join(rendering.step(0, step) for step in steps)
    events = read(data + rendering.end({0: steps[-1]}, Receipt(10, 90)))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    return events


def whole(rendering: ResponseRenderer, reply: GenerateReply) -> Response:
    return Response.model_validate_json(rendering.body([reply]), strict=True)


def names(events: list[Any]) -> list[str]:
    return [event.type.removeprefix("response.") for event in events]


def test_a_text_comes_in_the_order_of_openai() -> None:
    events = stream(renderer(), GenerateReply(text="Hel"), GenerateReply(), last(text="lo"))
    assert names(events) == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert {event.item_id for event in events if hasattr(event, "item_id")} == {events[2].item.id}
    assert (events[0].response.status, events[0].response.usage) == ("in_progress", None)
    ended = events[-1].response
    assert (ended.status, ended.output_text, ended.id) == ("completed", "Hello", events[0].response.id)
    assert (ended.usage.input_tokens, ended.usage.output_tokens, ended.usage.total_tokens) == (7, 3, 10)
    assert ended.usage.input_tokens_details.cached_tokens == 2
    assert ended.usage.output_tokens_details.reasoning_tokens == 1
    assert ended.tiermesh == {"credits_charged": 10, "credits_remaining": 90}


def test_thoughts_words_and_calls_are_items_of_their_own() -> None:
    events = stream(renderer(), THOUGHT, GenerateReply(text="Wait."), *CALLS, last(runner_pb2.FINISH_REASON_TOOL_CALLS))
    output = events[-1].response.output
    assert [item.type for item in output] == ["reasoning", "message", "function_call", "function_call"]
    assert output == [event.item for event in events if event.type == "response.output_item.done"]
    assert (output[0].content[0].text, output[0].summary) == ("hm", [])
    assert [(call.name, call.call_id, call.arguments) for call in output[2:]] == [
        ("f", "call_1", '{"a":1}'),
        ("g", "call_2", "{}"),
    ]
    # Each item is finished before the next begins.
    indices = [event.output_index for event in events if hasattr(event, "output_index")]
    assert indices == sorted(indices)


def test_thoughts_are_the_summary_for_those_who_asked_for_one() -> None:
    events = stream(renderer(reasoning={"summary": "auto"}), THOUGHT, last(text="Hi"))
    assert names(events)[2:7] == [
        "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta",
        "reasoning_summary_text.done", "reasoning_summary_part.done",
    ]  # fmt: skip
    item = events[-1].response.output[0]
    assert ([part.text for part in item.summary], item.content) == (["hm"], [])


def test_the_sdk_accumulates_what_a_whole_body_says() -> None:
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=[], text_format=omit)
    events = stream(renderer(), THOUGHT, GenerateReply(text="Hi"), *CALLS, last(runner_pb2.FINISH_REASON_TOOL_CALLS))
    for event in events:
        state.handle_event(event)
    calls = [
        ToolCallDelta(index=0, id="call_1", name="f", arguments='{"a":1}'),
        ToolCallDelta(index=1, id="call_2", name="g", arguments="{}"),
    ]
    body = whole(renderer(), last(runner_pb2.FINISH_REASON_TOOL_CALLS, reasoning="hm", text="Hi", tool_calls=calls))
    assert body.output == events[-1].response.output
    # What the SDK has put together from the deltas alone.
    deltas: list[Any] = [state._output_items[index] for index in range(4)]
    assert deltas[1].content[0].text == body.output_text
    assert [call.arguments for call in deltas[2:]] == ['{"a":1}', "{}"]


OFFERED = [
    {"type": "namespace", "name": "mcp__n", "description": "d", "tools": [{"type": "function", "name": "f"}]},
    {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "regex", "definition": "a+"}},
    {"type": "web_search"},
]
SHOWN = [
    {"type": "namespace", "name": "mcp__n", "description": "d",
     "tools": [{"type": "function", "name": "f", "description": None, "parameters": None, "strict": None}]},
    OFFERED[1],
]  # fmt: skip
CUSTOM_CALLS = [
    GenerateReply(tool_calls=[ToolCallDelta(index=0, id="call_1", name="mcp__n__f", arguments="{}")]),
    GenerateReply(tool_calls=[ToolCallDelta(index=1, id="call_2", name="patch", arguments='{"input": "a')]),
    GenerateReply(tool_calls=[ToolCallDelta(index=1, arguments="\\")]),
    GenerateReply(tool_calls=[ToolCallDelta(index=1, arguments='n\\"b"}')]),
    # The model has made up a name.
    GenerateReply(tool_calls=[ToolCallDelta(index=2, id="call_3", name="other__g", arguments="{}")]),
]


def test_calls_are_named_as_the_client_knows_the_tools() -> None:
    events = stream(renderer(tools=OFFERED), *CUSTOM_CALLS, last(runner_pb2.FINISH_REASON_TOOL_CALLS))
    assert names(events)[5:11] == [
        "output_item.done", "output_item.added", "custom_tool_call_input.delta", "custom_tool_call_input.delta",
        "custom_tool_call_input.done", "output_item.done",
    ]  # fmt: skip
    assert [event.delta for event in events[7:9]] == ["a", '\n"b']
    assert events[9].input == 'a\n"b'
    output = events[-1].response.output
    assert output == [event.item for event in events if event.type == "response.output_item.done"]
    assert [item.type for item in output] == ["function_call", "custom_tool_call", "function_call"]
    assert [(item.name, item.namespace, item.call_id) for item in output] == [
        ("f", "mcp__n", "call_1"),
        ("patch", None, "call_2"),
        ("other__g", None, "call_3"),
    ]
    calls = [
        ToolCallDelta(index=0, id="call_1", name="mcp__n__f", arguments="{}"),
        ToolCallDelta(index=1, id="call_2", name="patch", arguments='{"input": "a\\n\\"b"}'),
        ToolCallDelta(index=2, id="call_3", name="other__g", arguments="{}"),
    ]
    body = whole(renderer(tools=OFFERED), last(runner_pb2.FINISH_REASON_TOOL_CALLS, tool_calls=calls))
    assert body.output == output


def test_the_answer_says_which_tools_were_used() -> None:
    body = json.loads(renderer(tools=OFFERED).body([last(text="Hi")]))
    assert body["tools"] == SHOWN
    assert Response.model_validate(body).tools is not None
    openai_schemas.check("Response", body)


def test_a_custom_call_that_was_cut_ends_with_what_came() -> None:
    ended = stream(renderer(tools=OFFERED), *CUSTOM_CALLS[1:3], last(runner_pb2.FINISH_REASON_LENGTH))[-1].response
    assert (ended.output[0].input, ended.output[0].status) == ("a", "incomplete")


def test_a_call_that_the_model_left_unfinished_is_incomplete() -> None:
    ended = stream(renderer(), *CALLS[:2], last())[-1].response
    assert ended.status == "completed"
    assert [item.status for item in ended.output] == ["completed", "incomplete"]


def test_an_answer_that_was_cut_is_incomplete() -> None:
    events = stream(renderer(max_output_tokens=3), last(runner_pb2.FINISH_REASON_LENGTH, text="Hel"))
    assert events[-1].type == "response.incomplete"
    ended = events[-1].response
    assert (ended.status, ended.incomplete_details.reason, ended.completed_at) == (
        "incomplete",
        "max_output_tokens",
        None,
    )
    assert (ended.output[0].status, ended.max_output_tokens) == ("incomplete", 3)


def test_an_empty_answer_is_an_empty_message() -> None:
    assert stream(renderer(), last())[-1].response.output_text == ""
    assert [item.type for item in whole(renderer(), last()).output] == ["message"]


def test_logprobs_travel_with_their_text() -> None:
    events = stream(
        renderer(include=["message.output_text.logprobs"]), GenerateReply(text="Hi", logprobs=[LOGPROB]), last()
    )
    delta = next(event for event in events if event.type == "response.output_text.delta")
    assert delta.logprobs[0].top_logprobs[0].logprob == -0.5
    assert events[-1].response.output[0].content[0].logprobs[0].bytes == [72, 105]
    # Parts that were sent before do not change afterwards.
    assert next(event for event in events if event.type == "response.content_part.added").part.logprobs == []


def test_what_was_asked_is_said_again_and_what_is_done_is_said_truly() -> None:
    tools = [{"type": "function", "name": "f", "description": None, "parameters": {"type": "object"}, "strict": True}]
    shape = {"type": "json_schema", "name": "x", "schema": {"type": "object"}}
    asked = {
        "instructions": "be kind", "metadata": {"a": "b"}, "tools": tools,
        "tool_choice": {"type": "function", "name": "f"},
        "parallel_tool_calls": False, "temperature": 0.5, "top_p": 0.25, "max_output_tokens": 9, "max_tool_calls": 2,
        "text": {"format": shape, "verbosity": "low"}, "reasoning": {"effort": "low", "summary": "concise"},
        "top_logprobs": 2, "user": "u", "safety_identifier": "s", "prompt_cache_key": "k",
        "presence_penalty": 1.5, "frequency_penalty": -0.5,
    }  # fmt: skip
    body = whole(renderer(**asked, store=True, truncation="auto", service_tier="flex"), last(text="{}")).to_dict()
    assert {name: body[name] for name in asked} == asked
    done = {"store": False, "truncation": "disabled", "service_tier": "default", "previous_response_id": None}
    assert {name: body[name] for name in done} == done


# What https://www.openresponses.org requires of every response object (2026-04-24).
REQUIRED = {
    "id", "object", "created_at", "completed_at", "status", "incomplete_details", "model", "previous_response_id",
    "instructions", "output", "error", "tools", "tool_choice", "truncation", "parallel_tool_calls", "text", "top_p",
    "presence_penalty", "frequency_penalty", "top_logprobs", "temperature", "reasoning", "usage", "max_output_tokens",
    "max_tool_calls", "store", "background", "service_tier", "metadata", "safety_identifier", "prompt_cache_key",
}  # fmt: skip


def test_every_response_object_has_every_member_that_open_responses_requires() -> None:
    renderings = [renderer().open() + renderer().error(MeshError(Code.INTERNAL, "no"))]
    rendering = renderer()
    rendering.step(0, GenerateReply(text="Hi"))
    renderings.append(rendering.end({0: last(text="Hi")}, Receipt(10, 90)))
    objects = [
        body["response"]
        for data in re.findall(rb"^data: (.*)$", b"".join(renderings), re.MULTILINE)
        if "response" in (body := json.loads(data))
    ]
    objects.append(json.loads(renderer().body([last(text="Hi")])))
    assert [body["status"] for body in objects] == ["in_progress", "in_progress", "failed", "completed", "completed"]
    for body in objects:
        assert body.keys() >= REQUIRED
        assert (body["presence_penalty"], body["frequency_penalty"]) == (0, 0)
        assert (body["usage"] is None) is (body["status"] != "completed")
        assert (body["safety_identifier"], body["prompt_cache_key"]) == (None, None)


def test_allowed_tools_are_said_again() -> None:
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}
    body = whole(renderer(tools=[{"type": "function", "name": "f"}], tool_choice=choice), last(text="Hi"))
    assert body.to_dict()["tool_choice"] == choice


def test_a_stream_that_fails_says_so_in_its_last_event() -> None:
    rendering = renderer()
    data = rendering.open() + rendering.step(0, THOUGHT) + rendering.step(0, GenerateReply(text="Hel"))
    events = read(data + rendering.error(MeshError(Code.UNAVAILABLE, "gone")))
    failed = events[-1]
    assert (failed.type, failed.sequence_number) == ("response.failed", len(events) - 1)
    assert (failed.response.status, failed.response.error.code, failed.response.error.message) == (
        "failed",
        "server_error",
        "gone",
    )
    # What was finished is there, and nothing is said to be complete that is not.
    assert [item.type for item in failed.response.output] == ["reasoning"]

"""What is rendered is what Anthropic's own types accept, and its SDK puts the events together to the same message."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import ErrorResponse, Message, RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from services.common.errors import Code, MeshError
from services.edge.messages.field_names import FieldNames
from services.edge.messages.response import PING, MessageRenderer
from services.edge.messages.thoughts import ThoughtKey
from services.edge.paid.hold import Receipt
from tests.support.named_events import read_events
from tiermesh.runner.v1 import runner_pb2
from tiermesh.runner.v1.runner_pb2 import GenerateReply, ToolCallDelta

EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
SIGNER = ThoughtKey("secret").signer("acct_1", "tiermesh-pro")
USAGE = runner_pb2.Usage(prompt_tokens=7, completion_tokens=3, cached_tokens=2, reasoning_tokens=1)
STOP, LENGTH = runner_pb2.FINISH_REASON_STOP, runner_pb2.FINISH_REASON_LENGTH
CALLING = runner_pb2.FINISH_REASON_TOOL_CALLS
CALLS = [
    GenerateReply(tool_calls=[ToolCallDelta(index=0, id="call_1", name="f", arguments='{"a":')]),
    # The end of one call and the beginning of the next.
    GenerateReply(tool_calls=[ToolCallDelta(index=0, arguments="1}"), ToolCallDelta(index=1, id="call_2", name="g")]),
    GenerateReply(tool_calls=[ToolCallDelta(index=1, arguments="{}")]),
]
ANSWER = [GenerateReply(reasoning="h"), GenerateReply(reasoning="m"), GenerateReply(text="I look."), *CALLS]


def renderer(*, thoughts_shown: bool = True) -> MessageRenderer:
    return MessageRenderer("req_1", "tiermesh-pro", FieldNames((), ()), SIGNER, thoughts_shown=thoughts_shown)


def last(reason: runner_pb2.FinishReason.ValueType = STOP, **fields: Any) -> GenerateReply:
    return GenerateReply(finish_reason=reason, usage=USAGE, **fields)


def whole(reply: GenerateReply, **options: bool) -> Any:
    """Returns the whole message, read as Anthropic's type of it."""
    return Message.model_validate_json(renderer(**options).body([reply]), strict=True)


def streamed(*steps: GenerateReply, end: GenerateReply | None = None, **options: bool) -> list[Any]:
    """Returns the events of an answer, read as Anthropic's types of them."""
    stream, end = renderer(**options), end or last()
    data = stream.open() + b"".join(stream.step(0, step) for step in (*steps, end))
    return read_events(data + stream.end({0: end}, Receipt(10, 90)), EVENT)


def put_together(events: list[Any]) -> Any:
    snapshot: Any = None
    inputs: dict[int, bytes] = {}
    for event in events:
        snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=inputs)
    return Message.model_validate(snapshot.to_dict())


def test_a_whole_message_is_valid_to_the_letter() -> None:
    calls = [
        ToolCallDelta(index=0, id="call_1", name="f", arguments='{"a": 1}'),
        ToolCallDelta(index=1, id="call_2", name="g"),
    ]
    message = whole(last(CALLING, reasoning="hm", text="I look.", tool_calls=calls))
    thought, text, first, second = message.content
    assert (thought.type, text.type, first.type, second.type) == ("thinking", "text", "tool_use", "tool_use")
    assert SIGNER.read(thought.thinking, thought.signature, "x") == "hm"
    assert text.text == "I look."
    assert (first.id, first.name, first.input) == ("call_1", "f", {"a": 1})
    assert second.input == {}
    assert (message.id, message.model, message.stop_reason, message.stop_sequence) == (
        *("msg_1", "tiermesh-pro", "tool_use"),
        None,
    )


def test_tokens_from_a_cache_are_no_input_tokens() -> None:
    for usage in (whole(last(text="a")).usage, streamed(end=last(text="a"))[-2].usage):
        assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (5, 2, 0)
        assert (usage.output_tokens, usage.output_tokens_details.thinking_tokens) == (3, 1)


@pytest.mark.parametrize(
    ("end", "reason", "sequence"),
    [
        (last(), "end_turn", None),
        (last(stop="###"), "stop_sequence", "###"),
        (last(LENGTH), "max_tokens", None),
        (last(CALLING), "tool_use", None),
        # Calls that came before it are to be made.
        (last(CALLING, stop="###"), "tool_use", None),
    ],
)
def test_why_an_answer_ends(end: GenerateReply, reason: str, sequence: str | None) -> None:
    for told in (whole(end), streamed(end=end)[-2].delta):
        assert (told.stop_reason, told.stop_sequence) == (reason, sequence)


def test_a_stream_is_in_order_and_adds_up_to_the_whole_message() -> None:
    events = streamed(*ANSWER, end=last(CALLING))
    assert [event.type for event in events] == [
        "message_start",
        *("content_block_start", "content_block_delta", "content_block_delta", "content_block_delta"),
        *("content_block_stop", "content_block_start", "content_block_delta", "content_block_stop"),
        *("content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"),
        *("content_block_start", "content_block_delta", "content_block_stop"),
        *("message_delta", "message_stop"),
    ]
    assert [event.index for event in events if event.type == "content_block_start"] == [0, 1, 2, 3]
    calls = [
        ToolCallDelta(index=0, id="call_1", name="f", arguments='{"a":1}'),
        ToolCallDelta(index=1, id="call_2", name="g", arguments="{}"),
    ]
    expected = whole(last(CALLING, reasoning="hm", text="I look.", tool_calls=calls))
    assert put_together(events).content == expected.content
    assert put_together(events).usage == expected.usage
    assert events[-1].to_dict()["tiermesh"] == {"credits_charged": 10, "credits_remaining": 90}


@given(
    st.lists(
        st.tuples(st.sampled_from(["reasoning", "text"]), st.text(st.characters(codec="utf-8"), min_size=1)), max_size=8
    )
)
def test_a_stream_has_the_same_texts_however_they_come(pieces: list[tuple[str, str]]) -> None:
    message = put_together(streamed(*(GenerateReply(**{name: text}) for name, text in pieces)))  # type: ignore[arg-type] # names are fields
    expected: list[list[str]] = []
    for name, text in pieces:
        if expected and expected[-1][0] == name:
            expected[-1][1] += text
        else:
            expected.append([name, text])
    found = [
        ["reasoning", block.thinking] if block.type == "thinking" else ["text", block.text] for block in message.content
    ]
    assert found == expected
    for block in message.content:
        if block.type == "thinking":
            assert SIGNER.read(block.thinking, block.signature, "x") == block.thinking


def test_one_step_may_hold_everything() -> None:
    calls = [ToolCallDelta(index=0, id="call_1", name="f", arguments="{}")]
    message = put_together(streamed(end=last(CALLING, reasoning="hm", text="I look.", tool_calls=calls)))
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]


def test_an_empty_answer_has_no_content() -> None:
    assert whole(last()).content == []
    assert [event.type for event in streamed()] == ["message_start", "message_delta", "message_stop"]


def test_thoughts_that_are_omitted_have_their_signatures_alone() -> None:
    for message in (
        whole(last(reasoning="hm", text="a"), thoughts_shown=False),
        put_together(streamed(GenerateReply(reasoning="hm"), GenerateReply(text="a"), thoughts_shown=False)),
    ):
        thought, text = message.content
        assert (thought.type, text.type) == ("thinking", "text")
        assert thought.thinking == ""
        assert SIGNER.read("", thought.signature, "x") == ""


@pytest.mark.parametrize(
    ("arguments", "reason", "expected"),
    [
        ("", CALLING, [{}]),
        ('{"a": 1', CALLING, [{"arguments": '{"a": 1'}]),
        ("[1]", CALLING, [{"arguments": "[1]"}]),
        # Nobody can make a call that was cut off.
        ('{"a": 1', LENGTH, []),
        ("", LENGTH, []),
        ('{"a": 1}', LENGTH, [{"a": 1}]),
    ],
)
def test_the_input_of_a_call_is_an_object(arguments: str, reason: Any, expected: list[Any]) -> None:
    call = ToolCallDelta(index=0, id="call_1", name="f", arguments=arguments)
    message = whole(last(reason, tool_calls=[call]))
    assert [block.input for block in message.content] == expected


def test_a_stream_that_fails_says_so() -> None:
    stream = renderer()
    stream.open()
    name, _, data = stream.error(MeshError(Code.UNAVAILABLE, "The runner is gone.")).strip().partition(b"\n")
    assert name == b"event: error"
    error = ErrorResponse.model_validate_json(data.removeprefix(b"data: "), strict=True)
    assert (error.error.type, error.error.message) == ("overloaded_error", "The runner is gone.")
    assert json.loads(data.removeprefix(b"data: "))["request_id"] == "req_1"


def test_what_breaks_a_silence_is_an_event() -> None:
    assert PING == b'event: ping\ndata: {"type":"ping"}\n\n'

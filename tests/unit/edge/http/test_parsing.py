"""Mistakes in bodies become 400s that name the field."""

from __future__ import annotations

import pytest

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.edge.chat.checks import check_chat
from services.edge.chat.request import ChatBody, chat_decoder
from services.edge.http.parsing import parse_body, parse_fields
from services.edge.images.request import image_decoder
from services.edge.transcriptions.request import TranscriptionFields

MODEL = Model(id="m", kind="chat", tier="pro", price=10, context=2048, capabilities=("tools",))
RESULT = '{"role": "tool", "tool_call_id": "call_1", "content": "done"}'


def refusal(body: bytes) -> MeshError:
    with pytest.raises(MeshError) as caught:
        check_chat(parse_body(body, chat_decoder), MODEL, max_choices=8)
    assert caught.value.code is Code.INVALID_REQUEST
    return caught.value


def chat(extra: str) -> bytes:
    return b'{"model": "m", "messages": [{"role": "user", "content": "hi"}], ' + extra.encode() + b"}"


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ('"temperature": "warm"', "temperature"),
        ('"temperature": 2.5', "temperature"),
        ('"top_p": -0.1', "top_p"),
        ('"n": 0', "n"),
        ('"n": 9', "n"),
        ('"max_tokens": 0', "max_tokens"),
        ('"max_completion_tokens": "many"', "max_completion_tokens"),
        ('"stop": ["a", "b", "c", "d", "e"]', "stop"),
        ('"stop": [""]', "stop"),
        ('"seed": 1.5', "seed"),
        ('"presence_penalty": 3', "presence_penalty"),
        ('"frequency_penalty": -3', "frequency_penalty"),
        ('"logit_bias": {"50256": 101}', "logit_bias"),
        ('"logit_bias": {"word": 1}', "logit_bias"),
        ('"logprobs": "yes"', "logprobs"),
        ('"logprobs": true, "top_logprobs": 21', "top_logprobs"),
        ('"top_logprobs": 2', "top_logprobs"),
        ('"stream_options": {"include_usage": true}', "stream_options"),
        ('"stream": "true"', "stream"),
        ('"response_format": {"type": "xml"}', "response_format.type"),
        ('"response_format": {"type": "json_schema"}', "response_format.json_schema.schema"),
        ('"tools": [{"type": "function"}]', "tools[0].function"),
        ('"tool_choice": "required"', "tool_choice"),
        ('"tool_choice": {"function": {"name": "b"}}', "tool_choice"),
        ('"tools": [{"function": {"name": "a"}}], "tool_choice": {"function": {"name": "b"}}', "tool_choice"),
        ('"tools": [{"function": {"name": "a"}}, {"function": {"name": "a"}}]', "tools[1].function.name"),
    ],
)
def test_a_wrong_field_is_named(extra: str, param: str) -> None:
    error = refusal(chat(extra))
    assert error.param == param
    assert error.message


@pytest.mark.parametrize(
    ("extra", "allowed"),
    [
        ('"verbosity": "endless"', "'high', 'low' or 'medium'"),
        ('"tool_choice": "any"', "'auto', 'none' or 'required'"),
        ('"tools": [{"type": "shell"}]', "'custom' or 'function'"),
        ('"response_format": {"type": "xml"}', "'json_object', 'json_schema' or 'text'"),
        ('"modalities": ["text", "smell"]', "'audio' or 'text'"),
        # The last of two fields of one name is the one that counts.
        ('"messages": [{"role": "robot"}]', "'assistant', 'developer', 'system', 'tool' or 'user'"),
        ('"messages": [{"role": "user", "content": [{"type": "video"}]}]', "'text', 'image_url' or 'refusal'"),
    ],
)
def test_the_values_that_are_allowed_are_named(extra: str, allowed: str) -> None:
    error = refusal(chat(extra))
    assert error.message == f"'{error.param}' must be {allowed}."


def test_the_values_that_are_allowed_in_a_form_are_named() -> None:
    with pytest.raises(MeshError, match="must be 'segment' or 'word'"):
        parse_fields({"model": "m", "timestamp_granularities": ["vowel"]}, TranscriptionFields)
    with pytest.raises(MeshError, match="'stream' must be false"):
        parse_body(b'{"model": "m", "prompt": "a cat", "stream": true}', image_decoder)


@pytest.mark.parametrize("choice", ['"auto"', '"none"', "null"])
def test_without_tools_the_model_may_choose_to_call_none(choice: str) -> None:
    for tools in ("[]", "null"):
        body = parse_body(chat(f'"tools": {tools}, "tool_choice": {choice}'), chat_decoder)
        check_chat(body, MODEL, max_choices=8)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"messages": [{"role": "user", "content": "hi"}]}', "model"),
        (b'{"model": "m"}', "messages"),
        (b'{"model": "m", "messages": []}', "messages"),
        (b'{"model": "m", "messages": [{"content": "hi"}]}', "messages[0].role"),
        (b'{"model": "m", "messages": [{"role": "robot", "content": "hi"}]}', "messages[0].role"),
        (b'{"model": "m", "messages": [{"role": "user", "content": 5}]}', "messages[0].content"),
        (b'{"model": "m", "messages": [{"role": "user"}]}', "messages[0].content"),
        (b'{"model": "m", "messages": [{"role": "tool", "content": "18C"}]}', "messages[0].tool_call_id"),
        (
            b'{"model": "m", "messages": [{"role": "user", "content": [{"type": "text"}]}]}',
            "messages[0].content[0].text",
        ),
    ],
)
def test_missing_and_wrong_parts_of_messages_are_named(body: bytes, param: str) -> None:
    assert refusal(body).param == param


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"hello", b'{"model": "m", "x": ' + b"[" * 100_000, b'{"model": "\xff"}', b"[1]", b"null"],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    assert refusal(body).param == ""


HALVES = [
    rb"\ud83d",
    rb"\uDe00",
    rb"\ud83d\ud83d",
    rb"\ud83d\u0041",
    rb"\\\ud83d",
    rb"\ud83d\n",
    rb"\ude00\ud83d",
    b"\xed\xa0\xbd",
]


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("text", [b"hi %b", b"%b there, and much more of it", b"\\\\ \\ud83d\\ude00 %b"])
@pytest.mark.parametrize("end", [b'"}', b'"', b""])
def test_half_a_surrogate_pair_is_named(half: bytes, text: bytes, end: bytes) -> None:
    # A body may end with it, or be cut off after it.
    error = refusal(b'{"model": "' + text % half + end)
    whole = half.startswith(b"\xed") and not end
    assert ("surrogate pair" in error.message) is not whole


@pytest.mark.parametrize("half", [half for half in HALVES if half.isascii()])
def test_half_a_surrogate_pair_is_named_where_nobody_reads_the_text(half: bytes) -> None:
    for end in (b'"}', b' there, and much more of it"}'):
        assert "surrogate pair" in refusal(b'{"unknown": "' + half + end).message


@pytest.mark.parametrize("text", [rb"\ud83d\ude00", rb"\\ud83d", rb"\ud7ff\ue000"])
def test_whole_pairs_are_no_halves(text: bytes) -> None:
    parse_body(b'{"model": "' + text + b'", "messages": [{"role": "user", "content": "hi"}]}', chat_decoder)
    assert "surrogate" not in refusal(b'{"model": "' + text).message


def test_an_image_for_a_model_without_vision_is_refused() -> None:
    body = (
        b'{"model": "m", "messages": [{"role": "user", "content": '
        b'[{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}]}'
    )
    assert "cannot see images" in refusal(body).message


def test_unknown_fields_and_nulls_are_tolerated() -> None:
    body = parse_body(chat('"store": true, "metadata": {"a": "1"}, "temperature": null, "stop": null'), chat_decoder)
    check_chat(body, MODEL, max_choices=8)
    assert isinstance(body, ChatBody)
    assert body.stop_strings == []


def test_an_assistant_turn_that_only_calls_tools_needs_no_content() -> None:
    message = (
        '{"role": "assistant", "content": null, "tool_calls": '
        '[{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}'
    )
    body = parse_body(f'{{"model": "m", "messages": [{message}, {RESULT}]}}'.encode(), chat_decoder)
    check_chat(body, MODEL, max_choices=8)


def test_a_call_of_a_function_that_the_model_made_up_may_be_sent_back() -> None:
    call = '{"id": "call_1", "type": "function", "function": {"name": "get the weather", "arguments": "{"}}'
    body = parse_body(chat(f'"messages": [{{"role": "assistant", "tool_calls": [{call}]}}, {RESULT}]'), chat_decoder)
    check_chat(body, MODEL, max_choices=8)

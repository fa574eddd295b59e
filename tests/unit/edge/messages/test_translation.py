"""A message is asked for as the chat completion that it amounts to."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from services.common.errors import Code, MeshError
from services.common.limits.chats import MOST_MESSAGES_TOOLS, MOST_STOP_SEQUENCES
from services.edge.chat import request as chat
from services.edge.chat.results import check_results
from services.edge.messages.request import messages_decoder, parse_conversation
from services.edge.messages.thoughts import ThoughtKey
from services.edge.messages.translation import Translation
from services.edge.messages.translation import translate as translate_body
from services.edge.messages.turns import MOST_INPUT_CHARACTERS
from services.runner.refusals import context_exceeded

SIGNER = ThoughtKey("secret").signer("acct_1", "m")
USER = {"role": "user", "content": "hi"}
TOOL_USE = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "done"}
CALLED = {"role": "assistant", "content": [TOOL_USE]}
TOOL = {"name": "f", "input_schema": {"type": "object"}}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 5}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
CACHED = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


def text(content: str, **fields: Any) -> dict[str, Any]:
    return {"type": "text", "text": content, **fields}


def thought(content: str, signature: str | None = None) -> dict[str, Any]:
    return {
        "type": "thinking",
        "thinking": content,
        "signature": SIGNER.sign(content) if signature is None else signature,
    }


def translation(**fields: Any) -> Translation:
    body = {"model": "m", "max_tokens": 9, "messages": [USER], **fields}
    return translate_body(parse_conversation(msgspec.json.encode(body), messages_decoder), SIGNER)


def translate(**fields: Any) -> chat.ChatBody:
    return translation(**fields).chat


def turns(*messages: Any, **fields: Any) -> list[dict[str, Any]]:
    given = msgspec.to_builtins(translate(messages=[*messages, USER], **fields).messages)
    assert given.pop() == msgspec.to_builtins(chat.Message("user", "hi"))
    return [{name: value for name, value in message.items() if value is not None} for message in given]


def refused(**fields: Any) -> MeshError:
    with pytest.raises(MeshError) as caught:
        translate(**fields)
    assert caught.value.code is Code.INVALID_REQUEST
    return caught.value


@pytest.mark.parametrize("system", ["be kind\n\nbe brief", [text("be kind", **CACHED), text(""), text("be brief")]])
def test_the_system_prompt_comes_first(system: Any) -> None:
    assert turns(system=system) == [{"role": "system", "content": "be kind\n\nbe brief"}]
    assert turns(system="") == turns(system=[]) == []


ACCOUNTING = "x-anthropic-billing-header: cc_version=2.1.100.7b4; cc_entrypoint=cli; cch=eb6c6;"


@pytest.mark.parametrize(
    "system",
    [
        [text(ACCOUNTING), text("be kind")],
        [text(ACCOUNTING + "\n"), text("be kind")],
        [text(ACCOUNTING + "\nbe kind")],
        ACCOUNTING + "\n\nbe kind",
    ],
)
def test_what_differs_in_each_request_does_not_spoil_the_cache(system: Any) -> None:
    assert turns(system=system) == [{"role": "system", "content": "be kind"}]


def test_only_the_beginning_of_the_instructions_is_looked_at() -> None:
    assert turns(system=[text(ACCOUNTING)]) == turns(system=ACCOUNTING) == []
    later = [text("be kind"), text(ACCOUNTING)]
    assert turns(system=later) == [{"role": "system", "content": f"be kind\n\n{ACCOUNTING}"}]
    said = {"role": "user", "content": ACCOUNTING}
    assert turns(said, {"role": "assistant", "content": "a"})[0] == said


def test_bounds_and_sampling_are_the_same_under_other_names() -> None:
    body = translate(
        max_tokens=5,
        stop_sequences=["a", "b"],
        temperature=0.5,
        top_p=0.9,
        top_k=7,
        stream=True,
        metadata={"user_id": "x"},
    )
    assert (body.max_completion_tokens, body.stop_strings) == (5, ["a", "b"])
    assert (body.temperature, body.top_p, body.top_k, body.stream) == (0.5, 0.9, 7, True)


def test_fields_of_betas_are_tolerated() -> None:
    plain = translate()
    assert plain == translate(
        context_management={"edits": [{"type": "clear_tool_uses_20250919"}]},
        cache_control={"type": "ephemeral"},
        container=None,
        mcp_servers=[],
        service_tier="auto",
        inference_geo="eu",
        speed="fast",
        output_config={"effort": None, "task_budget": {"type": "tokens", "total": 5}},
    )


def test_messages_of_one_role_are_one_turn() -> None:
    said = [USER, {"role": "user", "content": [text("you"), text("there", **CACHED)]}]
    answered = [{"role": "assistant", "content": "Hel"}, {"role": "assistant", "content": [text("lo"), text("!")]}]
    assert turns(*said, *answered) == [
        {"role": "user", "content": "hi\n\nyou\n\nthere"},
        {"role": "assistant", "content": "Hello!"},
    ]


def test_images_keep_their_place_among_texts() -> None:
    url = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    (turn, *_) = translate(
        messages=[{"role": "user", "content": [text("a"), text("b"), IMAGE, url, text("c")]}]
    ).messages
    assert turn.content == [
        chat.TextPart("a\n\nb"),
        chat.ImagePart(chat.ImageUrl("data:image/png;base64,AAAA")),
        chat.ImagePart(chat.ImageUrl("https://example.com/a.png")),
        chat.TextPart("c"),
    ]


def test_calls_and_their_results_are_told_apart() -> None:
    results = {"role": "user", "content": [text("Look:", **CACHED), RESULT, {"type": "text", "text": "Go on."}]}
    body = translate(messages=[USER, {"role": "assistant", "content": [text("I look."), TOOL_USE]}, results])
    assert body.messages == [
        chat.Message("user", "hi"),
        chat.Message("assistant", "I look.", tool_calls=[chat.ToolCall("toolu_1", chat.FunctionCall("f", '{"a":1}'))]),
        chat.Message("tool", "done", tool_call_id="toolu_1"),
        chat.Message("user", "Look:\n\nGo on."),
    ]
    check_results(body.messages)


@pytest.mark.parametrize(
    ("result", "content"),
    [
        ({}, ""),
        ({"content": None}, ""),
        ({"content": []}, ""),
        ({"content": "a"}, "a"),
        ({"content": [text("a"), {"type": "tool_reference", "tool_name": "f"}, text("b")]}, "a\n\nb"),
        ({"content": "a", "is_error": False}, "a"),
        ({"content": "a", "is_error": True}, "Error: a"),
        ({"content": [text("a"), text("b")], "is_error": True}, "Error: a\n\nb"),
        ({"is_error": True}, "Error: "),
    ],
)
def test_a_result_says_what_came_and_whether_it_failed(result: dict[str, Any], content: str) -> None:
    given = {"type": "tool_result", "tool_use_id": "toolu_1", **result}
    messages = translate(messages=[CALLED, {"role": "user", "content": [given]}]).messages
    assert messages[-1] == chat.Message("tool", content, tool_call_id="toolu_1")


def test_a_result_may_be_a_picture() -> None:
    given = RESULT | {"content": [IMAGE], "is_error": True}
    messages = translate(messages=[CALLED, {"role": "user", "content": [given]}]).messages
    image = chat.ImagePart(chat.ImageUrl("data:image/png;base64,AAAA"))
    assert messages[-1].content == [chat.TextPart("Error:"), image]


def test_thoughts_that_the_model_had_come_back_to_it() -> None:
    both = {"role": "assistant", "content": [thought("hm"), text("a"), thought("so"), text("b")]}
    assert turns(both) == [{"role": "assistant", "content": "ab", "reasoning_content": "hm\n\nso"}]


@pytest.mark.parametrize(
    "block",
    [
        thought("hm", ""),
        thought("hm", "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds"),
        {"type": "thinking", "thinking": "hm"},
        {"type": "redacted_thinking", "data": "EmwKAhgBEgy3"},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "a"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": {"type": "error"}},
        {"type": "code_execution_tool_result", "tool_use_id": "srvtoolu_1", "content": [5]},
        {"type": "mcp_tool_use", "text": 5},
        {"type": "of next year"},
    ],
)
def test_what_another_service_has_thought_and_done_is_left_out(block: dict[str, Any]) -> None:
    assert turns({"role": "assistant", "content": [block, text("a")]}) == [{"role": "assistant", "content": "a"}]
    assert turns({"role": "assistant", "content": [block]}) == [{"role": "assistant", "content": ""}]


BODY = b'{"model":"m","max_tokens":9,"messages":[{"role":"assistant","content":[{"type":"x","a":%b}]},%b]%b}'


CALL_AND_RESULT = (
    b'{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{"n":%b}}]},'
    b'{"role":"user","content":[{"type":"tool_result","tool_use_id":"a"}]}' % (b"9" * 30)
)


@pytest.mark.parametrize(
    ("value", "rest", "end"),
    [
        (b"1e400", b'{"role":"user","content":"a"}', b',"b":' + b"9" * 30),
        (b"{}", b'{"role":"user","content":"a"}', b',"b":-1e400'),
        (b"{}", CALL_AND_RESULT, b""),
        (b'"\\\\"', b'{"role":"user","content":"\\u00e9"}', b',"metadata":{}'),
    ],
)
def test_what_is_left_out_may_hold_anything(value: bytes, rest: bytes, end: bytes) -> None:
    parse_conversation(BODY % (value, rest, end), messages_decoder)


@pytest.mark.parametrize(
    ("value", "rest", "end", "words"),
    [
        (b"{}", b'{"role":"user","content":', b"", "not valid JSON"),
        (b"nan", b"{}", b"", "not valid JSON"),
        (b"{}", b'{"role":"user","content":"\xff"}', b"", "must be Unicode text"),
        (b"{}", b'{"role":"user","content":"\\ud83d and more words"}', b"", "half of a surrogate pair"),
        (b"[" * 9000 + b"]" * 9000, b'{"role":"user","content":"a"}', b"", "nested too deeply"),
        (b"{}", b'{"role":"user","content":"a"}', b',"b":' + b"[" * 9000 + b"]" * 9000, "nested too deeply"),
        (b"{}", b'{"role":"user","content":"a"}', b',"messages":5', "'messages' must be a list"),
        (b"{}", b'{"role":"user","content":"a"}', b',"messages":[5]', "'messages[0]' must be an object"),
        (b"{}", b'{"role":"user"}', b"", "'messages[1].content' is required"),
        (b"{}", b'{"content":[]}', b"", "'messages[1].role' is required"),
        (b"{}", b'{"role":5,"content":[]}', b"", "'messages[1].role' must be"),
        (b"{}", b'{"role":"user","content":[{"type":"x"}]}', b"", "'messages[1].content[0].type' must be"),
        (b"{}", b'{"role":"assistant","content":[{"type":5}]}', b"", "'messages[1].content[0].type' must be"),
    ],
)
def test_what_follows_a_block_that_is_left_out_is_checked_too(
    value: bytes, rest: bytes, end: bytes, words: str
) -> None:
    with pytest.raises(MeshError, match=re.escape(words)) as caught:
        parse_conversation(BODY % (value, rest, end), messages_decoder)
    assert caught.value.code is Code.INVALID_REQUEST


def test_blocks_keep_their_places_after_one_that_is_left_out() -> None:
    said = {"role": "assistant", "content": [{"type": "x"}, {"type": "y"}, text("a"), IMAGE]}
    assert refused(messages=[USER, said, USER]).param == "messages[1].content[3]"


def test_a_thought_that_was_changed_is_refused() -> None:
    said = {"role": "assistant", "content": [thought("never", SIGNER.sign("hm"))]}
    error = refused(messages=[USER, said, USER])
    assert error.param == "messages[1].content[0].signature"


def test_instructions_may_come_later() -> None:
    later = {"role": "system", "content": [text("be brief")]}
    assert turns({"role": "assistant", "content": "a"}, later)[1] == {"role": "system", "content": "be brief"}


def test_tools_that_the_client_runs_are_offered_and_no_others() -> None:
    custom = {**TOOL, "type": "custom", "name": "g" * 128, "description": "G.", "strict": True, "defer_loading": True}
    body = translate(tools=[SEARCH, TOOL, {"type": "mcp_toolset", "mcp_server_name": "x"}, custom])
    assert body.tools == [
        chat.Tool(chat.Function("f", None, {"type": "object"}, None)),
        chat.Tool(chat.Function("g" * 128, "G.", {"type": "object"}, True)),
    ]
    assert translate(tools=[SEARCH]).tools is None


def test_agents_may_offer_more_tools_and_stop_sequences_than_openai_takes() -> None:
    tools = [TOOL | {"name": f"mcp__files__{at}"} for at in range(MOST_MESSAGES_TOOLS)]
    stops = [f"\n{at}:" for at in range(MOST_STOP_SEQUENCES)]
    body = translate(tools=tools, stop_sequences=stops)
    assert (len(body.tools or ()), body.stop_strings) == (MOST_MESSAGES_TOOLS, stops)
    assert refused(tools=[*tools, TOOL]).param == "tools"
    assert refused(stop_sequences=[*stops, "a"]).param == "stop_sequences"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "none"}, "none"),
        ({"type": "any"}, "required"),
        ({"type": "tool", "name": "f"}, chat.ToolChoice(chat.NamedFunction("f"))),
    ],
)
def test_a_choice_of_tools_is_the_same_in_other_words(choice: dict[str, Any], expected: Any) -> None:
    body = translate(tools=[SEARCH, TOOL], tool_choice=choice)
    assert (body.tool_choice, body.parallel_tool_calls) == (expected, None)
    single = translate(tools=[TOOL], tool_choice=choice | {"disable_parallel_tool_use": True})
    assert (single.tool_choice, single.parallel_tool_calls) == (expected, False)


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "web_search"}])
def test_a_tool_of_the_service_cannot_be_forced(choice: dict[str, Any]) -> None:
    for tools in ([SEARCH], [SEARCH, TOOL]):
        if choice["type"] == "any" and len(tools) > 1:
            continue
        error = refused(tools=tools, tool_choice=choice)
        assert error.param == "tool_choice"
        assert "this service runs no tools of its own" in error.message


def test_a_tool_in_the_form_of_another_protocol_is_not_left_out_in_silence() -> None:
    error = refused(tools=[TOOL, {"type": "function", "function": {"name": "g"}}])
    assert error.param == "tools[1].type"
    assert "send 'name', 'description' and 'input_schema' without a 'type'" in error.message


@pytest.mark.parametrize("display", [None, "summarized", "omitted", "updates"])
def test_thoughts_are_shown_unless_they_are_omitted(display: str | None) -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [USER], "thinking": {"type": "adaptive", "display": display}}
    parsed = parse_conversation(msgspec.json.encode(body), messages_decoder)
    assert parsed.thoughts_shown is (display != "omitted")


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, None),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}}, "xhigh"),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}, "none"),
        ({"output_config": {"effort": "low"}}, "low"),
    ],
)
def test_how_hard_to_think(fields: dict[str, Any], effort: str | None) -> None:
    assert translate(**fields).reasoning_effort == effort


@pytest.mark.parametrize(
    ("display", "shown"), [(None, True), ("summarized", True), ("updates", True), ("omitted", False)]
)
def test_whether_thoughts_are_shown(display: str | None, shown: bool) -> None:
    thinking = {"type": "adaptive", "display": display}
    body = {"model": "m", "max_tokens": 9, "messages": [USER], "thinking": thinking}
    assert parse_conversation(msgspec.json.encode(body), messages_decoder).thoughts_shown is shown


@pytest.mark.parametrize("member", ["output_config", "output_format"])
def test_the_shape_of_the_answer(member: str) -> None:
    wanted = {"type": "json_schema", "schema": {"type": "object"}}
    body = translate(**{member: wanted if member == "output_format" else {"format": wanted}})
    assert body.response_format == chat.ResponseFormat("json_schema", chat.JsonSchema({"type": "object"}))


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([USER, {"role": "assistant", "content": "Sure: {"}], "messages[1]"),
        ([{"role": "user", "content": []}], "messages[0].content"),
        ([{"role": "user", "content": [text("a"), TOOL_USE]}], "messages[0].content[1]"),
        ([{"role": "user", "content": [thought("a")]}], "messages[0].content[0]"),
        ([USER, {"role": "assistant", "content": [IMAGE]}, USER], "messages[1].content[0]"),
        ([USER, {"role": "assistant", "content": [RESULT]}, USER], "messages[1].content[0]"),
        ([{"role": "system", "content": [IMAGE]}, USER], "messages[0].content[0]"),
        ([{"role": "user", "content": [{"type": "document", "source": {}}]}], "messages[0].content[0].type"),
        (
            [{"role": "user", "content": [{"type": "image", "source": {"type": "file"}}]}],
            "messages[0].content[0].source",
        ),
        ([{"role": "user", "content": [{"type": "image"}]}], "messages[0].content[0].source"),
    ],
)
def test_what_has_no_place_is_refused_by_its_own(messages: Any, param: str) -> None:
    error = refused(messages=messages)
    assert error.param == param
    assert f"'{param}'" in error.message


def test_the_inputs_of_calls_have_a_bound_together() -> None:
    call = TOOL_USE | {"input": {"data": "A" * (MOST_INPUT_CHARACTERS // 2)}}
    assert (
        "at most 4,194,304 characters" in refused(messages=[{"role": "assistant", "content": [call] * 2}, USER]).message
    )


@pytest.mark.parametrize(
    ("given", "here"),
    [
        ("messages", "messages"),
        ("messages[0].content", "system"),
        ("messages[1].content[1].image_url.url", "messages[0].content[1].source"),
        ("messages[1].content[1]", "messages[0].content[1]"),
        ("messages[2].tool_calls[1].id", "messages[1].content[2].id"),
        ("messages[3].tool_call_id", "messages[2].content[0].tool_use_id"),
        ("messages[3].content[1].image_url.url", "messages[2].content[0].content[1].source"),
        ("messages[4].content", "messages[2].content"),
        ("tools[0].function.parameters", "tools[1].input_schema"),
        ("tools[0].function.name", "tools[1].name"),
        ("tools", "tools"),
        # The client has sent no such message or tool.
        ("messages[5].content", "messages"),
        ("tools[1].function", "tools"),
        ("stop", "stop_sequences"),
        ("max_completion_tokens", "max_tokens"),
        ("response_format.json_schema.schema", "output_config.format.schema"),
    ],
)
def test_fields_have_the_names_that_the_client_knows(given: str, here: str) -> None:
    names = translation(
        system="a",
        messages=[
            {"role": "user", "content": [text("a"), IMAGE]},
            {"role": "assistant", "content": [text("b"), TOOL_USE, TOOL_USE]},
            {"role": "user", "content": [RESULT | {"content": [text("c"), IMAGE]}, text("d")]},
        ],
        tools=[SEARCH, TOOL],
    ).names
    error = names.error(MeshError(Code.INVALID_REQUEST, f"'{given}' is wrong.", param=given))
    assert (error.param, error.message) == (here, f"'{here}' is wrong.")


def test_a_prompt_that_is_too_long_is_told_of_in_the_words_that_clients_look_for() -> None:
    error = translation().names.error(context_exceeded(4096, 5727))
    assert error.message.startswith("prompt is too long: 5727 tokens > 4096 maximum.")
    assert error.code is Code.CONTEXT_LENGTH_EXCEEDED

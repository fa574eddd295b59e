"""A response is asked for as the chat completion that it amounts to."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.common.limits.chats import TOOL_NAME
from services.edge.chat import request as chat
from services.edge.chat.checks import check_chat
from services.edge.chat.results import check_results
from services.edge.responses.offered_tools import Called, OfferedTools
from services.edge.responses.request import Tool, parse_responses_body
from services.edge.responses.response_object import UsedFunction
from services.edge.responses.translation import Translation
from services.edge.responses.translation import translate as translate_body

MODEL = Model(id="m", kind="chat", tier="pro", price=10, context=2048, capabilities=("tools",))
USER = {"role": "user", "content": "hi"}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "done"}
CUSTOM_CALL = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1", "name": "c", "input": "a\n"}
TOOLS = [
    {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True},
    {"type": "function", "name": "g"},
]


def translation(**fields: Any) -> Translation:
    body = {"model": "m", "input": "hi", **fields}
    return translate_body(parse_responses_body(msgspec.json.encode(body)))


def translate(**fields: Any) -> chat.ChatBody:
    return translation(**fields).chat


def turns(*items: Any) -> list[dict[str, Any]]:
    return [_given(message) for message in msgspec.to_builtins(translate(input=list(items)).messages)]


def _given(value: Any) -> Any:
    """Returns a value without the members that are null."""
    if isinstance(value, list):
        return [_given(member) for member in value]
    return (
        {name: _given(member) for name, member in value.items() if member is not None}
        if isinstance(value, dict)
        else value
    )


def refused(**fields: Any) -> MeshError:
    with pytest.raises(MeshError) as caught:
        translate(**fields)
    assert caught.value.code is Code.INVALID_REQUEST
    return caught.value


def test_a_text_is_what_the_user_says() -> None:
    assert translate(instructions="be kind").messages == [
        chat.Message("developer", "be kind"),
        chat.Message("user", "hi"),
    ]


def test_messages_need_no_type_and_their_parts_are_told_apart() -> None:
    parts = [{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "data:image/png;base64,"}]
    spoken = [{"type": "output_text", "text": "b", "annotations": []}, {"type": "refusal", "refusal": "no"}]
    messages = translate(
        input=[
            {"type": "message", "role": "user", "content": parts},
            {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": spoken},
            USER,
        ]
    ).messages
    assert messages == [
        chat.Message("user", [chat.TextPart("a"), chat.ImagePart(chat.ImageUrl("data:image/png;base64,"))]),
        chat.Message("assistant", [chat.TextPart("b"), chat.RefusalPart("no")]),
        chat.Message("user", "hi"),
    ]


def test_calls_join_the_turn_in_which_they_were_made() -> None:
    call = {"id": "call_1", "function": {"name": "f", "arguments": "{}"}, "type": "function"}
    answer = {"role": "tool", "content": "done", "tool_call_id": "call_1"}
    assert turns(USER, CALL, CALL, OUTPUT) == [USER, {"role": "assistant", "tool_calls": [call, call]}, answer]
    said = {"role": "assistant", "content": "wait"}
    assert turns(USER, said, CALL, OUTPUT) == [USER, {**said, "tool_calls": [call]}, answer]


def test_results_come_after_the_turn_of_their_calls() -> None:
    def called(call_id: str) -> dict[str, Any]:
        return {**CALL, "call_id": call_id}

    def output(call_id: str) -> dict[str, Any]:
        return {**OUTPUT, "call_id": call_id}

    def shape(*items: Any) -> list[str]:
        found = []
        for turn in turns(*items):
            ids = [call["id"] for call in turn.get("tool_calls", ())] or [turn.get("tool_call_id", "")]
            found.append(f"{turn['role']} {' '.join(ids)}".strip())
        return found

    assert shape(called("a"), USER, output("a"), USER) == ["assistant a", "tool a", "user", "user"]
    assert shape(called("a"), called("b"), output("b"), output("a")) == ["assistant a b", "tool b", "tool a"]
    assert shape(called("a"), USER, called("b"), output("b"), output("a")) == [
        "assistant a", "tool a", "user", "assistant b", "tool b"
    ]  # fmt: skip
    # Ids may come again once they have been answered.
    assert shape(called("a"), output("a"), called("a"), output("a")) == ["assistant a", "tool a"] * 2
    assert shape(output("a"), called("a")) == ["tool a", "assistant a"]


def test_what_is_said_after_a_call_belongs_to_its_turn() -> None:
    said = {"role": "assistant", "content": "wait"}
    call = {"id": "call_1", "function": {"name": "f", "arguments": "{}"}, "type": "function"}
    other = {**call, "id": "call_2"}
    answers = [{"role": "tool", "content": "done", "tool_call_id": call_id} for call_id in ("call_1", "call_2")]
    second, result = {**CALL, "call_id": "call_2"}, {**OUTPUT, "call_id": "call_2"}
    assert turns(CALL, said, OUTPUT, said) == [{**said, "tool_calls": [call]}, answers[0], said]
    assert turns(CALL, said, second, OUTPUT, result) == [{**said, "tool_calls": [call, other]}, *answers]
    parts = [{"type": "text", "text": "wait"}] * 2
    assert turns(said, CALL, said, OUTPUT) == [{**said, "content": parts, "tool_calls": [call]}, answers[0]]


@pytest.mark.parametrize(
    ("items", "param"),
    [
        ([USER, OUTPUT], "input[1].call_id"),
        ([USER, CALL], "input[1].call_id"),
        ([CALL, {**CALL, "call_id": "call_2"}, OUTPUT, USER], "input[1].call_id"),
        ([CALL, CALL, OUTPUT], "input[1].call_id"),
        ([CALL, OUTPUT, USER, OUTPUT], "input[3].call_id"),
        ([USER, {"role": "assistant", "content": "wait"}, CALL, USER], "input[2].call_id"),
    ],
)
def test_a_call_or_result_alone_is_refused_by_its_item(items: list[Any], param: str) -> None:
    translated = translation(input=items)
    with pytest.raises(MeshError) as caught:
        check_results(translated.chat.messages)
    error = translated.names.error(caught.value)
    assert (error.param, f"'{param}'" in error.message) == (param, True)


def thought(text: str) -> dict[str, Any]:
    part = {"type": "reasoning_text", "text": text}
    return {"type": "reasoning", "id": "rs_1", "summary": [], "content": [part], "encrypted_content": None}


def test_earlier_thoughts_belong_to_what_came_of_them() -> None:
    said = {"role": "assistant", "content": "wait"}
    assert turns(USER, thought("hm"), said)[1] == {**said, "reasoning_content": "hm"}
    called, answer, again = turns(USER, thought("hm"), CALL, OUTPUT, thought("a"), thought("b"), CALL)[1:]
    assert (called["reasoning_content"], again["reasoning_content"]) == ("hm", "a\n\nb")
    assert "reasoning_content" not in answer
    assert turns(USER, thought("a"), said, thought("b"), CALL)[1]["reasoning_content"] == "a\n\nb"
    summary = {"type": "reasoning", "summary": [{"type": "summary_text", "text": text} for text in "ab"]}
    assert turns(USER, summary, said)[1]["reasoning_content"] == "a\n\nb"


def test_thoughts_that_nothing_came_of_are_left_out() -> None:
    assert turns(USER, thought("hm")) == [USER]
    assert turns(thought("hm"), USER) == [USER]
    said = {"role": "assistant", "content": "wait"}
    unread: dict[str, Any]
    for unread in ({"encrypted_content": "x"}, {"summary": [{}]}, {"content": None}):
        assert turns(USER, {"type": "reasoning", "id": "rs_1", **unread}, said)[1] == said
    assert refused(input=[thought("hm")]).param == "input"


def test_a_reference_is_refused_unless_it_only_introduces_a_call() -> None:
    reference = {"type": "item_reference", "id": "msg_1"}
    assert len(turns(USER, reference, CALL, OUTPUT)) == 3
    for items in ([USER, reference], [USER, {"id": "msg_1"}], [USER, {**reference, "id": "fc_1"}, CALL]):
        error = refused(input=items)
        assert error.param == "input[1]"
        assert "store: false" in error.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"background": True}, "background"),
    ],
)
def test_what_would_have_to_be_kept_is_refused(fields: dict[str, Any], param: str) -> None:
    error = refused(**fields)
    assert error.param == param
    assert "keeps nothing" in error.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": [{"type": "compaction_trigger"}]}, "input[0].type"),
        ({"input": [{"type": "web_search_call", "id": "ws_1"}]}, "input"),
        ({"input": [{"type": "local_shell_call"}]}, "input[0].call_id"),
        ({"input": [{**CUSTOM_CALL, "input": None}]}, "input[0].input"),
        ({"input": [{"type": "message", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{**CALL, "call_id": None}]}, "input[0].call_id"),
        ({"input": [{**CALL, "arguments": None}]}, "input[0].arguments"),
        ({"input": [{**OUTPUT, "output": None}]}, "input[0].output"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].image_url"),
        ({"tools": [{"type": "functoin", "name": "f", "parameters": {}}]}, "tools[0].type"),
        ({"tools": [{"type": "namespace", "tools": []}]}, "tools[0].name"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "web_search"}]}]}, "tools[0].tools[0].type"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function"}]}]}, "tools[0].tools[0].name"),
        ({"tools": [{"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark"}}]},
         "tools[0].format.definition"),
        ({"tools": [{"type": "custom", "name": "c", "format": {"type": "grammar", "definition": "a"}}]},
         "tools[0].format.syntax"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function", "name": f"f{at}"}
          for at in range(129)]}]}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": TOOLS, "tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "allowed_tools", "mode": "auto"}}, "tool_choice"),
        ({"tools": [{"type": "web_search"}], "tool_choice": "required"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "name": "h"}}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [
          {"type": "image_generation"}]}}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    assert refused(**fields).param == param


def test_a_result_of_a_custom_tool_may_come_in_parts() -> None:
    result = {"type": "custom_tool_call_output", "call_id": "call_1", "output": "a"}
    body = translate(input=[USER, CUSTOM_CALL, result, {**result, "output": "b"}, USER, CUSTOM_CALL, result])
    check_results(body.messages)
    assert [message.content for message in body.messages if message.role == "tool"] == [
        [chat.TextPart("a"), chat.TextPart("b")],
        "a",
    ]
    said = [{"type": "text", "text": "go"}, {"type": "encrypted_content", "encrypted_content": "x"}]
    told = {"type": "agent_message", "author": "/root", "recipient": "/root/a", "content": said}
    assert translate(input=[told]).messages == [chat.Message("user", "go")]


def namespace(name: str, *tools: str) -> dict[str, Any]:
    inside = [{"type": "function", "name": tool, "description": f"{name} {tool}"} for tool in tools]
    return {"type": "namespace", "name": name, "description": "d", "tools": inside}


def test_functions_of_a_namespace_are_shown_under_its_name() -> None:
    call = {**CALL, "name": "f", "namespace": "mcp__n"}
    translated = translation(input=[USER, call, OUTPUT], tools=[namespace("mcp__n", "f", "g"), TOOLS[1]])
    assert [tool.name for tool in translated.chat.tools or ()] == ["mcp__n__f", "mcp__n__g", "g"]
    assert translated.tools.called["mcp__n__f"] == Called("f", "mcp__n", custom=False)
    assert translated.tools.called["g"] == Called("g", None, custom=False)
    earlier = (translated.chat.messages[1].tool_calls or [])[0]
    assert earlier.function == chat.FunctionCall("mcp__n__f", "{}")
    # Also where it is on offer no more.
    assert turns(USER, call, OUTPUT)[1]["tool_calls"][0]["function"]["name"] == "mcp__n__f"
    error = translated.names.error(MeshError(Code.INVALID_REQUEST, "wrong", param="tools[1].function.parameters"))
    assert error.param == "tools[0].tools[1].parameters"


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "a", "a__b", "n" * 64]), st.sampled_from(["c", "b__c", "a__c", "f" * 64])),
        unique=True,
    )
)
def test_every_tool_has_a_name_of_its_own(pairs: list[tuple[str, str]]) -> None:
    tools = [
        namespace(within, name) if within else {"type": "function", "name": name, "description": name}
        for within, name in pairs
    ]
    offered = OfferedTools([msgspec.convert(tool, Tool) for tool in tools])
    shown = [tool.name for tool in offered.tools]
    assert len(set(shown)) == len(pairs)
    assert all(TOOL_NAME.fullmatch(name) for name in shown)
    # The answer says what the client knows, and what comes back is shown as before.
    called = [offered.called[name] for name in shown]
    assert [(each.namespace or "", each.name) for each in called] == pairs
    assert [offered.shown_name(each.name, each.namespace) for each in called] == shown
    # Plain functions keep their names.
    assert [name for name, (within, plain) in zip(shown, pairs, strict=True) if not within and name != plain] == []


def test_custom_tools_take_a_text() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /a/"}
    tools = [
        {"type": "custom", "name": "c", "description": "d", "format": grammar},
        {"type": "custom", "name": "t", "format": {"type": "text"}},
    ]
    result = {"type": "custom_tool_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "b"}]}
    body = translate(input=[USER, CUSTOM_CALL, result], tools=tools, tool_choice={"type": "custom", "name": "c"})
    wanted = chat.CustomFormat("grammar", chat.Grammar("start: /a/", "lark"))
    assert [tool.custom for tool in body.tools or ()] == [chat.CustomTool("c", "d", wanted), chat.CustomTool("t")]
    assert (body.messages[1].tool_calls or [])[0].custom == chat.CustomCall("c", "a\n")
    assert body.messages[2] == chat.Message("tool", [chat.TextPart("b")], tool_call_id="call_1")
    assert body.forced_function == "c"
    check_chat(body, MODEL, max_choices=1)


def test_tools_that_others_run_are_left_out() -> None:
    hosted: list[dict[str, Any]] = [
        {"type": "web_search", "external_web_access": False, "filters": {}},
        {"type": "image_generation", "output_format": "png", "format": "png", "name": 5},
        {"type": "mcp", "server_label": "s", "server_url": "https://example.com", "tools": "all"},
        {"type": "tool_search", "execution": "client", "description": "d", "parameters": {"type": "object"}},
        {"type": "local_shell"}, {"type": "shell"}, {"type": "apply_patch"}, {"type": "brand_new"},
    ]  # fmt: skip
    translated = translation(tools=[*hosted, TOOLS[1]], tool_choice="required")
    assert [tool.name for tool in translated.chat.tools or ()] == ["g"]
    assert translated.tools.used == [UsedFunction("g", None, None, None)]
    assert translate(tools=hosted).tools is None
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search"}]}
    assert translate(tools=[*hosted, TOOLS[1]], tool_choice=allowed).tool_choice == "none"
    both = {**allowed, "mode": "required", "tools": [{"type": "web_search"}, {"type": "function", "name": "g"}]}
    assert translate(tools=[*hosted, TOOLS[1]], tool_choice=both).allowed_functions == {"g"}


def test_a_namespace_may_be_allowed_as_a_whole() -> None:
    tools = [namespace("n", "f", "g"), namespace("m", "f"), TOOLS[0]]
    choice: dict[str, Any] = {"type": "allowed_tools", "mode": "auto"}
    one = translate(tools=tools, tool_choice={**choice, "tools": [{"type": "namespace", "name": "n"}]})
    assert one.allowed_functions == {"n__f", "n__g"}
    other = [{"type": "function", "name": "f", "namespace": "m"}]
    assert translate(tools=tools, tool_choice={**choice, "tools": other}).allowed_functions == {"m__f"}
    # By a bare name, what stands in no namespace comes first.
    assert translate(tools=tools, tool_choice={"type": "function", "name": "f"}).forced_function == "f"
    assert translate(tools=tools, tool_choice={"type": "function", "name": "g"}).forced_function == "n__g"


FOREIGN: list[tuple[list[dict[str, Any]], list[tuple[str, str, Any]]]] = [
    ([{"type": "web_search_call", "id": "ws_1", "action": {"type": "search", "query": "q"}}], []),
    ([{"type": "compaction", "encrypted_content": "x"}, {"type": "compaction_summary", "encrypted_content": "x"}], []),
    ([{"type": "tool_search_call", "call_id": "c", "execution": "client", "arguments": {"query": "q"}},
      {"type": "tool_search_output", "call_id": "c", "tools": [TOOLS[0]], "output": {}}], []),
    ([{"type": "computer_call", "call_id": "c", "action": {"type": "wait"}},
      {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot"}}], []),
    ([{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x", "status": None}], []),
    ([{"type": "image_generation_call", "id": "ig_1", "result": "AAAA"}, {"type": "mcp_list_tools", "tools": []}], []),
    ([{"type": "local_shell_call", "call_id": "c", "status": "completed",
       "action": {"type": "exec", "command": ["ls"], "env": {}}}, {**OUTPUT, "call_id": "c"}],
     [("local_shell", '{"type":"exec","command":["ls"],"env":{}}', "done")]),
    ([{"type": "local_shell_call", "id": "c", "action": {"command": ["ls"]}},
      {"type": "local_shell_call_output", "id": "c", "output": '{"stdout": "a"}'}],
     [("local_shell", '{"command":["ls"]}', '{"stdout": "a"}')]),
    ([{"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"]}},
      {"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "a", "stderr": ""}]}],
     [("shell", '{"commands":["ls"]}', '[{"stdout":"a","stderr":""}]')]),
    ([{"type": "apply_patch_call", "call_id": "c", "operation": {"type": "delete_file", "path": "a"}},
      {"type": "apply_patch_call_output", "call_id": "c", "status": "completed"}],
     [("apply_patch", '{"type":"delete_file","path":"a"}', "")]),
    ([{"type": "mcp_call", "id": "c", "server_label": "s", "name": "f", "arguments": "{}", "output": "a"}],
     [("f", "{}", "a")]),
    ([{"type": "mcp_call", "id": "c", "server_label": "s", "name": "f", "arguments": "{}", "error": {"code": 5}}],
     [("f", "{}", '{"code":5}')]),
    ([{**CALL, "call_id": "c"}, {"type": "function_call_output", "call_id": "c", "output": [
        {"type": "encrypted_content", "encrypted_content": "x"}, {"type": "input_text", "text": "a"}]}],
     [("f", "{}", [{"type": "text", "text": "a"}])]),
    ([{"type": "agent_message", "author": "/root", "recipient": "/a", "content": [
        {"type": "encrypted_content", "encrypted_content": "x"}]}], []),
    ([{"type": "code_interpreter_call", "id": "c", "code": "1", "outputs": [{"type": "logs", "logs": "a"}, {"x": 1}]}],
     [("code_interpreter", '{"code":"1"}', "a")]),
]  # fmt: skip


@pytest.mark.parametrize(("items", "calls"), FOREIGN, ids=[items[0]["type"] for items, _ in FOREIGN])
def test_conversations_that_were_begun_elsewhere_go_on(
    items: list[dict[str, Any]], calls: list[tuple[str, str, Any]]
) -> None:
    said = {"role": "assistant", "content": "so"}
    body = translate(input=[USER, *items, said, USER])
    check_results(body.messages)
    made = [call.function for message in body.messages for call in message.tool_calls or ()]
    results = [msgspec.to_builtins(message.content) for message in body.messages if message.role == "tool"]
    assert [(call.name, call.arguments) for call in made if call] == [call[:2] for call in calls]
    assert results == [call[2] for call in calls]
    assert [message.content for message in body.messages if message.role != "tool" and message.content] == [
        "hi", "so", "hi"
    ]  # fmt: skip
    # The others keep their places.
    error = refused(input=[USER, *items, {"role": "user"}])
    assert error.param == f"input[{len(items) + 1}].content"


def test_a_call_may_be_sent_back_as_the_model_made_it() -> None:
    call = {**CALL, "name": "get the weather", "arguments": '{"city": "Par'}
    assert turns(USER, call, OUTPUT)[1]["tool_calls"] == [
        {"id": "call_1", "type": "function", "function": {"name": "get the weather", "arguments": '{"city": "Par'}}
    ]


def test_tools_and_their_choice() -> None:
    body = translate(tools=TOOLS, tool_choice={"type": "function", "name": "f"}, parallel_tool_calls=False)
    assert [tool.name for tool in body.tools or ()] == ["f", "g"]
    assert body.tools is not None
    assert body.tools[0].function == chat.Function("f", None, {"type": "object"}, True)
    assert body.tool_choice == chat.ToolChoice(chat.NamedFunction("f"))
    assert body.parallel_tool_calls is False
    for mode in ("none", "auto", "required"):
        assert translate(tools=TOOLS, tool_choice=mode).tool_choice == mode
    assert translate(tools=[]).tools is None


def test_allowed_tools_hide_the_others() -> None:
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]}
    body = translate(tools=TOOLS, tool_choice=choice)
    assert [tool.name for tool in body.offered_tools] == ["g"]
    assert body.tool_mode == "required"


def test_the_rest_has_other_names() -> None:
    schema = {"type": "object"}
    body = translate(
        max_output_tokens=5,
        temperature=0.5,
        top_p=0.25,
        text={"format": {"type": "json_schema", "name": "x", "schema": schema, "strict": True}, "verbosity": "low"},
        reasoning={"effort": "low"},
        include=["message.output_text.logprobs"],
        top_logprobs=3,
    )
    assert (body.max_completion_tokens, body.temperature, body.top_p) == (5, 0.5, 0.25)
    assert body.response_format == chat.ResponseFormat("json_schema", chat.JsonSchema(schema, "x", True))
    assert (body.reasoning_effort, body.logprobs, body.top_logprobs) == ("low", True, 3)


def test_alternatives_are_not_made_for_those_who_do_not_look_at_them() -> None:
    assert translate(top_logprobs=3).top_logprobs is None


SPOKEN: dict[str, Any] = {
    "instructions": "be kind",
    "input": [
        {"type": "reasoning", "id": "rs_1"},
        USER,
        {"role": "assistant", "content": "wait"},
        CALL,
        OUTPUT,
        CALL,
    ],
    "tools": [*TOOLS, {"type": "function", "name": "h"}],
    "tool_choice": {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "function", "name": "f"}, {"type": "function", "name": "h"}],
    },
}


@pytest.mark.parametrize(
    ("param", "here"),
    [
        ("messages", "input"),
        ("messages[0].content", "instructions"),
        ("messages[1].content", "input[1].content"),
        ("messages[1].content[3].image_url.url", "input[1].content[3].image_url"),
        ("messages[2].tool_calls", "input[2]"),
        ("messages[3].content[0]", "input[4].output[0]"),
        ("messages[4]", "input[5]"),
        ("tools[2].function.parameters", "tools[2].parameters"),
        ("tools", "tools"),
        ("response_format", "text.format"),
        ("response_format.json_schema.schema", "text.format.schema"),
        ("max_tokens", "max_output_tokens"),
        ("", ""),
    ],
)
def test_errors_speak_of_the_fields_that_were_sent(param: str, here: str) -> None:
    names = translation(**SPOKEN).names
    error = names.error(MeshError(Code.INVALID_REQUEST, f"'{param}' is for 'tools'.", param=param))
    assert (error.code, error.message, error.param) == (Code.INVALID_REQUEST, f"'{here}' is for 'tools'.", here)


def test_a_text_is_the_content_of_its_message() -> None:
    error = translation().names.error(MeshError(Code.INVALID_REQUEST, "wrong", param="messages[0].content"))
    assert (error.message, error.param) == ("wrong", "input")


@pytest.mark.parametrize(
    "thought",
    [
        {"content": [{"type": "text", "text": "hm"}]},
        {"content": [{"type": "summary_text", "text": "hm"}], "summary": "hm"},
        {"content": {"text": "hm"}, "id": 5, "name": [], "role": "thinker"},
        {"content": None, "encrypted_content": "x"},
    ],
)
def test_nothing_in_a_thought_is_at_fault(thought: dict[str, Any]) -> None:
    item = {"type": "reasoning", "id": "rs_1", **thought}
    assert turns(item, USER) == [{"role": "user", "content": "hi"}]
    # The others keep their places.
    assert refused(input=[item, USER, {"role": "user", "content": [{"type": "text", "text": "hi"}]}]).param == (
        "input[2].content[0].type"
    )


def test_a_format_without_a_type_is_text() -> None:
    assert translate(text={"format": {"type": None}}).response_format == chat.ResponseFormat("text")


def test_what_chats_have_is_served_here_too() -> None:
    fields: dict[str, Any] = {
        "stop": ["a", "b"], "seed": 7, "presence_penalty": 1.5, "frequency_penalty": -1, "logit_bias": {"5": -100},
        "top_k": 5, "min_p": 0.25, "repetition_penalty": 1.5,
    }  # fmt: skip
    body = msgspec.to_builtins(translate(**fields, n=1))
    assert {name: body[name] for name in fields} == fields

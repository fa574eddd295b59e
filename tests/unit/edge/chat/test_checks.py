"""The edge decides which chats are valid, and a runner takes whatever the edge has let through."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.common.json_schema.checking import LARGEST_SCHEMA
from services.common.limits.chats import LONGEST_STOP, MOST_BIASES, MOST_MESSAGES, MOST_TOOLS
from services.edge.chat import checks
from services.edge.chat.call import generate_call
from services.edge.chat.checks import LARGE_BODY, check_chat, check_chat_body
from services.edge.chat.request import ChatBody, Message, chat_decoder
from services.runner.kinds.text.prompt.template import ChatTemplate, packaged_template
from services.runner.kinds.text.reader import RequestReader
from tiermesh.runner.v1.runner_pb2 import ToolChoice

CAPABLE = Model(id="capable", kind="chat", tier="max", price=15, context=8192, capabilities=("tools", "vision"))
PLAIN = Model(id="plain", kind="chat", tier="pro", price=10, context=2048)
HELLO = {"role": "user", "content": "hi"}
UNENFORCEABLE = {"not": {"type": "string"}}


def body(**fields: Any) -> ChatBody:
    document = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
    return chat_decoder.decode(msgspec.json.encode(document))


def function(name: str, parameters: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters, **more}}


def answer(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def calling(*call_ids: str) -> dict[str, Any]:
    calls = [{"id": call_id, "function": {"name": "f", "arguments": "{}"}} for call_id in call_ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(call_id: str, content: Any = "done") -> dict[str, Any]:
    return {"role": "tool", "content": content, "tool_call_id": call_id}


def refusal(chat: ChatBody, model: Model = CAPABLE) -> MeshError:
    with pytest.raises(MeshError) as caught:
        check_chat(chat, model, max_choices=8)
    assert caught.value.code is Code.INVALID_REQUEST
    assert f"'{caught.value.param}'" in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    "fields",
    [
        {"top_k": 1_000_000, "min_p": 1, "repetition_penalty": 2},
        {"top_k": -1, "min_p": 0, "repetition_penalty": 0.01},
        {"temperature": 2, "top_p": 0, "presence_penalty": -2, "frequency_penalty": 2, "seed": -(2**63)},
        {"stop": ["a" * LONGEST_STOP] * 4, "logprobs": True, "top_logprobs": 20},
        {"logit_bias": {str(token): 100 for token in range(MOST_BIASES)}},
        {"tools": [function(f"f{at}") for at in range(MOST_TOOLS)], "tool_choice": "required"},
        {"tools": [function("a.b-c_" + "9" * 58)], "tool_choice": function("a.b-c_" + "9" * 58)},
        {"tools": [function("f", UNENFORCEABLE, strict=True)], "tool_choice": "none"},
        {"tools": [function("f", UNENFORCEABLE)], "response_format": answer({"type": "object"})},
        {"tools": [function("f")], "tool_choice": "required", "response_format": answer(UNENFORCEABLE)},
        {"tools": [function("f"), function("g", UNENFORCEABLE, strict=True)], "tool_choice": function("f")},
        {"response_format": answer({"const": "x" * (LARGEST_SCHEMA - 13)})},
        {"response_format": {"type": "json_schema", "schema": {"type": "object"}}},
        {"reasoning_effort": "max"},
        {"tools": [function("f", {})], "tool_choice": "required"},
        {"tools": [function("f", {"properties": {}}, strict=True), function("g", {"type": ["null", "object"]})]},
        {"tools": [function("f", {"type": ["object", "null"]})], "tool_choice": function("f")},
        {"tools": [function("f", {"type": "string"})]},
        {"messages": [{"role": "developer", "content": ""}, {"role": "assistant", "refusal": "no"}]},
        {
            "messages": [
                {"role": "user", "content": "x"},
                {"role": "assistant", "content": "y", "reasoning_content": "T"},
            ]
        },
        {"messages": [{"role": "user", "content": "x", "reasoning_content": ""}]},
        {"messages": [calling("call_1"), result("call_1", [{"type": "text", "text": "18C"}])]},
        {"messages": [HELLO, calling("a", "b"), result("b"), {"role": "system", "content": "x"}, result("a"), HELLO]},
        {
            "messages": [
                HELLO,
                calling("a"),
                result("a"),
                calling("a"),
                result("a"),
                {"role": "assistant", "content": "y"},
            ]
        },
    ],
)
def test_a_runner_takes_what_the_edge_lets_through(fields: dict[str, Any]) -> None:
    chat = body(**fields)
    check_chat(chat, CAPABLE, max_choices=8)
    template = ChatTemplate(packaged_template("smollm2"))
    reader = RequestReader(template, detokenize=lambda _: "", new_call_id=lambda: "call_1")
    assert reader.read(generate_call(chat, CAPABLE, "req_1"), CAPABLE).job.prompt


def test_a_name_does_not_end_with_a_line_break() -> None:
    error = refusal(body(tools=[function("f"), function("g\n")]))
    assert (error.param, "must not end with a line break" in error.message) == ("tools[1].function.name", True)


def test_what_other_endpoints_make_of_one_message_has_a_bound() -> None:
    chat = replace(body(), messages=[Message("user", "x")] * (MOST_MESSAGES + 1))
    assert refusal(chat).param == "messages"
    check_chat(replace(chat, messages=chat.messages[1:]), CAPABLE, max_choices=8)


def test_tools_need_a_model_that_can_call() -> None:
    assert refusal(body(tools=[function("f")]), PLAIN).param == "tools"
    check_chat(body(tools=[]), PLAIN, max_choices=8)


@pytest.mark.parametrize("off", [-1, 0, None])
def test_no_top_k_is_said_in_several_ways(off: int | None) -> None:
    assert generate_call(body(top_k=off), CAPABLE, "req_1").sampling.top_k == 0


def test_earlier_thoughts_reach_the_runner() -> None:
    thinking = body(messages=[{"role": "assistant", "content": "y", "reasoning_content": "TTT"}])
    assert generate_call(thinking, CAPABLE, "req_1").messages[0].reasoning_content == "TTT"
    wrong = body(messages=[{"role": "user", "content": "y", "reasoning_content": "TTT"}])
    assert refusal(wrong).param == "messages[0].reasoning_content"


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([result("a")], "messages[0].tool_call_id"),
        ([HELLO, result("a"), HELLO], "messages[1].tool_call_id"),
        ([HELLO, calling("a"), result("b")], "messages[2].tool_call_id"),
        ([HELLO, calling("a"), result("a"), result("a")], "messages[3].tool_call_id"),
        ([HELLO, calling("a"), result("a"), HELLO, result("a")], "messages[4].tool_call_id"),
        ([HELLO, calling("a"), result("a"), {"role": "assistant", "content": "y"}, result("a")],
         "messages[4].tool_call_id"),
        ([HELLO, calling("a"), HELLO, result("a")], "messages[1].tool_calls[0].id"),
        ([HELLO, calling("a", "b"), result("a"), calling("c"), result("c")], "messages[1].tool_calls[1].id"),
        ([HELLO, calling("a", "b"), result("b")], "messages[1].tool_calls[0].id"),
        ([HELLO, calling("a")], "messages[1].tool_calls[0].id"),
        ([HELLO, calling("a", "a"), result("a")], "messages[1].tool_calls[1].id"),
    ],
)  # fmt: skip
def test_each_call_has_its_result_and_each_result_its_call(messages: list[dict[str, Any]], param: str) -> None:
    assert refusal(body(messages=messages)).param == param


def test_only_schemas_that_are_followed_must_be_enforceable() -> None:
    strict = function("f", UNENFORCEABLE, strict=True)
    assert refusal(body(tools=[function("e"), strict])).param == "tools[1].function.parameters"
    assert refusal(body(tools=[function("f", UNENFORCEABLE)], tool_choice="required")).param
    check_chat(body(tools=[function("f", UNENFORCEABLE)]), CAPABLE, max_choices=8)


@pytest.mark.parametrize("parameters", [{"type": "string"}, {"enum": ["a"]}, {"anyOf": [{"type": "null"}]}])
def test_arguments_that_must_be_something_else_than_an_object(parameters: dict[str, Any]) -> None:
    tools = [function("f", parameters)]
    for forced in ({"tool_choice": "required"}, {"tool_choice": tools[0]}):
        assert refusal(body(tools=tools, **forced)).param == "tools[0].function.parameters"
    assert refusal(body(tools=[function("f", parameters, strict=True)])).param == "tools[0].function.parameters"


def test_a_schema_belongs_to_one_of_the_two_places() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "x"}, "schema": {"type": "object"}}
    assert refusal(body(response_format=wanted)).param == "response_format.json_schema.schema"


def test_schemas_are_bounded_together_before_they_are_looked_at() -> None:
    costly: dict[str, Any] = {"prefixItems": [{} for _ in range(LARGEST_SCHEMA // 4 - 10)]}
    many = [function(f"f{at}", costly, strict=True) for at in range(3)]
    assert refusal(body(tools=many)).param == "tools"
    assert (
        refusal(body(tools=[*many[:2], function("g", UNENFORCEABLE, strict=True)])).param
        == "tools[2].function.parameters"
    )


async def test_large_schemas_are_checked_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    monkeypatch.setattr(checks, "check_schemas", lambda _: threads.append(threading.current_thread()))
    for size in (LARGE_BODY, LARGE_BODY + 1):
        await check_chat_body(body(tools=[function("f")]), CAPABLE, max_choices=8, size=size)
    assert [thread is threading.main_thread() for thread in threads] == [True, False]
    # Long conversations without tools are not worth a thread.
    await check_chat_body(body(), CAPABLE, max_choices=8, size=LARGE_BODY + 1)
    assert len(threads) == 2


async def test_what_is_refused_in_a_thread_is_refused_the_same() -> None:
    with pytest.raises(MeshError, match="cannot be enforced") as caught:
        await check_chat_body(body(response_format=answer(UNENFORCEABLE)), CAPABLE, max_choices=8, size=LARGE_BODY + 1)
    assert caught.value.param == "response_format.json_schema.schema"


def allowed(mode: str, *names: str) -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


@pytest.mark.parametrize(
    ("mode", "shown"),
    [("auto", "MODE_AUTO"), ("required", "MODE_REQUIRED")],
    ids=["auto", "required"],
)
def test_allowed_tools_are_all_that_the_model_sees(mode: str, shown: str) -> None:
    tools = [function("f", UNENFORCEABLE, strict=True), function("g"), function("h")]
    chat = body(tools=tools, tool_choice=allowed(mode, "h", "g"))
    # What cannot be called need not be enforceable.
    check_chat(chat, CAPABLE, max_choices=8)
    call = generate_call(chat, CAPABLE, "r")
    assert [tool.name for tool in call.tools] == ["g", "h"]
    assert ToolChoice.Mode.Name(call.tool_choice.mode) == shown
    bound = refusal(body(tools=tools, tool_choice=allowed(mode, "f")))
    assert bound.param == "tools[0].function.parameters"


@pytest.mark.parametrize(
    ("choice", "param"),
    [
        (allowed("auto", "f", "other"), "tool_choice"),
        ({"type": "allowed_tools"}, "tool_choice.allowed_tools"),
        ({"type": "allowed_tools", "function": {"name": "f"}}, "tool_choice.allowed_tools"),
        ({**allowed("auto", "f"), "function": {"name": "f"}}, "tool_choice.function"),
        ({"type": "function"}, "tool_choice.function"),
        ({"function": {"name": "f"}, **allowed("auto", "f"), "type": None}, "tool_choice.allowed_tools"),
        ({"type": "function", "function": {"name": "other"}}, "tool_choice"),
    ],
)
def test_a_choice_of_tools_that_is_none_is_named(choice: dict[str, Any], param: str) -> None:
    assert refusal(body(tools=[function("f")], tool_choice=choice)).param == param

"""Each rule of all that generates text: one sentence of the edge, about the field that was sent, for free.

No model of these requests has a runner, so whatever were placed, let alone held, would be a 503 in place of a 400.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx2
import pytest

from tests.support.account import FundedAccount
from tests.support.images import plain_image
from tests.support.mesh import LocalMesh
from tests.support.ports import free_address

CHAT, RESPONSES, MESSAGES, COMPLETIONS = "/chat/completions", "/responses", "/messages", "/completions"
# What Anthropic calls the codes.
ANTHROPIC = {"invalid_request_error": "invalid_request", "overloaded_error": "service_unavailable"}
OPENAI = (CHAT, RESPONSES, COMPLETIONS)
# Wallets can pay for these (x402), and nobody tells them the price here. Their requests are checked before that.
PAID = (*OPENAI, MESSAGES)
PAYMENTS = {"TIERMESH_EDGE_PAYMENTS_ADDRESSES": free_address(), "TIERMESH_EDGE_UNPAID_PER_MINUTE": "1000000"}
KEYLESS = {"Authorization": "Bearer x402"}
COUNT, TOKENIZE, MESSAGES_COUNT = "/responses/input_tokens", "/tokenize", "/messages/count_tokens"
HELLO = {"role": "user", "content": "Hi"}
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"model": "tiermesh-max", "messages": [HELLO]},
    RESPONSES: {"model": "tiermesh-max", "input": "Hi"},
    MESSAGES: {"model": "tiermesh-max", "max_tokens": 9, "messages": [HELLO]},
    COMPLETIONS: {"model": "tiermesh-max", "prompt": "Hi"},
    COUNT: {"model": "tiermesh-max", "input": "Hi"},
    TOKENIZE: {"model": "tiermesh-max", "messages": [HELLO]},
    MESSAGES_COUNT: {"model": "tiermesh-max", "messages": [HELLO]},
}
CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "output": "done"}
CALLED: dict[str, Any] = {
    "role": "assistant",
    "tool_calls": [{"id": "call_1", "function": {"name": "f", "arguments": "{}"}}],
}
RESULT = {"role": "tool", "content": "done", "tool_call_id": "call_1"}
DEEP: dict[str, Any] = {}
for _ in range(200):
    DEEP = {"items": DEEP}
LARGE = {"const": "x" * 70_000}
USED = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
FLAT: dict[str, Any] = {"name": "f", "input_schema": {"type": "object"}}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}


class Case(NamedTuple):
    """A wrong request, the field at fault, and what is said of it."""

    path: str
    fields: dict[str, Any]
    param: str
    words: str


def chat(words: str, param: str, **fields: Any) -> list[Case]:
    return [Case(CHAT, fields, param, words)]


def responses(words: str, param: str, **fields: Any) -> list[Case]:
    return [Case(path, fields, param, words) for path in (RESPONSES, COUNT)]


def messages(words: str, param: str, **fields: Any) -> list[Case]:
    # Of an answer alone; a count may end with a turn of the assistant.
    answered = {"max_tokens", "temperature", "top_k", "stop_sequences", "thread", "messages[0]"}
    paths = (MESSAGES,) if param in answered else (MESSAGES, MESSAGES_COUNT)
    return [Case(path, fields, param, words) for path in paths]


def completions(words: str, param: str, **fields: Any) -> list[Case]:
    return [Case(COMPLETIONS, fields, param, words)]


def tokenize(words: str, param: str, **fields: Any) -> list[Case]:
    return [Case(TOKENIZE, fields, param, words)]


def everywhere(words: str, param: str, **fields: Any) -> list[Case]:
    # These are of a prompt alone.
    paths = (path for path in BODIES if path not in {TOKENIZE, MESSAGES_COUNT} or param == "model")
    return [Case(path, fields, param, words) for path in paths]


def blocks(*content: Any, role: str = "user") -> dict[str, Any]:
    """Returns messages of which one has these content blocks."""
    return {"messages": [HELLO, {"role": role, "content": list(content)}, HELLO]}


def sampling(words: str, param: str, **fields: Any) -> list[Case]:
    """Returns cases of what has no other meaning for one answer than for several."""
    paths = (CHAT, COMPLETIONS) if param in {"n", "stream_options"} else OPENAI
    return [Case(path, fields, param, words) for path in paths if param != "max_tokens" or path != RESPONSES]


def message(words: str, param: str, content: Any, model: str = "tiermesh-max") -> list[Case]:
    """Returns cases about the content of a message; `param` begins after `content`."""
    turn = {"role": "user", "content": content}
    parts = [_part(part) for part in content] if isinstance(content, list) else content
    item = {"role": "user", "content": parts}
    return [
        *chat(words, f"messages[1].content{param}", messages=[HELLO, turn], model=model),
        *responses(
            words, f"input[1].content{param.replace('.image_url.url', '.image_url')}", input=[HELLO, item], model=model
        ),
    ]


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] == "image_url":
        return {"type": "input_image", "image_url": part["image_url"]["url"]}
    return {**part, "type": "input_text"} if part["type"] == "text" else part


def turns(words: str, at: int, *messages: dict[str, Any]) -> list[Case]:
    """Returns cases about the id of a call, or of its result, in one of the messages."""
    items = [
        CALL
        if message is CALLED
        else OUTPUT | {"call_id": message["tool_call_id"]}
        if message["role"] == "tool"
        else message
        for message in messages
    ]
    member = ".tool_calls[0].id" if messages[at] is CALLED else ".tool_call_id"
    return [
        *chat(words, f"messages[{at}]{member}", messages=messages),
        *responses(words, f"input[{at}].call_id", input=items),
    ]


def tools(words: str, param: str, *given: dict[str, Any], choice: Any = "auto") -> list[Case]:
    """Returns cases about functions; `param` is that of a chat."""
    offered = [{"type": "function", "function": function} for function in given]
    flat = [{"type": "function", **function} for function in given]
    named = {"type": "function", "function": choice} if isinstance(choice, dict) else choice
    here = {"type": "function", **choice} if isinstance(choice, dict) else choice
    return [
        *chat(words, param, tools=offered, tool_choice=named),
        *responses(words, param.replace(".function", ""), tools=flat, tool_choice=here),
    ]


def custom(**grammar: Any) -> dict[str, Any]:
    """Returns a custom tool of a chat."""
    wanted = {"format": {"type": "grammar", "grammar": grammar}} if grammar else {}
    return {"type": "custom", "custom": {"name": "c", **wanted}}


def grammar(words: str, definition: str, syntax: str = "lark", *, field: str = "definition") -> list[Case]:
    """Returns cases about the grammar of a custom tool."""
    given = {"definition": definition, "syntax": syntax}
    flat = {"type": "custom", "name": "c", "format": {"type": "grammar", **given}}
    return [
        *chat(words, f"tools[0].custom.format.grammar.{field}", tools=[custom(**given)]),
        *responses(words, f"tools[0].format.{field}", tools=[flat]),
    ]


def schema(words: str, schema: Any, field: str = ".schema") -> list[Case]:
    """Returns cases about the schema of the answer."""
    wanted = {"name": "x", "schema": schema}
    place = "response_format.json_schema"
    return [
        *chat(words, place + field, response_format={"type": "json_schema", "json_schema": wanted}),
        *responses(words, f"text.format{field}", text={"format": {"type": "json_schema", **wanted}}),
    ]


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def data_url(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


TEXT, GOOD_IMAGE = {"type": "text", "text": "Look"}, image(data_url(plain_image()))


def shown(data: str, media_type: str = "image/png") -> dict[str, Any]:
    """Returns an image as one of Anthropic's content blocks."""
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


SHOWN = shown(base64.b64encode(plain_image()).decode())
HUGE_IMAGE = plain_image()[:16] + (10_000).to_bytes(4, "big") * 2 + plain_image()[24:]
URL = "[1].image_url.url"
EFFORTS = "must be 'high', 'low', 'max', 'medium', 'minimal', 'none' or 'xhigh'"
TOKENS = "must be a whole number from 1 to 1,000,000,000"
BIG = {"type": "object", "properties": {"a": {"const": "x" * 60_000}}}

RULES: list[list[Case]] = [
    # Types and ranges.
    everywhere("is required; add it", "model", model=...),
    everywhere("must be a string; a whole number was sent", "model", model=5),
    sampling("must be a number from 0 to 2", "temperature", temperature=2.5),
    sampling("must be a number from 0 to 2; a string was sent", "temperature", temperature="hot"),
    everywhere("must be a number from 0 to 1", "top_p", top_p=-1),
    everywhere("must be true or false; a string was sent", "stream", stream="yes"),
    chat("this service runs no tools of its own; leave it out", "web_search_options", web_search_options={}),
    sampling("must be a number from -2 to 2", "presence_penalty", presence_penalty=3),
    sampling("must be a number from -2 to 2", "frequency_penalty", frequency_penalty=-3),
    sampling("must be a whole number from -1 to 1,000,000", "top_k", top_k=-2),
    sampling("must be a whole number from -1 to 1,000,000; a number with decimals was sent", "top_k", top_k=1.5),
    sampling("must be a number from 0 to 1", "min_p", min_p=1.5),
    sampling("must be a number above 0 and up to 2", "repetition_penalty", repetition_penalty=0),
    sampling("must be a number above 0 and up to 2; a string was sent", "repetition_penalty", repetition_penalty="a"),
    sampling("must be a whole number from -9,223,372", "seed", seed=1.5),
    sampling("must be a whole number of at least 1", "n", n=0),
    sampling("must be at most 8; 9 was sent", "n", n=9),
    sampling("a list of at most 4 items", "stop", stop=list("abcde")),
    sampling("strings of 1 to 256 characters only", "stop", stop=["a", ""]),
    sampling("strings of 1 to 256 characters only", "stop", stop="a" * 257),
    sampling("each value is a number from -100 to 100", "logit_bias", logit_bias={"5": 101}),
    sampling("whole numbers from 0 on", "logit_bias", logit_bias={"five": 1}),
    sampling("at most 1024 tokens; it names 1025", "logit_bias", logit_bias={str(at): 1 for at in range(1025)}),
    sampling("needs 'stream' to be true", "stream_options", stream_options={"include_usage": True}),
    chat(TOKENS, "max_tokens", max_tokens=0)
    + messages(TOKENS, "max_tokens", max_tokens=0)
    + chat(TOKENS, "max_completion_tokens", max_completion_tokens=0)
    + responses(TOKENS, "max_output_tokens", max_output_tokens=0),
    chat("must be a whole number from 0 to 20", "top_logprobs", top_logprobs=21, logprobs=True)
    + responses("must be a whole number from 0 to 20", "top_logprobs", top_logprobs=21),
    chat("needs 'logprobs' to be true", "top_logprobs", top_logprobs=2),
    completions("must be a whole number from 0 to 5", "logprobs", logprobs=6),
    chat(EFFORTS, "reasoning_effort", reasoning_effort="a")
    + responses(EFFORTS, "reasoning.effort", reasoning={"effort": "a"}),
    chat("each name is a string of at most 64 characters", "metadata", metadata={"a" * 65: "b"})
    + responses("each name is a string of at most 64 characters", "metadata", metadata={"a" * 65: "b"}),
    chat("must be ['text'] here", "modalities", modalities=["audio"]),
    chat("must be 'audio' or 'text'", "modalities[0]", modalities=["smell"]),
    chat("OpenAI replaced it by 'tools'", "functions", functions=[{"name": "f"}]),
    chat("OpenAI replaced it by 'tool_choice'", "function_call", function_call={"name": "f"}),
    responses("must be 'code_interpreter_call.outputs', ", "include[0]", include=["everything"]),
    # Messages.
    chat("is required; add it", "messages", messages=...)
    + responses("is required; add it", "input", input=...)
    + completions("is required; add it", "prompt", prompt=...),
    chat("must be a list of 1 to 10,000 items", "messages", messages=[]),
    chat("must be a list of 1 to 10,000 items", "messages", messages=[HELLO] * 10_001),
    responses("a list of 1 to 10,000 items", "input", input=[HELLO] * 10_001),
    chat("must be 'assistant', 'developer', 'system', 'tool' or 'user'", "messages[0].role", messages=[{"role": "x"}]),
    responses("must be 'assistant', 'developer', 'system' or 'user'", "input[0].role", input=[{"role": "x"}]),
    chat("is required; add it", "messages[0].role", messages=[{"content": "Hi"}])
    + responses("is required; add it", "input[0].role", input=[{"type": "message", "content": "Hi"}]),
    message("is required for the role 'user'; add it", "", None),
    message("must be a string of at most 10,000,000 characters", "", 5),
    chat("must be 'text', 'image_url' or 'refusal'", "messages[0].content[0].type",
          messages=[{"role": "user", "content": [{"type": "video"}]}]),
    message("is required; add it", "[0].text", [{"type": "text"}]),
    message("is of the type 'refusal', which is only for", "[1]", [TEXT, {"type": "refusal", "refusal": "no"}]),
    chat("is required for the role 'tool'", "messages[0].tool_call_id", messages=[{"role": "tool", "content": "Hi"}]),
    chat("is only for the role 'assistant'", "messages[0].tool_calls",
          messages=[{**HELLO, "tool_calls": [{"id": "call_1", "function": {"name": "f", "arguments": "{}"}}]}]),
    turns("is not the id of a call in the turn before it", 1, HELLO, RESULT),
    turns("is not the id of a call in the turn before it", 2, HELLO, CALLED, {**RESULT, "tool_call_id": "call_2"}),
    turns("is a call without a result; send its result before the next turn", 1, HELLO, CALLED),
    turns("is a call without a result; send its result before the next turn", 0, CALLED, HELLO),
    turns("is of a call that has a result already", 3, HELLO, CALLED, RESULT, RESULT),
    chat("is the id of an earlier call in this turn", "messages[0].tool_calls[1].id",
          messages=[{**CALLED, "tool_calls": CALLED["tool_calls"] * 2}, RESULT])
    + responses("is the id of an earlier call in this turn", "input[1].call_id", input=[CALL, CALL]),
    chat("OpenAI replaced it by 'tool_calls'; send that", "messages[0].function_call",
          messages=[{"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}]),
    chat("no audio is kept; send what was said as 'content'", "messages[0].audio",
          messages=[{"role": "assistant", "audio": {"id": "audio_1"}}]),
    chat("is only for the role 'assistant'", "messages[0].reasoning_content",
          messages=[{**HELLO, "reasoning_content": "Hm."}]),
    # Images.
    message("is an image, and tiermesh-pro cannot see images", "[1]", [TEXT, GOOD_IMAGE], "tiermesh-pro"),
    message("is one image too many: at most 64 are allowed", "[64].image_url.url", [GOOD_IMAGE] * 65),
    message("must begin with data:image/png;base64,", URL, [TEXT, image("data:text/plain,a")]),
    message("is not valid base64", URL, [TEXT, image("data:image/png;base64,A")]),
    message("is not an image in a supported format", URL, [TEXT, image("data:image/png;base64,AAAA")]),
    message("has 10000 x 10000 pixels", URL, [TEXT, image(data_url(HUGE_IMAGE))]),
    message("is larger than the limit of 10,485,760 bytes", URL, [TEXT, image(data_url(bytes(11_000_000)))]),
    message("must begin with https://", URL, [TEXT, image("file:///etc/passwd")]),
    # Functions.
    tools("at most 128 items", "tools", *({"name": f"f{at}"} for at in range(129))),
    tools("must be a string that matches ^[A-Za-z0-9_.-]{1,64}$", "tools[0].function.name", {"name": "a b"}),
    tools("is required; add it", "tools[0].function.name", {"description": "nameless"}),
    tools("is the name of an earlier tool", "tools[1].function.name", {"name": "f"}, {"name": "f"}),
    chat("must be 'custom' or 'function'", "tools[0].type", tools=[{"type": "web_search", "function": {"name": "f"}}]),
    chat("is required for the type 'custom'", "tools[0].custom", tools=[{"type": "custom", "function": {"name": "f"}}]),
    chat("is required for the type 'function'", "tools[0].function", tools=[{"type": "function"}]),
    chat("is not for the type 'custom'", "tools[0].function",
          tools=[{"type": "custom", "custom": {"name": "f"}, "function": {"name": "f"}}]),
    chat("is required for the type 'custom'", "messages[0].tool_calls[0].custom",
          messages=[{"role": "assistant", "tool_calls": [{**CALLED["tool_calls"][0], "type": "custom"}]}, RESULT]),
    chat("is required for the type 'custom'", "tool_choice.custom", tools=[custom()], tool_choice={"type": "custom"}),
    chat("must name a tool that is in 'tools'", "tool_choice", tools=[custom()],
          tool_choice={"type": "custom", "custom": {"name": "d"}}),
    chat("is required for the type 'grammar'", "tools[0].custom.format.grammar",
          tools=[{"type": "custom", "custom": {"name": "c", "format": {"type": "grammar"}}}]),
    grammar("cannot be enforced: it has no rule 'start'", "x: /a/"),
    grammar("cannot be enforced: its rules refer to themselves", 'start: "(" start ")" | "\\n"'),
    grammar("cannot be enforced: a pattern has a look-around", "a(?=b)", "regex"),
    chat("at most 32768 characters of grammars", "tools", tools=[custom(definition="a" * 40_000, syntax="regex")])
    + responses("at most 32768 characters of grammars", "tools", tools=[
        {"type": "custom", "name": "c", "format": {"type": "grammar", "definition": "a" * 40_000, "syntax": "regex"}}]),
    grammar("must be 'lark' or 'regex'", "start: /a/", "ebnf", field="syntax"),
    responses("must be 'function', 'custom' or 'namespace' for a tool with 'parameters'", "tools[0].type",
               tools=[{"type": "functoin", "name": "f", "parameters": {}}]),
    responses("must be 'function' or 'custom' within a namespace", "tools[0].tools[0].type",
               tools=[{"type": "namespace", "name": "n", "tools": [{"type": "web_search"}]}]),
    responses("at most 128 functions, those of namespaces included", "tools", tools=[
        {"type": "namespace", "name": name, "tools": [{"type": "function", "name": f"f{at}"} for at in range(65)]}
        for name in ("a", "b")
    ]),
    responses("cannot be enforced: the keyword 'not' at #", "tools[0].tools[0].parameters", tools=[
        {"type": "namespace", "name": "n", "tools": [
            {"type": "function", "name": "f", "parameters": {"not": {}}, "strict": True}]}]),
    responses("must not force a tool of the type 'web_search_preview'", "tool_choice", tools=[{"type": "web_search"}],
               tool_choice={"type": "web_search_preview"}),
    responses("must not force a tool of the type 'web_search'", "tool_choice", tools=[{"type": "web_search"}],
               tool_choice="required"),
    responses("must name a tool that is in 'tools'", "tool_choice", tools=[{"type": "function", "name": "f"}],
               tool_choice={"type": "custom", "name": "g"}),
    responses("must be 'message', 'function_call', 'custom_tool_call'", "input[0].type",
               input=[{"type": "compaction_trigger"}]),
    responses("is required; add it", "input[0].input", input=[{**CALL, "type": "custom_tool_call"}]),
    tools("must be an object; a list was sent", "tools[0].function.parameters", {"name": "f", "parameters": []}),
    tools("cannot be used: it is nested more than 100 levels", "tools[1].function.parameters",
           {"name": "f"}, {"name": "g", "parameters": DEEP}),
    tools("cannot be used: it is too large", "tools[0].function.parameters", {"name": "f", "parameters": LARGE}),
    tools("cannot be enforced: the keyword 'not' at #", "tools[0].function.parameters",
           {"name": "f", "parameters": {"not": {}}, "strict": True}),
    tools("cannot be enforced: the keyword 'not' at #", "tools[0].function.parameters",
           {"name": "f", "parameters": {"not": {}}}, choice="required"),
    tools("cannot be enforced: it admits no object", "tools[0].function.parameters",
           {"name": "f", "parameters": {"type": "string"}}, choice={"name": "f"}),
    tools("cannot be enforced: the keyword 'not' at #", "tools[1].function.parameters",
           {"name": "f", "parameters": {"not": {}}}, {"name": "g", "parameters": {"not": {}}}, choice={"name": "g"}),
    tools("must have at most 131072 characters of schemas", "tools",
           *({"name": f"f{at}", "parameters": BIG} for at in range(3)), choice="required"),
    tools("must be 'auto', 'none' or 'required'", "tool_choice", {"name": "f"}, choice="any"),
    tools("must be 'none' or 'auto' without 'tools'", "tool_choice", choice="required"),
    tools("must name a tool that is in 'tools'", "tool_choice", {"name": "f"}, choice={"name": "g"}),
    # The shape of the answer.
    chat("must be 'json_object', 'json_schema' or 'text'", "response_format.type", response_format={"type": "xml"})
    + responses("must be 'json_object', 'json_schema' or 'text'", "text.format.type", text={"format": {"type": "xml"}}),
    schema("is required for the type 'json_schema'; add it", None),
    schema("must be an object; a list was sent", []),
    schema("cannot be enforced: the keyword 'not' at #/items is not supported; leave it out", {"items": {"not": {}}}),
    schema("cannot be enforced: the 'type' at # is not one of JSON Schema", {"type": "text"}),
    schema("cannot be enforced: it is too large", LARGE),
    schema("cannot be enforced: it is nested more than 100 levels deep", DEEP),
    chat("cannot be enforced: the keyword 'if' at #", "response_format.schema",
          response_format={"type": "json_schema", "schema": {"if": {}, "else": {"const": 1}}}),
    schema("cannot be enforced: the 'pattern' at #/items has a look-around", {"items": {"pattern": "^(?!a)b"}}),
    schema("cannot be enforced: the 'pattern' at #/items has two anchors in", {"items": {"pattern": "^(^a)$"}}),
    schema("cannot be enforced: the 'pattern' at # has two anchors in one place", {"pattern": r"^\Ax\z$"}),
    schema("cannot be enforced: the 'format' at # is not supported; use one of", {"type": "string", "format": "iri"}),
    schema("cannot be enforced: 'multipleOf' at # is next to a bound that only negative numbers keep",
           {"type": "integer", "maximum": -5, "multipleOf": 5}),
    schema("cannot be enforced: 'minProperties' at # is 2, but names that are not in", {"minProperties": 2}),
    schema("cannot be enforced: 'minimum' at # is 1e+30; at most", {"type": "number", "minimum": 1e30}),
    # What only the Responses API has.
    responses("keeps nothing of a request", "previous_response_id", previous_response_id="resp_1"),
    responses("keeps nothing of a request", "conversation", conversation="conv_1"),
    responses("keeps nothing of a request", "prompt", prompt={"id": "pmpt_1"}),
    responses("keeps nothing of a request", "background", background=True),
    responses("keeps nothing of a request", "input[0]", input=[{"type": "item_reference", "id": "msg_1"}]),
    responses("holds no message; add one", "input", input=[{"type": "web_search_call", "id": "ws_1"}]),
    responses("holds no message; add one", "input", input=[{"type": "reasoning", "id": "rs_1"}]),
    responses("is required; add it", "input[0].name", input=[{**CALL, "name": None}]),
    responses("is required; add it", "input[0].output", input=[{"type": "function_call_output", "call_id": "a"}]),
    responses("is a file, and files are not supported", "input[0].content[0]",
               input=[{"role": "user", "content": [{"type": "input_file"}]}]),
    responses("is required for an 'input_image'", "input[0].content[0].image_url",
               input=[{"role": "user", "content": [{"type": "input_image", "file_id": "file_1"}]}]),
    responses("must allow only tools that are in 'tools'", "tool_choice", tools=[{"type": "function", "name": "f"}],
               tool_choice={"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "g"}]})
    + chat("must allow only tools that are in 'tools'", "tool_choice",
            tools=[{"type": "function", "function": {"name": "f"}}],
            tool_choice={"type": "allowed_tools", "allowed_tools": {
                "mode": "auto", "tools": [{"type": "function", "function": {"name": "g"}}]}}),
    chat("must be a list of 1 to 128 items", "tool_choice.allowed_tools.tools",
          tools=[{"type": "function", "function": {"name": "f"}}],
          tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}),
    responses("is required for the type 'json_schema'", "text.format.name",
               text={"format": {"type": "json_schema", "schema": {}}}),
    responses("must be 1", "n", n=2),
    # What only the Messages API has.
    messages("is required; add it", "max_tokens", max_tokens=...),
    messages("must be a number from 0 to 1", "temperature", temperature=1.5),
    messages("must be a whole number from 0 to 1,000,000", "top_k", top_k=-1),
    messages("send the whole conversation without it", "thread", thread={"type": "create"}),
    messages("must be a list of at most 64 items", "stop_sequences", stop_sequences=["a"] * 65),
    messages("strings of 1 to 256 characters only", "stop_sequences", stop_sequences=["a", ""]),
    messages("must be 'assistant', 'system' or 'user'", "messages[0].role", messages=[{"role": "tool", "content": ""}]),
    messages("is required; add it", "messages[0].content", messages=[{"role": "user"}]),
    messages("must be 'text', ", "messages[1].content[0].type", **blocks({"type": "document"})),
    messages("must not be empty for the role 'user'", "messages[1].content", **blocks()),
    messages("does not belong to the role 'user'", "messages[1].content[0]", **blocks({"type": "redacted_thinking"})),
    messages("is a turn of the assistant, and none is continued", "messages[0]",
              messages=[{"role": "assistant", "content": "Hi"}]),
    messages("is a call without a result; send its result", "messages[1].content[0].id",
              **blocks(USED, role="assistant")),
    messages("is not the id of a call in the turn before it", "messages[1].content[0].tool_use_id",
              **blocks({"type": "tool_result", "tool_use_id": "toolu_1"})),
    messages("names a file, and this service keeps none", "messages[1].content[0].source",
              **blocks({"type": "image", "source": {"type": "file", "file_id": "file_1"}})),
    messages("is an image, and tiermesh-pro cannot see images", "messages[1].content[0]", **blocks(SHOWN),
              model="tiermesh-pro"),
    messages("is one image too many: at most 64 are allowed", "messages[1].content[64].source",
              **blocks(*[SHOWN] * 65)),
    messages("is not valid base64", "messages[1].content[0].source", **blocks(shown("A"))),
    messages("must be 'image/gif', 'image/jpeg', ", "messages[1].content[0].source.media_type",
              **blocks(shown("AAAA", "image/tiff"))),
    messages("must be 'text', 'image' or 'tool_reference'", "messages[1].content[0].content[0].type",
              **blocks({"type": "tool_result", "tool_use_id": "a", "content": [{"type": "tool_use"}]})),
    messages("must be 'adaptive', 'between_tools', 'disabled' or 'enabled'", "thinking.type", thinking={"type": "on"}),
    messages("is required; add it", "tools[1].input_schema", tools=[FLAT, {"name": "g"}]),
    messages("is required; add it", "tools[1].name", tools=[FLAT, {"input_schema": {}}]),
    messages("must be a string that matches ^[A-Za-z0-9_.-]{1,128}$", "tools[0].name", tools=[{**FLAT, "name": "a b"}]),
    messages("must not end with a line break", "tools[0].name", tools=[{**FLAT, "name": "f\n"}]),
    messages("is that of OpenAI's tools", "tools[1].type", tools=[FLAT, {"type": "function", "function": FLAT}]),
    messages("must be a list of at most 512 items", "tools",
              tools=[{**FLAT, "name": f"f{at}"} for at in range(513)]),
    messages("is the name of an earlier tool", "tools[2].name", tools=[FLAT, SEARCH, FLAT]),
    messages("cannot be enforced: the keyword 'not' at #", "tools[1].input_schema",
              tools=[SEARCH, {**FLAT, "input_schema": {"not": {}}}], tool_choice={"type": "any"}),
    messages("must be 'any', 'auto', 'none' or 'tool'", "tool_choice.type", tool_choice={"type": "required"}),
    messages("is required; add it", "tool_choice.name", tools=[FLAT], tool_choice={"type": "tool"}),
    messages("must be 'none' or 'auto' without 'tools'", "tool_choice", tool_choice={"type": "any"}),
    messages("must name a tool that is in 'tools'", "tool_choice", tools=[FLAT],
              tool_choice={"type": "tool", "name": "g"}),
    messages("must name a tool that you run", "tool_choice", tools=[FLAT, SEARCH],
              tool_choice={"type": "tool", "name": "web_search"}),
    messages("must be 'auto' or 'none' for these 'tools'", "tool_choice", tools=[SEARCH], tool_choice={"type": "any"}),
    messages("cannot be enforced: it is too large", "output_config.format.schema",
              output_config={"format": {"type": "json_schema", "schema": LARGE}}),
    # What only legacy completions have.
    completions("must not hold anything empty", "prompt", prompt=""),
    completions("must hold texts only, token ids only", "prompt", prompt=["a", 1]),
    completions("a whole number from 0 to 4,294,967,295", "prompt[0]", prompt=[-1]),
    completions("asks for 10 choices; at most 8", "prompt", prompt=["a"] * 10),
    completions("must equal 'n'", "best_of", best_of=2),
    completions("do not fill it in", "suffix", suffix="b"),
    completions("cannot be used with 'echo' and 'logprobs'", "stream", echo=True, logprobs=1, stream=True),
    completions("has 5,000 tokens; with 'echo' and 'logprobs'", "prompt", echo=True, logprobs=1, prompt=[1] * 5000),
    completions("at least 1; 0 is only for 'echo' with 'logprobs'", "max_tokens", max_tokens=0),
    completions("at least 1; 0 is only for 'echo' with 'logprobs'", "max_tokens", max_tokens=0, echo=True),
    completions("must be a whole number from 0 to 1,000,000,000", "max_tokens", max_tokens=-1),
    completions("needs a 'prompt' that is text", "echo", echo=True, prompt=[1]),
    # What only lists of tokens have.
    tokenize("is required without 'messages'; send one of them", "prompt", messages=...),
    tokenize("cannot be used with 'prompt'; leave one of them out", "messages", prompt="Hi"),
    tokenize("must be a string of at most 10,000,000 characters; a list was sent", "prompt", prompt=["Hi"]),
    tokenize("must be a list of 1 to 10,000 items", "messages", messages=[]),
    tokenize("must be true or false; a string was sent", "return_token_strs", return_token_strs="yes"),
    tokenize("must be true: tokens are those of the prompt that is answered", "add_generation_prompt",
             add_generation_prompt=False),
    tokenize("must be false: tokens are those of the prompt that is answered", "continue_final_message",
             continue_final_message=True),
    tokenize("is not supported: every model has one chat template", "chat_template", chat_template="{{ messages }}"),
    tokenize("is not supported: every model has one chat template", "chat_template_kwargs",
             chat_template_kwargs={"enable_thinking": True}),
    tokenize("is an image, which has no tokens to list", "messages[0].content[1]",
             messages=[{"role": "user", "content": [TEXT, GOOD_IMAGE]}]),
    tokenize("is required for the role 'user'; add it", "messages[0].content", messages=[{"role": "user"}]),
    tokenize("must be a list of at most 128 items", "tools",
             tools=[{"type": "function", "function": {"name": f"f{at}"}} for at in range(129)]),
]  # fmt: skip


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A mesh without a runner for the models of the requests, and a key without a limit."""
    with LocalMesh(tmp_path_factory.mktemp("refusals"), tiers=("speech",), environ=PAYMENTS) as mesh:
        headers = {"Authorization": f"Bearer {FundedAccount(mesh).new_key()['api_key']}"}
        with httpx2.Client(base_url=mesh.base_url, headers=headers, timeout=30) as client:
            yield client


def post(
    http: httpx2.Client, path: str, fields: dict[str, Any], headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any], str]:
    """Returns the status, the error and the id of a request with these fields, but those that are an ellipsis."""
    body = {name: value for name, value in {**BODIES[path], **fields}.items() if value is not ...}
    response = http.post(path, json=body, headers=headers)
    error = response.json()["error"]
    if path.startswith(MESSAGES):
        # Anthropic's errors name the field in their message alone.
        named = re.match(r"(?:The image at )?'([^']+)'", error["message"])
        error = {**error, "code": ANTHROPIC[error["type"]], "param": named and named[1]}
    return response.status_code, error, response.headers["x-request-id"]


@pytest.mark.parametrize("path", BODIES)
def test_what_is_right_needs_a_runner(http: httpx2.Client, path: str) -> None:
    status, error, _ = post(http, path, {})
    assert (status, error["code"]) == (529 if path.startswith(MESSAGES) else 503, "service_unavailable")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule[0].param}-{rule[0].words[:40]}")
def test_a_refusal_is_one_sentence_about_the_field_and_costs_nothing(http: httpx2.Client, rule: list[Case]) -> None:
    said: set[str] = set()
    for case in rule:
        status, error, request_id = post(http, case.path, case.fields)
        message = error["message"]
        assert (status, error["code"], error["param"]) == (400, "invalid_request", case.param), message
        assert f"'{case.param}'" in message
        assert case.words in message
        assert message.endswith(".")
        assert message.startswith(("'", "The image at '"))
        # Only what was held has a receipt.
        assert http.get(f"/requests/{request_id}").status_code == 404
        if not said and case.path in PAID:
            assert post(http, case.path, case.fields, KEYLESS)[:2] == (status, error)
        said.add(message.replace(f"'{case.param}'", "the field").replace("'text.format'", "'response_format'"))
    assert len(said) == 1


NO_PAYMENT = "is not a payment of x402 version 1 or 2 with the scheme 'exact'. Send what an x402 client makes"
REMOTE = [HELLO, {"role": "user", "content": [TEXT, image("https://example.com/a.png")]}]


@pytest.mark.parametrize("path", PAID)
@pytest.mark.parametrize("header", ["PAYMENT-SIGNATURE", "X-PAYMENT"])
@pytest.mark.parametrize("key", [{}, KEYLESS])
def test_what_is_no_payment_is_refused_by_its_header(
    http: httpx2.Client, path: str, header: str, key: dict[str, str]
) -> None:
    status, error, _ = post(http, path, {}, {**key, header: "e30="})
    assert (status, error["message"].startswith(f"The header {header} {NO_PAYMENT}")) == (400, True)
    assert path == MESSAGES or error["param"] == header


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (CHAT, {"messages": REMOTE}, "messages[1].content[1].image_url.url"),
        (RESPONSES, {"input": [{"role": "user", "content": [
            {"type": "input_image", "image_url": "https://example.com/a.png"}]}]}, "input[0].content[0].image_url"),
        (MESSAGES, blocks({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}),
            "messages[1].content[0].source"),
    ],
)  # fmt: skip
def test_nothing_is_fetched_for_who_has_not_paid(
    http: httpx2.Client, path: str, fields: dict[str, Any], param: str
) -> None:
    status, error, _ = post(http, path, fields, KEYLESS)
    assert (status, error["param"]) == (400, param)
    words = "is a URL, which only requests with an API key may have. Send it as a data: URL."
    assert error["message"] == f"The image at '{param}' {words}"


@pytest.mark.parametrize("path", [COUNT, TOKENIZE, MESSAGES_COUNT])
def test_what_costs_nothing_needs_a_key(http: httpx2.Client, path: str) -> None:
    assert http.post(path, json=BODIES[path], headers=KEYLESS).status_code == 401


def test_the_credits_are_all_there(http: httpx2.Client) -> None:
    balance = http.get("/balance").json()
    assert (balance["credits"], balance["held"]) == (1000, 0)

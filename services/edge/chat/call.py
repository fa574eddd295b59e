"""Translates a validated chat body into the call that runners understand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import msgspec

from services.common.catalog import Model
from services.edge.chat.custom_tools import PARAMETERS_JSON, arguments_of, description_of
from services.edge.chat.request import (
    ChatBody,
    CustomTool,
    Function,
    FunctionCall,
    ImagePart,
    Message,
    RefusalPart,
    ResponseFormat,
    TextPart,
    ToolCall,
)
from tiermesh.runner.v1 import runner_pb2

_MODES = {
    "none": runner_pb2.ToolChoice.MODE_NONE,
    "auto": runner_pb2.ToolChoice.MODE_AUTO,
    "required": runner_pb2.ToolChoice.MODE_REQUIRED,
}


def generate_call(
    body: ChatBody, model: Model, request_id: str, *, images: Iterable[bytes] = ()
) -> runner_pb2.GenerateCall:
    """Returns the call for all choices; `images` are those of all messages, in order."""
    remaining = iter(images)
    call = runner_pb2.GenerateCall(
        request_id=request_id,
        model=model.id,
        messages=[_message(message, remaining) for message in body.messages],
        sampling=_sampling(body),
        max_tokens=body.max_completion_tokens or body.max_tokens or 0,
        stop=body.stop_strings,
        logprobs=bool(body.logprobs),
        top_logprobs=body.top_logprobs or 0,
        whole=not body.stream,
        reasoning_effort=body.reasoning_effort or "",
    )
    if body.response_format is not None and body.response_format.type != "text":
        call.response_format.CopyFrom(_response_format(body.response_format))
    if body.tools:
        _add_tools(call, body)
    return call


def _sampling(body: ChatBody) -> runner_pb2.Sampling:
    return runner_pb2.Sampling(
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        presence_penalty=body.presence_penalty or 0.0,
        frequency_penalty=body.frequency_penalty or 0.0,
        top_k=max(body.top_k or 0, 0),
        min_p=body.min_p or 0.0,
        repetition_penalty=body.repetition_penalty or 1.0,
        seed=body.seed,
        logit_bias={int(token): bias for token, bias in body.logit_bias.items()} if body.logit_bias else None,
    )


def _message(message: Message, images: Iterator[bytes]) -> runner_pb2.Message:
    parts = _parts(message, images)
    return runner_pb2.Message(
        # OpenAI renamed the system role for newer models; templates know the old name.
        role="system" if message.role == "developer" else message.role,
        content="" if parts else _text(message),
        # For protobuf nothing is quicker to take than an empty list.
        parts=parts or None,
        tool_calls=[_call(call) for call in message.tool_calls] if message.tool_calls else None,
        tool_call_id=message.tool_call_id or "",
        name=message.name or "",
        reasoning_content=message.reasoning_content or "",
    )


def _call(call: ToolCall) -> runner_pb2.ToolCall:
    if call.custom is not None:
        return runner_pb2.ToolCall(id=call.id, name=call.custom.name, arguments=arguments_of(call.custom.input))
    # The checks have seen to it that there is one of the two.
    function = cast("FunctionCall", call.function)
    return runner_pb2.ToolCall(id=call.id, name=function.name, arguments=function.arguments)


def _parts(message: Message, images: Iterator[bytes]) -> list[runner_pb2.ContentPart]:
    """Returns the content of a message with images, and nothing for any other."""
    content = message.content
    if not isinstance(content, list) or not any(isinstance(part, ImagePart) for part in content):
        return []
    return [
        runner_pb2.ContentPart(image=next(images))
        if isinstance(part, ImagePart)
        else runner_pb2.ContentPart(text=_part_text(part))
        for part in content
    ]


def _text(message: Message) -> str:
    if isinstance(message.content, str):
        return message.content
    parts = message.content or ([RefusalPart(message.refusal)] if message.refusal else ())
    return "".join(_part_text(part) for part in parts)


def _part_text(part: TextPart | ImagePart | RefusalPart) -> str:
    if isinstance(part, TextPart):
        return part.text
    return part.refusal if isinstance(part, RefusalPart) else ""


def _response_format(wanted: ResponseFormat) -> runner_pb2.ResponseFormat:
    if wanted.type == "json_object":
        return runner_pb2.ResponseFormat(json_object=True)
    schema = wanted.schema if wanted.json_schema is None else wanted.json_schema.schema
    description = None if wanted.json_schema is None else wanted.json_schema.description
    return runner_pb2.ResponseFormat(json_schema=msgspec.json.encode(schema).decode(), description=description or "")


def _add_tools(call: runner_pb2.GenerateCall, body: ChatBody) -> None:
    for tool in body.offered_tools:
        call.tools.append(_custom_tool(tool.custom) if tool.custom else _function(cast("Function", tool.function)))
    if body.forced_function is not None:
        call.tool_choice.mode = runner_pb2.ToolChoice.MODE_NAMED
        call.tool_choice.name = body.forced_function
    else:
        call.tool_choice.mode = _MODES[body.tool_mode]
    call.tool_choice.single = body.parallel_tool_calls is False


def _function(function: Function) -> runner_pb2.Tool:
    parameters = function.parameters
    return runner_pb2.Tool(
        name=function.name,
        description=function.description or "",
        parameters_json="" if parameters is None else msgspec.json.encode(parameters).decode(),
        strict=bool(function.strict),
    )


def _custom_tool(tool: CustomTool) -> runner_pb2.Tool:
    shown = runner_pb2.Tool(name=tool.name, description=description_of(tool), parameters_json=PARAMETERS_JSON)
    grammar = tool.format.grammar if tool.format else None
    if grammar is not None and grammar.syntax == "lark":
        shown.input_lark = grammar.definition
    elif grammar is not None:
        shown.input_pattern = grammar.definition
    return shown

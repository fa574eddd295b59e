"""Translates a body of POST /v1/responses into that of a chat completion, so that both take the same path."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

import msgspec

from services.common.errors import MeshError
from services.edge.chat import request as chat
from services.edge.http.parsing import invalid
from services.edge.responses.request import (
    InputFile,
    InputImage,
    InputText,
    Item,
    OutputText,
    Part,
    Refusal,
    ResponsesBody,
    TextFormat,
    Tool,
    ToolChoice,
)

_ChatPart: TypeAlias = chat.TextPart | chat.ImagePart | chat.RefusalPart
_ChatToolChoice: TypeAlias = Literal["none", "auto", "required"] | chat.NamedTool

# What a field of a chat completion is called here.
_PARAMS = {
    "response_format": "text.format",
    "max_tokens": "max_output_tokens",
    "logprobs": "include",
    "reasoning_effort": "reasoning.effort",
}
_MESSAGE = re.compile(r"messages\b.*")
_NOTHING_KEPT = "is not supported: this service keeps nothing of a request."
_ITEM_TYPES = "'message', 'function_call', 'function_call_output' and 'reasoning'"


def chat_body(body: ResponsesBody) -> chat.ChatBody:
    """Returns the same request as a chat completion; raises MeshError INVALID_REQUEST with `param`."""
    _check_kept(body)
    tools, tool_choice = _tools(body)
    return chat.ChatBody(
        model=body.model,
        messages=_messages(body),
        stream=body.stream,
        temperature=body.temperature,
        top_p=body.top_p,
        max_completion_tokens=body.max_output_tokens,
        logprobs=body.logprobs,
        top_logprobs=body.top_logprobs if body.logprobs else None,
        response_format=_response_format(body.text.format) if body.text and body.text.format else None,
        tools=tools or None,
        tool_choice=tool_choice,
        parallel_tool_calls=body.parallel_tool_calls,
        reasoning_effort=body.reasoning.effort if body.reasoning else None,
    )


def translated(error: MeshError) -> MeshError:
    """Returns an error about a chat completion as one about the body that it was made from."""
    param = _MESSAGE.sub("input", _PARAMS.get(error.param, error.param))
    return MeshError(error.code, error.message, param=param, retry_after=error.retry_after)


def _check_kept(body: ResponsesBody) -> None:
    if body.previous_response_id is not None:
        raise invalid("previous_response_id", f"'previous_response_id' {_NOTHING_KEPT} Send the earlier items again.")
    if body.conversation is not None:
        raise invalid("conversation", f"'conversation' {_NOTHING_KEPT} Send the earlier items in 'input'.")
    if body.prompt is not None:
        raise invalid("prompt", f"'prompt' {_NOTHING_KEPT} Send the text in 'instructions' and 'input'.")
    if body.background:
        raise invalid("background", f"'background' {_NOTHING_KEPT} Wait for the answer, or stream it.")


def _messages(body: ResponsesBody) -> list[chat.Message]:
    messages = []
    if body.instructions:
        messages.append(chat.Message("developer", body.instructions))
    if isinstance(body.input, str):
        messages.append(chat.Message("user", body.input))
    else:
        following = [*body.input[1:], Item()]
        for at, (item, after) in enumerate(zip(body.input, following, strict=True)):
            if not _introduces(item, after):
                _add_item(messages, item, f"input[{at}]")
    if not messages:
        raise invalid("input", "'input' holds no message.")
    return messages


def _introduces(item: Item, after: Item) -> bool:
    """Whether an item refers to what the model said before it called a function.

    The Vercel AI SDK sends the calls of an agent's step as they are, but the words before them as a reference. The step
    can go on without these words, so they are left out; any other reference is refused.
    """
    return item.kind == "item_reference" and (item.id or "").startswith("msg_") and after.kind == "function_call"


def _add_item(messages: list[chat.Message], item: Item, place: str) -> None:
    kind = item.kind
    if kind == "message":
        messages.append(_message(item, place))
    elif kind == "function_call":
        _add_call(messages, item, place)
    elif kind == "function_call_output":
        messages.append(_call_output(item, place))
    elif kind == "item_reference":
        advice = "Send the item itself; the Vercel AI SDK does so with 'store: false'."
        message = f"A reference to an item {_NOTHING_KEPT} {advice}"
        raise invalid(place, message)
    elif kind != "reasoning":
        raise invalid(f"{place}.type", f"An item of this type is not supported; {_ITEM_TYPES} are.")
    # Earlier thoughts are left out: models are trained to see their answers without them.


def _message(item: Item, place: str) -> chat.Message:
    if item.role is None:
        raise invalid(f"{place}.role", f"Missing required parameter: '{place}.role'.")
    if item.content is None:
        raise invalid(f"{place}.content", f"Missing required parameter: '{place}.content'.")
    return chat.Message(item.role, _content(item.content, f"{place}.content"))


def _add_call(messages: list[chat.Message], item: Item, place: str) -> None:
    """Adds a call to the turn of the assistant in which it was made."""
    if item.call_id is None or item.name is None or item.arguments is None:
        raise invalid(place, "A 'function_call' needs 'call_id', 'name' and 'arguments'.")
    call = chat.ToolCall(item.call_id, chat.FunctionCall(item.name, item.arguments))
    turn = messages.pop() if messages and messages[-1].role == "assistant" else chat.Message("assistant")
    messages.append(msgspec.structs.replace(turn, tool_calls=[*(turn.tool_calls or ()), call]))


def _call_output(item: Item, place: str) -> chat.Message:
    if item.call_id is None or item.output is None:
        raise invalid(place, "A 'function_call_output' needs 'call_id' and 'output'.")
    return chat.Message("tool", _content(item.output, f"{place}.output"), tool_call_id=item.call_id)


def _content(content: str | list[Part], place: str) -> str | list[_ChatPart]:
    if isinstance(content, str):
        return content
    return [_part(part, f"{place}[{at}]") for at, part in enumerate(content)]


def _part(part: Part, place: str) -> _ChatPart:
    if isinstance(part, (InputText, OutputText)):
        return chat.TextPart(part.text)
    if isinstance(part, Refusal):
        return chat.RefusalPart(part.refusal)
    if isinstance(part, InputImage):
        if part.image_url is None:
            raise invalid(f"{place}.image_url", "An 'input_image' needs 'image_url': there are no files to name by id.")
        return chat.ImagePart(chat.ImageUrl(part.image_url))
    what = "Files are not supported" if isinstance(part, InputFile) else "A message holds no thoughts"
    raise invalid(place, f"{what}: send 'input_text' or 'input_image'.")


def _response_format(wanted: TextFormat) -> chat.ResponseFormat:
    if wanted.type != "json_schema":
        return chat.ResponseFormat(wanted.type)
    if wanted.schema is None or wanted.name is None:
        raise invalid("text.format", "A 'json_schema' format needs 'name' and 'schema'.")
    return chat.ResponseFormat("json_schema", chat.JsonSchema(wanted.schema, wanted.name, wanted.strict))


def _tools(body: ResponsesBody) -> tuple[list[chat.Tool], _ChatToolChoice | None]:
    """Returns the functions that may be called, and which of them must be."""
    tools = [_tool(tool, f"tools[{at}]") for at, tool in enumerate(body.tools or ())]
    choice = body.tool_choice
    if not isinstance(choice, ToolChoice):
        return tools, choice
    if choice.type == "function" and choice.name is not None:
        return tools, chat.NamedTool(chat.NamedFunction(choice.name))
    if choice.type != "allowed_tools" or choice.mode is None or not choice.tools:
        message = "'tool_choice' must be 'none', 'auto', 'required', a 'function' with its 'name', or 'allowed_tools'."
        raise invalid("tool_choice", message)
    allowed = {tool.name for tool in choice.tools}
    if not allowed <= {tool.function.name for tool in tools}:
        raise invalid("tool_choice", "'tool_choice' allows a function that is not in 'tools'.")
    return [tool for tool in tools if tool.function.name in allowed], choice.mode


def _tool(tool: Tool, place: str) -> chat.Tool:
    if tool.type != "function":
        message = "Only tools of type 'function' are supported: this service runs no tools of its own."
        raise invalid(f"{place}.type", message)
    if tool.name is None:
        raise invalid(f"{place}.name", f"Missing required parameter: '{place}.name'.")
    return chat.Tool(chat.Function(tool.name, tool.description, tool.parameters, tool.strict))

"""The body of POST /tokenize, as vLLM defines it. Unknown fields are tolerated, wrong types are not."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from services.common.limits.chats import MOST_MESSAGES, MOST_TOOLS
from services.edge.chat.request import ChatBody, ImagePart, Message, ResponseFormat, Text, Tool, ToolChoice
from services.edge.http.parsing import invalid


class TokenizeBody(Struct, frozen=True):
    """The whole body: either a text or a conversation. None and absent mean the same for every optional field."""

    model: str
    # A text, as a completion would continue it.
    prompt: Text | None = None
    # A conversation with what belongs to it, as a chat completion would answer it.
    messages: Annotated[list[Message], Meta(min_length=1, max_length=MOST_MESSAGES)] | None = None
    tools: Annotated[list[Tool], Meta(max_length=MOST_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    # Whether a text has the tokens before it that the model puts before every prompt; a conversation always has them.
    add_special_tokens: bool | None = None
    return_token_strs: bool | None = None
    # What would make another prompt of a conversation than the one that is answered.
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    chat_template: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None


tokenize_decoder = msgspec.json.Decoder(TokenizeBody)


def check_tokenize_body(body: TokenizeBody) -> None:
    """Checks what types cannot say; raises MeshError INVALID_REQUEST with `param`."""
    if body.prompt is None and body.messages is None:
        raise invalid("prompt", "'prompt' is required without 'messages'; send one of them.")
    if body.prompt is not None and body.messages is not None:
        raise invalid("messages", "'messages' cannot be used with 'prompt'; leave one of them out.")
    if body.add_generation_prompt is False:
        message = "'add_generation_prompt' must be true: tokens are those of the prompt that is answered; leave it out."
        raise invalid("add_generation_prompt", message)
    if body.continue_final_message:
        message = (
            "'continue_final_message' must be false: tokens are those of the prompt that is answered; leave it out."
        )
        raise invalid("continue_final_message", message)
    for name in ("chat_template", "chat_template_kwargs"):
        if getattr(body, name):
            raise invalid(name, f"'{name}' is not supported: every model has one chat template; leave it out.")
    for at, turn in enumerate(body.messages or ()):
        for position, part in enumerate(turn.content if isinstance(turn.content, list) else ()):
            if isinstance(part, ImagePart):
                param = f"messages[{at}].content[{position}]"
                raise invalid(
                    param,
                    f"'{param}' is an image, which has no tokens to list; count with POST /v1/responses/input_tokens.",
                )


def chat_body(body: TokenizeBody, messages: list[Message]) -> ChatBody:
    """Returns the chat whose prompt is wanted."""
    return ChatBody(
        model=body.model,
        messages=messages,
        tools=body.tools,
        tool_choice=body.tool_choice,
        response_format=body.response_format,
        reasoning_effort=body.reasoning_effort,
    )

"""The routes of the Messages API."""

from __future__ import annotations

from collections.abc import Sequence

from services.edge.dependencies import Dependencies
from services.edge.messages.endpoint import Messages
from services.edge.messages.errors import ANTHROPIC_ERRORS
from services.edge.messages.message_object import AnthropicMessage, MessageUsage, OutputTokens, TextContent
from services.edge.messages.reading import ConversationReader
from services.edge.messages.request import MessagesBody, messages_decoder
from services.edge.messages.thoughts import ThoughtKey
from services.edge.messages.translation import translate
from services.edge.route import METHODS, TEXT, Operation, Parameter, Route, event_stream, json_answer, json_body

_ID = "msg_0123456789abcdef0123456789abcdef"
_EXAMPLE = AnthropicMessage(
    id=_ID,
    model="tiermesh-pro",
    content=[TextContent("Blue.")],
    stop_reason="end_turn",
    stop_sequence=None,
    usage=MessageUsage(
        input_tokens=11, cache_read_input_tokens=0, output_tokens=2, output_tokens_details=OutputTokens(0)
    ),
)
_EXAMPLE_STREAM = (
    'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta",'
    '"text":"Blue"}}\n\n'
)
_ANSWER = Operation(
    summary="Answer as Anthropic's Messages API does",
    tag="Text",
    description=(
        "The key may be in `x-api-key` as well. With `stream`, the events are Anthropic's, from `message_start` to "
        "`message_stop`."
    ),
    body=json_body(
        MessagesBody,
        {"model": "tiermesh-pro", "max_tokens": 50, "messages": [{"role": "user", "content": "Name a colour."}]},
    ),
    answer={**json_answer(_EXAMPLE), **event_stream(_EXAMPLE_STREAM)},
    parameters=(Parameter("anthropic-version", TEXT, "Accepted; every version gets the same.", "header"),),
    paid=True,
)


def routes(edge: Dependencies) -> Sequence[Route]:
    """Returns the route of POST /v1/messages, and those that say that there is nothing below it."""
    key = ThoughtKey(edge.settings.reasoning_signing_key)
    reader = ConversationReader(edge.path, edge.image_loader, key, messages_decoder, translate)
    messages = Messages(edge.path, reader)
    answer = Route(
        method="POST",
        path="/messages",
        name="messages",
        scope="chat",
        handler=messages.serve,
        operation=_ANSWER,
        errors=ANTHROPIC_ERRORS,
    )
    below = [
        Route(
            method=method,
            path="/messages/{tail:.+}",
            name="message",
            scope="chat",
            handler=messages.unknown,
            errors=ANTHROPIC_ERRORS,
        )
        for method in METHODS
    ]
    return [answer, *below]

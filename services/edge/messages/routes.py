"""The routes of the Messages API."""

from __future__ import annotations

from collections.abc import Sequence

from services.edge.dependencies import Dependencies
from services.edge.messages.endpoint import Messages
from services.edge.messages.errors import ANTHROPIC_ERRORS
from services.edge.messages.message_object import AnthropicMessage, MessageUsage, OutputTokens, TextContent
from services.edge.messages.reading import ConversationReader
from services.edge.messages.request import ConversationBody, MessagesBody, conversation_decoder, messages_decoder
from services.edge.messages.thoughts import ThoughtKey
from services.edge.messages.token_count import MessageTokens, MessageTokensCount
from services.edge.messages.translation import translate, translate_conversation
from services.edge.route import METHODS, TEXT, Operation, Parameter, Route, event_stream, json_answer, json_body
from services.edge.token_counts.counter import TokenCounter

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
_COUNT = Operation(
    summary="Count the tokens of a conversation as Anthropic's Messages API does",
    tag="Text",
    description="Not charged. The count is the input tokens of the message that the same body would get.",
    body=json_body(
        ConversationBody, {"model": "tiermesh-pro", "messages": [{"role": "user", "content": "Name a colour."}]}
    ),
    answer=json_answer(MessageTokensCount(11)),
    parameters=_ANSWER.parameters,
    may_be_missing=True,
)


def routes(edge: Dependencies) -> Sequence[Route]:
    """Returns the routes of messages and their counts, and those that say that there is nothing else below."""
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
    counted = ConversationReader(edge.path, edge.image_loader, key, conversation_decoder, translate_conversation)
    count = Route(
        method="POST",
        path="/messages/count_tokens",
        name="count_tokens",
        scope="chat",
        handler=MessageTokens(counted, TokenCounter(edge.mesh, edge.path)).serve,
        operation=_COUNT,
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
    return [answer, count, *below]

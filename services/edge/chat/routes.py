"""The route of chat completions."""

from __future__ import annotations

from collections.abc import Sequence

from services.edge.chat.completion import AssistantMessage, ChatChoice, ChatCompletion, ChatCompletionChunk
from services.edge.chat.endpoint import Chat
from services.edge.chat.request import ChatBody
from services.edge.dependencies import Dependencies
from services.edge.paid.delivery import AnswerTokens, PromptTokens, TokenUsage
from services.edge.route import Operation, Route, event_stream, json_answer, json_body

_ID = "chatcmpl-0123456789abcdef0123456789abcdef"
_EXAMPLE = ChatCompletion(
    id=_ID,
    object="chat.completion",
    created=1798761600,
    model="tiermesh-pro",
    choices=[ChatChoice(0, AssistantMessage("assistant", "Blue.", None, []), None, "stop")],
    usage=TokenUsage(11, 2, 13, PromptTokens(0), AnswerTokens(0)),
    service_tier=None,
    system_fingerprint="fp_0123456789",
)
_EXAMPLE_STREAM = (
    f'data: {{"id":"{_ID}","object":"chat.completion.chunk","created":1798761600,"model":"tiermesh-pro",'
    '"service_tier":null,"system_fingerprint":"fp_0123456789","choices":[{"index":0,"delta":{"content":"Blue"},'
    '"logprobs":null,"finish_reason":null}]}\n\ndata: [DONE]\n\n'
)
_COMPLETE = Operation(
    summary="Answer a conversation",
    tag="Text",
    description="With `stream`, each event is a `ChatCompletionChunk`, and the last is `[DONE]`.",
    body=json_body(
        ChatBody,
        {"model": "tiermesh-pro", "messages": [{"role": "user", "content": "Name a colour."}], "max_tokens": 50},
    ),
    answer={**json_answer(_EXAMPLE), **event_stream(_EXAMPLE_STREAM)},
    paid=True,
    further_types=(ChatCompletionChunk,),
)


def routes(edge: Dependencies) -> Sequence[Route]:
    """Returns the route of POST /v1/chat/completions."""
    chat = Chat(edge.path, edge.image_loader, edge.settings, edge.clock)
    return [
        Route(
            method="POST",
            path="/chat/completions",
            name="chat",
            scope="chat",
            handler=chat.serve,
            operation=_COMPLETE,
        )
    ]

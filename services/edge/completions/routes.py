"""The route of legacy completions."""

from __future__ import annotations

from collections.abc import Sequence

from services.edge.completions.endpoint import Completions
from services.edge.completions.request import CompletionBody
from services.edge.completions.response import TextChoice, TextCompletion
from services.edge.dependencies import Dependencies
from services.edge.paid.delivery import AnswerTokens, PromptTokens, TokenUsage
from services.edge.route import Operation, Route, event_stream, json_answer, json_body

_EXAMPLE = TextCompletion(
    id="cmpl-0123456789abcdef0123456789abcdef",
    object="text_completion",
    created=1798761600,
    model="tiermesh-pro",
    system_fingerprint="fp_0123456789",
    choices=[TextChoice(" there was", 0, None, "length")],
    usage=TokenUsage(11, 2, 13, PromptTokens(0), AnswerTokens(0)),
)
_CONTINUE = Operation(
    summary="Continue a text (legacy)",
    tag="Text",
    description="With `stream`, each event is a `TextCompletion`, and the last is `[DONE]`.",
    body=json_body(CompletionBody, {"model": "tiermesh-pro", "prompt": "Once upon a time", "max_tokens": 20}),
    answer={**json_answer(_EXAMPLE), **event_stream()},
    paid=True,
)


def routes(edge: Dependencies) -> Sequence[Route]:
    """Returns the route of POST /v1/completions."""
    completions = Completions(edge.path, edge.settings, edge.clock)
    return [
        Route(
            method="POST",
            path="/completions",
            name="completions",
            scope="chat",
            handler=completions.serve,
            operation=_CONTINUE,
        )
    ]

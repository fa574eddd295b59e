"""The route of tokens."""

from __future__ import annotations

from collections.abc import Sequence

from services.edge.dependencies import Dependencies
from services.edge.route import Operation, Route, json_answer, json_body
from services.edge.token_counts.counter import TokenCounter
from services.edge.token_counts.endpoint import Tokenize, TokenizedPrompt
from services.edge.token_counts.request import TokenizeBody

_TOKENIZE = Operation(
    summary="List the tokens of a text or a conversation",
    tag="Text",
    description="Not charged. The tokens of a conversation are those of the prompt that a chat completion answers.",
    body=json_body(
        TokenizeBody,
        {"model": "tiermesh-pro", "messages": [{"role": "user", "content": "Name a colour."}]},
    ),
    answer=json_answer(TokenizedPrompt(count=2, max_model_len=4096, tokens=[2683, 253], token_strs=None)),
    may_be_missing=True,
)


def routes(edge: Dependencies) -> Sequence[Route]:
    """Returns the route of POST /tokenize, which vLLM's clients expect without a prefix."""
    tokenize = Tokenize(edge.path, TokenCounter(edge.mesh, edge.path))
    return [
        Route(
            method="POST",
            path="/tokenize",
            name="tokenize",
            scope="chat",
            handler=tokenize.serve,
            operation=_TOKENIZE,
            at_root=True,
        )
    ]

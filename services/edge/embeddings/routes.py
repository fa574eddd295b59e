"""The route of embeddings."""

from __future__ import annotations

from collections.abc import Sequence

from services.edge.dependencies import Dependencies
from services.edge.embeddings.endpoint import Embeddings
from services.edge.embeddings.request import EmbeddingsBody
from services.edge.embeddings.response import EmbeddingList, EmbeddingUsage, EmbeddingVector
from services.edge.route import Operation, Route, json_answer, json_body

_EXAMPLE = EmbeddingList(
    object="list",
    data=[EmbeddingVector("embedding", 0, [0.013, -0.02])],
    model="tiermesh-embed",
    usage=EmbeddingUsage(2, 2),
)
_EMBED = Operation(
    summary="Turn texts into vectors",
    tag="Embeddings",
    body=json_body(EmbeddingsBody, {"model": "tiermesh-embed", "input": ["red", "blue"], "encoding_format": "float"}),
    answer=json_answer(_EXAMPLE),
    paid=True,
)


def routes(edge: Dependencies) -> Sequence[Route]:
    """Returns the route of POST /v1/embeddings."""
    embeddings = Embeddings(edge.path)
    return [
        Route(
            method="POST",
            path="/embeddings",
            name="embeddings",
            scope="embeddings",
            handler=embeddings.serve,
            operation=_EMBED,
        )
    ]

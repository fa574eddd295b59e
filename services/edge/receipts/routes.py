"""The route of the keys that receipts are checked with."""

from __future__ import annotations

from collections.abc import Sequence

from services.edge.dependencies import Dependencies
from services.edge.receipts.endpoint import EXAMPLE, ReceiptKeys
from services.edge.route import Operation, PublicRoute, json_answer

_KEYS = Operation(
    summary="Return the keys that receipts are checked with",
    tag="Service",
    description="A JSON Web Key Set. The head of each receipt names its key.",
    answer=json_answer(EXAMPLE),
    may_be_missing=True,
)


def routes(edge: Dependencies) -> Sequence[PublicRoute]:
    """Returns the route."""
    keys = ReceiptKeys(edge.receipts)
    return [PublicRoute(path="/.well-known/jwks.json", handler=keys.serve, operation=_KEYS, at_root=True)]

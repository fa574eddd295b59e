"""The endpoints of the API: the one list that a new endpoint is added to.

Each is a package with a module `routes`, whose function of the same name makes its routes out of the dependencies. The
packages are listed by name, and imported by it, so that the entry in the list is all that an endpoint needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

from services.edge.dependencies import Dependencies
from services.edge.route import AnyRoute

ENDPOINTS = (
    "chat",
    "completions",
    "responses",
    "messages",
    "token_counts",
    "embeddings",
    "speech",
    "transcriptions",
    "images",
    "models",
    "account",
    "receipts",
    "welcome",
)


def endpoint_routes(dependencies: Dependencies) -> list[AnyRoute]:
    """Returns the routes of all endpoints, in the order in which the document shows them."""
    routes: list[AnyRoute] = []
    for name in ENDPOINTS:
        make: Callable[[Dependencies], Sequence[AnyRoute]] = import_module(f"services.edge.{name}.routes").routes
        routes += make(dependencies)
    return routes

"""The routes of the edge, without a mesh behind them: for tests of what routes say, and of what is made from that."""

from __future__ import annotations

import time
from collections.abc import Callable
from unittest.mock import MagicMock

from services.edge.dependencies import Dependencies
from services.edge.endpoints import endpoint_routes
from services.edge.http.errors import ErrorFormat
from services.edge.openapi.serving import Document
from services.edge.route import AnyRoute, Operation, Route
from services.edge.settings import EdgeSettings


def edge_dependencies(ready: Callable[[], bool] = bool) -> Dependencies:
    """Returns what routes can be made of, with nothing behind it."""
    nothing = MagicMock()
    return Dependencies(
        settings=EdgeSettings(),
        clock=time.time,
        mesh=nothing,
        path=nothing,
        image_loader=nothing,
        billing=nothing,
        auth=nothing,
        ready=ready,
    )


def edge_routes() -> list[AnyRoute]:
    """Returns all routes; their handlers cannot serve."""
    routes = endpoint_routes(edge_dependencies())
    return [*routes, Document(routes).route]


def error_formats() -> dict[str, ErrorFormat]:
    """Returns how the routes of each path write their errors; those that need no key write OpenAI's."""
    return {route.path: route.errors for route in edge_routes() if isinstance(route, Route)}


def edge_operations() -> dict[tuple[str, str], Operation]:
    """Returns what the OpenAPI document says of each method and path that it describes."""
    return {(route.method, route.path): route.operation for route in edge_routes() if route.operation is not None}

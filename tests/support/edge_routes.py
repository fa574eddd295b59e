"""The routes of the edge, without a mesh behind them: for tests of what routes say, and of what is made from that."""

from __future__ import annotations

import time
from unittest.mock import MagicMock

from services.edge.dependencies import Dependencies
from services.edge.endpoints import endpoint_routes
from services.edge.openapi.serving import Document
from services.edge.route import AnyRoute, Operation
from services.edge.settings import EdgeSettings


def edge_routes() -> list[AnyRoute]:
    """Returns all routes; their handlers cannot serve."""
    nothing = MagicMock()
    dependencies = Dependencies(
        settings=EdgeSettings(),
        clock=time.time,
        mesh=nothing,
        path=nothing,
        image_loader=nothing,
        billing=nothing,
        auth=nothing,
    )
    routes = endpoint_routes(dependencies)
    return [*routes, Document(routes).route]


def edge_operations() -> dict[tuple[str, str], Operation]:
    """Returns what the OpenAPI document says of each method and path that it describes."""
    return {(route.method, route.path): route.operation for route in edge_routes() if route.operation is not None}

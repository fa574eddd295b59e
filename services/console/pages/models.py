"""What is sold: models with their prices, and whether a runner serves them now."""

from __future__ import annotations

from aiohttp import web

from services.console.mesh import Mesh, gather
from services.console.page import Page
from services.console.rendering import Renderer
from services.console.visit import Visit


class Models:
    """Serves the list of models, in the order of the catalog."""

    def __init__(self, renderer: Renderer, mesh: Mesh) -> None:
        self._renderer = renderer
        self._mesh = mesh

    def pages(self) -> tuple[Page, ...]:
        """Returns the route."""
        return (Page(path="/models", name="models", handler=self.show),)

    async def show(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /models."""
        (available,) = await gather(self._mesh.available_models())
        return self._renderer.page("models", visit, models=self._mesh.catalog.models, available=available)

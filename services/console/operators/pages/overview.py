"""The first page: what the tiers do now, and what operators have done last."""

from __future__ import annotations

from aiohttp import web

from services.console.mesh import gather
from services.console.operators.mesh import OperatorMesh
from services.console.operators.tiers import tiers
from services.console.page import Page
from services.console.rendering import Renderer
from services.console.visit import Visit

_LAST_ACTIONS = 10


class Overview:
    """Serves the first page. What cannot be read at the moment is said to be so, and the rest is shown."""

    def __init__(self, renderer: Renderer, mesh: OperatorMesh) -> None:
        self._renderer = renderer
        self._mesh = mesh

    def pages(self) -> tuple[Page, ...]:
        """Returns the route."""
        return (Page(path="/", name="overview", handler=self.show),)

    async def show(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /."""
        seen, last = await gather(self._mesh.runners(), self._mesh.actions(size=_LAST_ACTIONS))
        return self._renderer.page(
            "overview",
            visit,
            tiers=None if seen is None else tiers(self._mesh.catalog, seen),
            actions=None if last is None else last.actions,
        )

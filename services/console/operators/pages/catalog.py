"""The catalog, and whether every part of the mesh sells by the same one."""

from __future__ import annotations

from aiohttp import web

from services.common.catalog import catalog_digest
from services.console.mesh import gather
from services.console.operators.mesh import OperatorMesh
from services.console.operators.replicas import Examiner
from services.console.page import Page
from services.console.rendering import Renderer
from services.console.visit import Visit


class Catalog:
    """Serves the catalog as each replica of auth, billing and the router has it."""

    def __init__(self, renderer: Renderer, mesh: OperatorMesh, examiner: Examiner) -> None:
        self._renderer = renderer
        self._mesh = mesh
        self._examiner = examiner

    def pages(self) -> tuple[Page, ...]:
        """Returns the route."""
        return (Page(path="/catalog", name="catalog", handler=self.show),)

    async def show(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /catalog."""
        available, replicas = await gather(self._mesh.available_models(), self._examiner.examine())
        catalog = self._mesh.catalog
        return self._renderer.page(
            "catalog",
            visit,
            models=catalog.models,
            available=available,
            digest=catalog_digest(catalog),
            replicas=replicas,
        )

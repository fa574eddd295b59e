"""Tiers and runners: what they do, and taking a runner out of use."""

from __future__ import annotations

from aiohttp import web

from services.common.errors import Code, MeshError
from services.console.operators.actions import Actions
from services.console.operators.mesh import OperatorMesh
from services.console.operators.tiers import tiers
from services.console.page import Page
from services.console.rendering import Renderer
from services.console.visit import Visit

_ONE = "/runners/{runner_id:[A-Za-z0-9._:-]{1,200}}"

# Why requests are refused and runners are taken out, as people call it.
REASONS = {
    "busy": "every runner stayed busy",
    "queue_full": "too many requests were waiting",
    "no_runner": "there was no runner that could do it",
    "request_failed": "a request failed",
    "stalled": "it made no progress with a request",
    "stream_lost": "it could not be reached",
}


class Runners:
    """Serves the live table of the routers."""

    def __init__(self, renderer: Renderer, mesh: OperatorMesh, actions: Actions) -> None:
        self._renderer = renderer
        self._mesh = mesh
        self._actions = actions

    def pages(self) -> tuple[Page, ...]:
        """Returns the routes."""
        return (
            Page(path="/runners", name="runners", handler=self.show),
            Page(method="POST", path=f"{_ONE}/drain", name="drain", handler=self.drain),
            Page(method="POST", path=f"{_ONE}/undrain", name="undrain", handler=self.undrain),
        )

    async def show(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /runners."""
        return await self._page(visit)

    async def drain(self, visit: Visit) -> web.StreamResponse:
        """Has no more requests placed on a runner."""
        runner_id = visit.request.match_info["runner_id"]
        try:
            async with self._actions.recorded(visit, "drain_runner", runner_id, page="/runners"):
                await self._mesh.drain(runner_id)
        except MeshError as error:
            return await self._refused(visit, error)
        raise web.HTTPSeeOther("/runners")

    async def undrain(self, visit: Visit) -> web.StreamResponse:
        """Has requests placed on a runner again."""
        runner_id = visit.request.match_info["runner_id"]
        try:
            async with self._actions.recorded(visit, "undrain_runner", runner_id, page="/runners"):
                await self._mesh.undrain(runner_id)
        except MeshError as error:
            return await self._refused(visit, error)
        raise web.HTTPSeeOther("/runners")

    async def _refused(self, visit: Visit, error: MeshError) -> web.Response:
        if error.code not in {Code.NOT_FOUND, Code.PERMISSION_DENIED}:
            raise error
        return await self._page(visit, problem=error.message, status=409)

    async def _page(self, visit: Visit, *, problem: str = "", status: int = 200) -> web.Response:
        seen = await self._mesh.runners()
        return self._renderer.page(
            "runners",
            visit,
            status=status,
            seen=seen,
            tiers=tiers(self._mesh.catalog, seen),
            refusals=sorted(seen.refusals.items()),
            ejections=sorted(seen.ejections.items()),
            reasons=REASONS,
            problem=problem,
        )

"""The first page: the credits, what was spent today, and what can be used now."""

from __future__ import annotations

from aiohttp import web

from services.console.mesh import Mesh, gather
from services.console.page import Page
from services.console.rendering import Renderer
from services.console.sign_in.hints import WITHOUT_SECRET
from services.console.visit import Visit

_NEWEST = 20


class Overview:
    """Serves the first page. What cannot be read at the moment is said to be so, and the rest is shown."""

    def __init__(self, renderer: Renderer, mesh: Mesh) -> None:
        self._renderer = renderer
        self._mesh = mesh

    def pages(self) -> tuple[Page, ...]:
        """Returns the route."""
        return (Page(path="/", name="overview", handler=self.show),)

    async def show(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /."""
        account_id = visit.owner.account_id
        balance, today, keys, available = await gather(
            self._mesh.balance(account_id),
            self._mesh.usage_today(account_id),
            # The newest keys: one that is neither what has signed in nor a passkey is for requests.
            self._mesh.keys(account_id, size=_NEWEST),
            self._mesh.available_models(),
        )
        return self._renderer.page(
            "overview",
            visit,
            balance=balance,
            today=today,
            first_steps=keys is not None
            and all(key.id == visit.owner.key_id or key.hint in WITHOUT_SECRET for key in keys.keys),
            models=self._mesh.catalog.models,
            available=available,
        )

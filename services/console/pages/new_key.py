"""The form for a new key."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiohttp import web

from services.common.catalog import Catalog
from services.common.clock import Clock, to_ms
from services.common.errors import Code, MeshError
from services.common.scopes import ENDPOINTS, MANAGEMENT, ORDINARY
from services.console.freshness import Freshness
from services.console.http.forms import Form
from services.console.mesh import Mesh
from services.console.page import Page
from services.console.pages.made_key import MadeKey
from services.console.rendering import Renderer
from services.console.visit import Visit
from tiermesh.auth.v1 import auth_pb2

# How long a key can be made to work, in days; 0 is for ever.
LIFETIMES = {
    "0": "Never",
    "1": "In 1 day",
    "7": "In 7 days",
    "30": "In 30 days",
    "90": "In 90 days",
    "365": "In a year",
}
_DAY_MS = 86_400_000
_MOST_RATE = 2**32 - 1
_MOST_CREDITS = 2**53 - 1
_PATH = "/keys/new"


@dataclass(frozen=True, slots=True)
class Choices:
    """What the form shows as chosen."""

    name: str = ""
    models: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ORDINARY
    requests_per_minute: str = ""
    monthly_credit_cap: str = ""
    days: str = "0"
    # What is wrong, if anything.
    problem: str = ""
    # The field at fault.
    param: str = field(default="")


class NewKey:
    """Serves the form. Auth decides what the key that has signed in may pass on."""

    def __init__(self, renderer: Renderer, mesh: Mesh, freshness: Freshness, made: MadeKey, clock: Clock) -> None:
        self._renderer = renderer
        self._mesh = mesh
        self._freshness = freshness
        self._made = made
        self._clock = clock

    def pages(self) -> tuple[Page, ...]:
        """Returns the routes."""
        return (
            Page(path=_PATH, name="new_key", handler=self.show),
            Page(method="POST", path=_PATH, name="new_key", handler=self.create),
        )

    async def show(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /keys/new."""
        self._freshness.demand(visit, _PATH)
        return await self._form(visit, Choices())

    async def create(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /keys/new: the one response that holds the key."""
        self._freshness.demand(visit, _PATH)
        try:
            asked = self._request(visit)
            made = await self._mesh.auth.call(lambda stub: stub.CreateKey, asked)
        except MeshError as error:
            if error.code not in {Code.INVALID_REQUEST, Code.PERMISSION_DENIED, Code.CONFLICT}:
                raise
            return await self._form(visit, _choices(visit.form, error), status=400)
        return self._made.show(visit, made.api_key, made.key)

    def _request(self, visit: Visit) -> auth_pb2.CreateKeyRequest:
        form = visit.form
        days = form.text("days") or "0"
        if days not in LIFETIMES:
            raise MeshError(Code.INVALID_REQUEST, "Choose from the list when the key expires.", param="days")
        scopes = form.texts("scope")
        if not scopes:
            raise MeshError(Code.INVALID_REQUEST, "Choose at least one scope.", param="scope")
        return auth_pb2.CreateKeyRequest(
            account_id=visit.owner.account_id,
            creator_key_id=visit.owner.key_id,
            name=form.text("name"),
            models=form.texts("model"),
            # The ordinary ones are said by an empty list, so that scopes of later versions are among them.
            endpoints=() if set(scopes) == set(ORDINARY) else scopes,
            requests_per_minute=form.number("requests_per_minute", "Requests per minute", _MOST_RATE),
            monthly_credit_cap=form.number("monthly_credit_cap", "The monthly cap", _MOST_CREDITS),
            expires_at_ms=to_ms(self._clock()) + int(days) * _DAY_MS if int(days) else 0,
        )

    async def _form(self, visit: Visit, choices: Choices, *, status: int = 200) -> web.Response:
        creator = await self._mesh.key(visit.owner.account_id, visit.owner.key_id)
        return self._renderer.page(
            "new_key",
            visit,
            status=status,
            choices=choices,
            creator=creator,
            models=_models(self._mesh.catalog, creator),
            scopes=[scope for scope in ENDPOINTS if scope in (creator.endpoints or ORDINARY)],
            management=MANAGEMENT,
            lifetimes=LIFETIMES,
        )


def _models(catalog: Catalog, creator: auth_pb2.ApiKey) -> list[str]:
    """Returns the models that the key which has signed in may pass on."""
    return [model.id for model in catalog.models if not creator.models or model.id in creator.models]


def _choices(form: Form, error: MeshError) -> Choices:
    return Choices(
        name=form.text("name"),
        models=tuple(form.texts("model")),
        scopes=tuple(form.texts("scope")),
        requests_per_minute=form.text("requests_per_minute"),
        monthly_credit_cap=form.text("monthly_credit_cap"),
        days=form.text("days"),
        problem=error.message,
        param=error.param,
    )

"""The list of keys, and the page of one: rotate it, revoke it."""

from __future__ import annotations

import re

from aiohttp import web

from services.common.clock import Clock, to_ms
from services.common.errors import Code, MeshError
from services.common.scopes import ORDINARY
from services.console.freshness import Freshness
from services.console.mesh import Mesh
from services.console.page import Page
from services.console.pages.made_key import MadeKey
from services.console.rendering import Renderer
from services.console.visit import Visit
from tiermesh.auth.v1 import auth_pb2

KEY_ID = "key_[0-9a-f]{24}"
_ONE = f"/keys/{{key_id:{KEY_ID}}}"
_PAGE = 50
# How long the old key can go on working, in seconds.
OVERLAPS = {"0": "stops at once", "3600": "works for another hour", "86400": "works for another day"}
_DEFAULT_OVERLAP = "86400"


class Keys:
    """Serves the keys of the account that is signed in; one of another account does not exist."""

    def __init__(self, renderer: Renderer, mesh: Mesh, freshness: Freshness, made: MadeKey, clock: Clock) -> None:
        self._renderer = renderer
        self._mesh = mesh
        self._freshness = freshness
        self._made = made
        self._clock = clock

    def pages(self) -> tuple[Page, ...]:
        """Returns the routes."""
        return (
            Page(path="/keys", name="keys", handler=self.list),
            Page(path=_ONE, name="key", handler=self.show),
            Page(method="POST", path=f"{_ONE}/rotate", name="rotate_key", handler=self.rotate),
            Page(method="POST", path=f"{_ONE}/revoke", name="revoke_key", handler=self.revoke),
        )

    async def list(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /keys: a page of the keys, newest first."""
        after = visit.request.query.get("after", "")
        if after and not re.fullmatch(KEY_ID, after):
            raise web.HTTPNotFound
        found = await self._mesh.keys(visit.owner.account_id, size=_PAGE, after=after)
        onward = found.keys[-1].id if found.has_more else ""
        return self._renderer.page("keys", visit, keys=found.keys, after=after, onward=onward, now_ms=self._now_ms())

    async def show(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /keys/{key_id}."""
        return self._page(visit, await self._key(visit))

    async def rotate(self, visit: Visit) -> web.StreamResponse:
        """Replaces a key, and shows the new one."""
        key = await self._key(visit)
        self._freshness.demand(visit, f"/keys/{key.id}")
        overlap = visit.form.text("overlap") or _DEFAULT_OVERLAP
        if overlap not in OVERLAPS:
            raise MeshError(Code.INVALID_REQUEST, "Choose how long the old key works from the list.")
        asked = auth_pb2.RotateKeyRequest(
            key_id=key.id,
            overlap_seconds=int(overlap),
            account_id=visit.owner.account_id,
            rotator_key_id=visit.owner.key_id,
        )
        try:
            rotated = await self._mesh.auth.call(lambda stub: stub.RotateKey, asked)
        except MeshError as error:
            return self._refused(visit, key, error)
        return self._made.show(visit, rotated.api_key, rotated.key, old=rotated.old_key)

    async def revoke(self, visit: Visit) -> web.StreamResponse:
        """Revokes a key, and those that it has made if asked."""
        key = await self._key(visit)
        asked = auth_pb2.RevokeKeyRequest(
            key_id=key.id,
            account_id=visit.owner.account_id,
            revoker_key_id=visit.owner.key_id,
            descendants=visit.form.text("descendants") == "yes",
        )
        try:
            await self._mesh.auth.call(lambda stub: stub.RevokeKey, asked)
        except MeshError as error:
            return self._refused(visit, key, error)
        raise web.HTTPSeeOther("/sign-in" if key.id == visit.owner.key_id else f"/keys/{key.id}")

    async def _key(self, visit: Visit) -> auth_pb2.ApiKey:
        return await self._mesh.key(visit.owner.account_id, visit.request.match_info["key_id"])

    def _refused(self, visit: Visit, key: auth_pb2.ApiKey, error: MeshError) -> web.Response:
        """Returns the page of the key with why nothing was done, if that is the person's to know."""
        if error.code not in {Code.CONFLICT, Code.PERMISSION_DENIED}:
            raise error
        return self._page(visit, key, problem=error.message, status=409)

    def _page(self, visit: Visit, key: auth_pb2.ApiKey, *, problem: str = "", status: int = 200) -> web.Response:
        return self._renderer.page(
            "key",
            visit,
            status=status,
            key=key,
            problem=problem,
            overlaps=OVERLAPS,
            default_overlap=_DEFAULT_OVERLAP,
            ordinary=ORDINARY,
            now_ms=self._now_ms(),
        )

    def _now_ms(self) -> int:
        return to_ms(self._clock())

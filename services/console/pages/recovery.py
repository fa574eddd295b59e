"""Recovery codes: making one, signing in with it, and what has to come next."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from services.common.errors import MeshError
from services.console.freshness import Freshness
from services.console.http.browser_sessions import name_of_browser
from services.console.mesh import Mesh
from services.console.page import Page
from services.console.pages.sign_in import SignIn
from services.console.rendering import Renderer
from services.console.sessions import Sessions
from services.console.sign_in.methods import SignInMethods
from services.console.sign_in.recovery import NEW_WAY_IN, is_recovering
from services.console.visit import Visit
from tiermesh.auth.v1 import auth_pb2


class Recovery:
    """Serves the pages of recovery codes. Attempts are counted with all others to sign in."""

    def __init__(
        self,
        renderer: Renderer,
        mesh: Mesh,
        sessions: Sessions,
        methods: SignInMethods,
        freshness: Freshness,
        sign_in: SignIn,
    ) -> None:
        self._renderer = renderer
        self._mesh = mesh
        self._sessions = sessions
        self._methods = methods
        self._freshness = freshness
        self._sign_in = sign_in

    def pages(self) -> tuple[Page, ...]:
        """Returns the routes."""
        post = partial(Page, method="POST")
        return (
            post(path="/account/recovery-code", name="new_recovery_code", handler=self.create),
            Page(path="/recover", name="recover", handler=self.show, public=True),
            post(path="/recover", name="recover", handler=self.recover, public=True),
            Page(path=NEW_WAY_IN, name="new_way_in", handler=self.show_ways, recovering=True),
            post(path=f"{NEW_WAY_IN}/key", name="new_way_in", handler=self.get_key, recovering=True),
        )

    async def create(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /account/recovery-code: the one response that holds the code."""
        self._freshness.demand(visit, "/account")
        code = await self._methods.new_recovery_code(visit.cookie)
        return self._renderer.page("recovery/code", visit, code=code)

    async def show(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /recover."""
        return self._renderer.page("recovery/ask", visit, problem="")

    async def recover(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /recover."""
        response = web.Response(status=303, headers={"Location": NEW_WAY_IN})

        async def check() -> None:
            token = await self._methods.recover(visit.form.text("code"), name_of_browser(visit.request))
            self._sessions.hand_out(response, token)

        try:
            await self._sign_in.attempt(visit, check)
        except MeshError as error:
            return self._sign_in.refused("recovery/ask", visit, "", error)
        await self._sign_in.end_former(visit)
        return response

    async def show_ways(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /new-way-in."""
        if not is_recovering(visit):
            raise web.HTTPSeeOther("/account")
        return self._renderer.page("recovery/new_way_in", visit, relying_party=self._methods.relying_party, problem="")

    async def get_key(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /new-way-in/key: a key takes the place of the code, and signs in."""
        if not is_recovering(visit):
            raise web.HTTPSeeOther("/account")
        key_id, account_id = visit.owner.key_id, visit.owner.account_id
        asked = auth_pb2.RotateKeyRequest(
            key_id=key_id, overlap_seconds=0, account_id=account_id, rotator_key_id=key_id
        )
        rotated = await self._mesh.auth.call(lambda stub: stub.RotateKey, asked)
        token, session = await self._sessions.create(rotated.api_key, name_of_browser(visit.request))
        response = self._renderer.page("recovery/key", Visit(visit.request, token, session), secret=rotated.api_key)
        self._sessions.hand_out(response, token)
        return response

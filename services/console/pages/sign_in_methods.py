"""Passkeys and wallets: signing in with one, showing it once more, adding and removing.

For each there are two requests. A script asks for options, which are JSON, and the form sends what the authenticator or
the wallet has made of them. Auth checks it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from aiohttp import web

from services.common.errors import Code, MeshError
from services.console.freshness import Freshness
from services.console.http.browser_sessions import name_of_browser
from services.console.mesh import Mesh
from services.console.page import Page
from services.console.pages.account import Account
from services.console.pages.keys import KEY_ID
from services.console.pages.sign_in import SignIn
from services.console.sessions import Sessions
from services.console.sign_in.ceremony import as_json
from services.console.sign_in.method import SignInMethod
from services.console.sign_in.recovery import is_recovering
from services.console.sign_in.welcome import Welcome
from services.console.visit import Visit, own_path
from tiermesh.auth.v1 import auth_pb2, sign_in_pb2

# Why something is not done, if that is the person's to know.
_REFUSALS = {Code.INVALID_REQUEST: 400, Code.PERMISSION_DENIED: 403, Code.CONFLICT: 409, Code.RATE_LIMITED: 429}


class SignInMethodPages:
    """Serves what the pages for signing in and for the account do with passkeys, or with wallets."""

    def __init__(
        self,
        mesh: Mesh,
        sessions: Sessions,
        method: SignInMethod,
        freshness: Freshness,
        sign_in: SignIn,
        account: Account,
        welcome: Welcome,
        count: Callable[[Visit], None],
    ) -> None:
        """`count` counts the options that people ask for who are not signed in; it raises MeshError for too many."""
        self._mesh = mesh
        self._sessions = sessions
        self._method = method
        self._freshness = freshness
        self._sign_in = sign_in
        self._account = account
        self._welcome = welcome
        self._count = count

    def pages(self) -> tuple[Page, ...]:
        """Returns the routes."""
        post = partial(Page, method="POST")
        name = self._method.name
        options = partial(post, name=f"{name}_options")
        sign_in, confirm, add = f"/sign-in/{name}", f"/confirm/{name}", f"/account/{name}s"
        return (
            options(path=f"{sign_in}/options", handler=self.sign_in_options, public=True),
            post(path=sign_in, name=f"{name}_sign_in", handler=self.sign_in, public=True),
            options(path=f"{confirm}/options", handler=self.confirm_options),
            post(path=confirm, name=f"{name}_confirm", handler=self.confirm),
            options(path=f"{add}/options", handler=self.add_options, recovering=True),
            post(path=add, name=f"add_{name}", handler=self.add, recovering=True),
            post(path=f"{add}/{{key_id:{KEY_ID}}}/remove", name=f"remove_{name}", handler=self.remove),
        )

    async def sign_in_options(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /sign-in/passkey/options or the same for wallets."""

        async def options() -> Mapping[str, Any]:
            self._count(visit)
            return await self._method.options(sign_in_pb2.PASSKEY_PURPOSE_SIGN_IN, visit)

        return await as_json(options())

    async def sign_in(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /sign-in/passkey or the same for wallets."""
        onward = own_path(visit.form.text("next"))
        response = web.Response(status=303, headers={"Location": onward})

        async def check() -> None:
            token = await self._method.sign_in(visit)
            await self._welcome.make_up(token)
            self._sessions.hand_out(response, token)

        try:
            await self._sign_in.attempt(visit, check)
        except MeshError as error:
            return self._sign_in.refused("sign_in", visit, onward, error)
        await self._sign_in.end_former(visit)
        return response

    async def confirm_options(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /confirm/passkey/options or the same for wallets."""
        return await as_json(self._method.options(sign_in_pb2.PASSKEY_PURPOSE_CONFIRM, visit))

    async def confirm(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /confirm/passkey or the same for wallets."""
        onward = own_path(visit.form.text("next"))
        try:
            await self._sign_in.attempt(visit, lambda: self._method.confirm(visit))
        except MeshError as error:
            return self._sign_in.refused("confirm", visit, onward, error)
        raise web.HTTPSeeOther(onward)

    async def add_options(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /account/passkeys/options or the same for wallets."""
        self._demand_fresh(visit)
        return await as_json(self._method.options(sign_in_pb2.PASSKEY_PURPOSE_ADD, visit))

    async def add(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /account/passkeys or the same for wallets.

        Who has recovered gets a new session, and is as free as anybody else. The challenge says that the sign-in was
        fresh: only then it was made.
        """
        try:
            token = await self._method.add(visit, visit.form.text("name") or name_of_browser(visit.request))
        except MeshError as error:
            return await self._refused(visit, error)
        response = web.Response(status=303, headers={"Location": "/account"})
        if token:
            self._sessions.hand_out(response, token)
        return response

    async def remove(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /account/passkeys/{key_id}/remove or the same for wallets.

        Who removes what has signed in is signed out.
        """
        self._demand_fresh(visit)
        key_id, account_id = visit.request.match_info["key_id"], visit.owner.account_id
        if key_id not in await self._method.key_ids(account_id):
            raise web.HTTPNotFound
        asked = auth_pb2.RevokeKeyRequest(key_id=key_id, account_id=account_id, revoker_key_id=visit.owner.key_id)
        try:
            await self._mesh.auth.call(lambda stub: stub.RevokeKey, asked)
        except MeshError as error:
            return await self._refused(visit, error)
        raise web.HTTPSeeOther("/sign-in" if key_id == visit.owner.key_id else "/account")

    def _demand_fresh(self, visit: Visit) -> None:
        # A session by recovery code is short, and nothing could be shown once more.
        if not is_recovering(visit):
            self._freshness.demand(visit, "/account")

    async def _refused(self, visit: Visit, error: MeshError) -> web.Response:
        if error.code not in _REFUSALS or is_recovering(visit):
            raise error
        return await self._account.page(visit, problem=error.message, status=_REFUSALS[error.code])

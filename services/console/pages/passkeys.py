"""Passkeys: signing in with one, showing it once more, adding and removing.

For each there are two requests. A script asks for options, which are JSON, and the form sends what the authenticator
has made of them. Auth checks it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from aiohttp import web

from services.common.errors import Code, MeshError
from services.console.freshness import Freshness
from services.console.http.browser_sessions import browser_name
from services.console.mesh import Mesh
from services.console.page import Page
from services.console.pages.account import Account
from services.console.pages.keys import KEY_ID
from services.console.pages.sign_in import SignIn
from services.console.sessions import Sessions
from services.console.sign_in.ceremony import as_json, credential
from services.console.sign_in.methods import SignInMethods
from services.console.sign_in.recovery import is_recovering
from services.console.visit import Visit, own_path
from tiermesh.auth.v1 import auth_pb2, sign_in_pb2

# Why something is not done, if that is the person's to know.
_REFUSALS = {Code.INVALID_REQUEST: 400, Code.PERMISSION_DENIED: 403, Code.CONFLICT: 409, Code.RATE_LIMITED: 429}


class Passkeys:
    """Serves what the pages for signing in and for the account do with passkeys."""

    def __init__(
        self,
        mesh: Mesh,
        sessions: Sessions,
        methods: SignInMethods,
        freshness: Freshness,
        sign_in: SignIn,
        account: Account,
        count: Callable[[Visit], None],
    ) -> None:
        """`count` counts the options that people ask for who are not signed in; it raises MeshError for too many."""
        self._mesh = mesh
        self._sessions = sessions
        self._methods = methods
        self._freshness = freshness
        self._sign_in = sign_in
        self._account = account
        self._count = count

    def pages(self) -> tuple[Page, ...]:
        """Returns the routes."""
        post = partial(Page, method="POST")
        sign_in, confirm, add = "/sign-in/passkey", "/confirm/passkey", "/account/passkeys"
        return (
            post(path=f"{sign_in}/options", name="passkey_options", handler=self.sign_in_options, public=True),
            post(path=sign_in, name="passkey_sign_in", handler=self.sign_in, public=True),
            post(path=f"{confirm}/options", name="passkey_options", handler=self.confirm_options),
            post(path=confirm, name="passkey_confirm", handler=self.confirm),
            post(path=f"{add}/options", name="passkey_options", handler=self.add_options, recovering=True),
            post(path=add, name="add_passkey", handler=self.add, recovering=True),
            post(path=f"{add}/{{key_id:{KEY_ID}}}/remove", name="remove_passkey", handler=self.remove),
        )

    async def sign_in_options(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /sign-in/passkey/options."""

        async def options() -> str:
            self._count(visit)
            return await self._methods.options(sign_in_pb2.PASSKEY_PURPOSE_SIGN_IN, visit.cookie)

        return await as_json(options())

    async def sign_in(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /sign-in/passkey."""
        onward = own_path(visit.form.text("next"))
        response = web.Response(status=303, headers={"Location": onward})

        async def check() -> None:
            label = browser_name(visit.request.headers.get("User-Agent", ""))
            token = await self._methods.sign_in(visit.cookie, credential(visit), label)
            self._sessions.hand_out(response, token)

        try:
            await self._sign_in.attempt(visit, check)
        except MeshError as error:
            return self._sign_in.refused("sign_in", visit, onward, error)
        await self._sign_in.end_former(visit)
        return response

    async def confirm_options(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /confirm/passkey/options."""
        return await as_json(self._methods.options(sign_in_pb2.PASSKEY_PURPOSE_CONFIRM, visit.cookie))

    async def confirm(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /confirm/passkey."""
        onward = own_path(visit.form.text("next"))

        async def check() -> None:
            await self._methods.confirm(visit.cookie, credential(visit))

        try:
            await self._sign_in.attempt(visit, check)
        except MeshError as error:
            return self._sign_in.refused("confirm", visit, onward, error)
        raise web.HTTPSeeOther(onward)

    async def add_options(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /account/passkeys/options."""
        self._demand_fresh(visit)
        return await as_json(self._methods.options(sign_in_pb2.PASSKEY_PURPOSE_ADD, visit.cookie))

    async def add(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /account/passkeys. Who has recovered gets a new session, and is as free as anybody else.

        The challenge says that the sign-in was fresh: only then it was made.
        """
        name = visit.form.text("name") or browser_name(visit.request.headers.get("User-Agent", ""))
        try:
            token = await self._methods.add(visit.cookie, credential(visit), name)
        except MeshError as error:
            return await self._refused(visit, error)
        response = web.Response(status=303, headers={"Location": "/account"})
        if token:
            self._sessions.hand_out(response, token)
        return response

    async def remove(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /account/passkeys/{key_id}/remove. Who removes what has signed in is signed out."""
        self._demand_fresh(visit)
        key_id, account_id = visit.request.match_info["key_id"], visit.owner.account_id
        if key_id not in {passkey.key_id for passkey in (await self._methods.list(account_id)).passkeys}:
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

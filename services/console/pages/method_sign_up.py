"""Opening an account with a passkey or a wallet in place of a key."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from aiohttp import web

from services.common.errors import MeshError
from services.console.metrics import SIGN_UPS
from services.console.page import Page
from services.console.pages.sign_in import SignIn
from services.console.pages.sign_up import SignUp
from services.console.sessions import Sessions
from services.console.sign_in.ceremony import as_json
from services.console.sign_in.method import SignInMethod
from services.console.visit import Visit
from tiermesh.auth.v1 import sign_in_pb2


class MethodSignUp:
    """Serves a further button of the form for a new account; who may open one, `sign_up` decides."""

    def __init__(self, sessions: Sessions, method: SignInMethod, sign_in: SignIn, sign_up: SignUp) -> None:
        self._sessions = sessions
        self._method = method
        self._sign_in = sign_in
        self._sign_up = sign_up

    def pages(self) -> tuple[Page, ...]:
        """Returns the routes."""
        post = partial(Page, method="POST", public=True)
        name = self._method.name
        return (
            post(path=f"/sign-up/{name}/options", name=f"{name}_options", handler=self.options),
            post(path=f"/sign-up/{name}", name=f"{name}_sign_up", handler=self.create),
        )

    async def options(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /sign-up/passkey/options or the same for wallets: name and invitation code are checked here."""

        async def options() -> Mapping[str, Any]:
            self._sign_up.admit(visit)
            return await self._method.options(
                sign_in_pb2.PASSKEY_PURPOSE_SIGN_UP, visit, account_name=visit.form.text("name")
            )

        return await as_json(options())

    async def create(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /sign-up/passkey or the same for wallets.

        The challenge stands for what was checked when it was made.
        """
        try:
            token, account_id = await self._method.sign_up(visit)
        except MeshError as error:
            return self._sign_up.refused(visit, error)
        await self._sign_up.welcome(account_id)
        SIGN_UPS.labels("opened").inc()
        await self._sign_in.end_former(visit)
        response = web.Response(status=303, headers={"Location": "/"})
        self._sessions.hand_out(response, token)
        return response

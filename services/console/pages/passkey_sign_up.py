"""Opening an account with a passkey in place of a key."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from services.common.errors import MeshError
from services.console.http.browser_sessions import browser_name
from services.console.metrics import SIGN_UPS
from services.console.page import Page
from services.console.pages.sign_in import SignIn
from services.console.pages.sign_up import SignUp
from services.console.sessions import Sessions
from services.console.sign_in.ceremony import as_json, credential
from services.console.sign_in.methods import SignInMethods
from services.console.visit import Visit
from tiermesh.auth.v1 import sign_in_pb2

_PATH = "/sign-up/passkey"


class PasskeySignUp:
    """Serves the second button of the form for a new account; who may open one, `sign_up` decides."""

    def __init__(self, sessions: Sessions, methods: SignInMethods, sign_in: SignIn, sign_up: SignUp) -> None:
        self._sessions = sessions
        self._methods = methods
        self._sign_in = sign_in
        self._sign_up = sign_up

    def pages(self) -> tuple[Page, ...]:
        """Returns the routes."""
        post = partial(Page, method="POST", public=True)
        return (
            post(path=f"{_PATH}/options", name="passkey_options", handler=self.options),
            post(path=_PATH, name="passkey_sign_up", handler=self.create),
        )

    async def options(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /sign-up/passkey/options: the name and the invitation code are checked here."""

        async def options() -> str:
            self._sign_up.admit(visit)
            return await self._methods.options(
                sign_in_pb2.PASSKEY_PURPOSE_SIGN_UP, visit.cookie, account_name=visit.form.text("name")
            )

        return await as_json(options())

    async def create(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /sign-up/passkey. The challenge stands for what was checked when it was made."""
        label = browser_name(visit.request.headers.get("User-Agent", ""))
        try:
            token, account_id = await self._methods.sign_up(visit.cookie, credential(visit), label)
        except MeshError as error:
            return self._sign_up.refused(visit, error)
        await self._sign_up.welcome(account_id)
        SIGN_UPS.labels("opened").inc()
        await self._sign_in.end_former(visit)
        response = web.Response(status=303, headers={"Location": "/"})
        self._sessions.hand_out(response, token)
        return response

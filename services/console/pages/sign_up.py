"""Opening an account: its key is shown once, and is what signs in from then on."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from services.common.errors import Code, MeshError
from services.common.http.attempt_limits import AttemptLimits
from services.common.scopes import ENDPOINTS
from services.console.http.forms import Form
from services.console.mesh import Mesh
from services.console.metrics import SIGN_UPS
from services.console.page import Page
from services.console.rendering import Renderer
from services.console.sign_in.relying_party import RelyingParty
from services.console.sign_in.welcome import Welcome
from services.console.visit import Visit
from tiermesh.auth.v1 import auth_pb2

_REFUSALS = {
    Code.INVALID_REQUEST: 400,
    Code.PERMISSION_DENIED: 403,
    Code.CONFLICT: 409,
    Code.RATE_LIMITED: 429,
}
_KEY_NAME = "account"


@dataclass(frozen=True, slots=True)
class Registration:
    """Who may open accounts, and what they begin with."""

    # What people have to enter; empty if everybody may.
    code: str = field(repr=False)
    welcome: Welcome


class SignUp:
    """Serves the form for a new account. `address` tells whose attempts are counted together."""

    def __init__(
        self,
        renderer: Renderer,
        mesh: Mesh,
        registration: Registration,
        limits: AttemptLimits,
        address: Callable[[web.Request], str],
        relying_party: RelyingParty | None,
    ) -> None:
        self._renderer = renderer
        self._mesh = mesh
        self._registration = registration
        self._limits = limits
        self._address = address
        self._relying_party = relying_party

    def pages(self) -> tuple[Page, ...]:
        """Returns the routes."""
        return (
            Page(path="/sign-up", name="sign_up", handler=self.show, public=True),
            Page(method="POST", path="/sign-up", name="sign_up", handler=self.create, public=True),
        )

    async def show(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /sign-up."""
        return self._form(visit)

    async def create(self, visit: Visit) -> web.StreamResponse:
        """Answers POST /sign-up: the one response that holds the key of the account."""
        name = visit.form.text("name")
        try:
            self.admit(visit)
            account, secret = await self._open(name)
        except MeshError as error:
            return self.refused(visit, error)
        SIGN_UPS.labels("opened").inc()
        return self._renderer.page("sign_up/done", visit, secret=secret, account=account)

    def admit(self, visit: Visit) -> None:
        """Counts an attempt; raises MeshError for one too many, a wrong invitation code or no name."""
        self._limits.count(self._address(visit.request))
        self._check(visit.form)

    def refused(self, visit: Visit, error: MeshError) -> web.Response:
        """Returns the form with why no account was opened; raises the error if it is about something else."""
        status = _REFUSALS.get(error.code)
        if status is None:
            raise error
        SIGN_UPS.labels("rate_limited" if error.code is Code.RATE_LIMITED else "refused").inc()
        return self._form(visit, name=visit.form.text("name"), problem=error.message, status=status)

    async def welcome(self, account_id: str) -> None:
        """Gives a new account its first credits, if there are any."""
        await self._registration.welcome.give(account_id)

    async def _open(self, name: str) -> tuple[auth_pb2.Account, str]:
        """Opens an account and returns it with its key. What fails in between leaves an account that nobody can use."""
        account = await self._mesh.create_account(name)
        await self.welcome(account.id)
        # Nobody has set limits for this customer, so the service's usual ones bind all keys of the account.
        wish = auth_pb2.CreateKeyRequest(account_id=account.id, name=_KEY_NAME, endpoints=ENDPOINTS)
        return account, (await self._mesh.auth.call(lambda stub: stub.CreateKey, wish)).api_key

    def _check(self, form: Form) -> None:
        """Raises MeshError for a wrong invitation code or no name."""
        expected = self._registration.code
        if expected and not hmac.compare_digest(form.text("code").encode(), expected.encode()):
            raise MeshError(Code.PERMISSION_DENIED, "This is not the invitation code. Ask the operator for it.")
        if not form.text("name"):
            raise MeshError(Code.INVALID_REQUEST, "Enter a name for the account.", param="name")

    def _form(self, visit: Visit, *, name: str = "", problem: str = "", status: int = 200) -> web.Response:
        return self._renderer.page(
            "sign_up/form",
            visit,
            status=status,
            name=name,
            problem=problem,
            with_code=bool(self._registration.code),
            relying_party=self._relying_party,
        )

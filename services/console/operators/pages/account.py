"""One account: its credits, its keys and its state, and what an operator can do about them."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager

from aiohttp import web

from services.common.clock import Clock, to_ms
from services.common.errors import Code, MeshError
from services.console.mesh import gather
from services.console.operators.actions import Act, Actions
from services.console.operators.mesh import OperatorMesh
from services.console.operators.pages.accounts import ACCOUNT_ID
from services.console.page import Page
from services.console.pages.keys import KEY_ID
from services.console.pages.receipts import KINDS
from services.console.rendering import Renderer
from services.console.visit import Visit
from tiermesh.auth.v1 import auth_pb2

_ONE = f"/accounts/{{account_id:{ACCOUNT_ID}}}"
_KEYS = 50
_MOVEMENTS = 20
_MOST_CREDITS = 10**12
_GRANT_ID = re.compile(r"[0-9a-f]{24}")
# What the operator has to read and may put right.
_EXPLAINED = {Code.INVALID_REQUEST: 400, Code.CONFLICT: 409, Code.PERMISSION_DENIED: 403}


class Account:
    """Serves the page of an account."""

    def __init__(self, renderer: Renderer, mesh: OperatorMesh, actions: Actions, clock: Clock) -> None:
        self._renderer = renderer
        self._mesh = mesh
        self._actions = actions
        self._clock = clock

    def pages(self) -> tuple[Page, ...]:
        """Returns the routes."""
        return (
            Page(path=_ONE, name="account", handler=self.show),
            Page(method="POST", path=f"{_ONE}/grant", name="grant", handler=self.grant),
            Page(method="POST", path=f"{_ONE}/suspend", name="suspend", handler=self.suspend),
            Page(method="POST", path=f"{_ONE}/resume", name="resume", handler=self.resume),
            Page(method="POST", path=f"{_ONE}/reopen", name="reopen", handler=self.reopen),
            Page(method="POST", path=f"{_ONE}/keys", name="create_key", handler=self.create_key),
            Page(
                method="POST",
                path=f"{_ONE}/keys/{{key_id:{KEY_ID}}}/revoke",
                name="revoke_key",
                handler=self.revoke_key,
            ),
        )

    async def show(self, visit: Visit) -> web.StreamResponse:
        """Answers GET /accounts/{account_id}."""
        return await self._page(visit)

    async def grant(self, visit: Visit) -> web.StreamResponse:
        """Gives the account credits; a form that is sent twice gives them once."""
        account_id, form = _account_id(visit), visit.form
        reason = form.text("reason")
        try:
            amount = form.number("credits", "The credits", _MOST_CREDITS) or 0
            grant_id = form.text("grant_id")
            _demand(bool(amount), "Enter how many credits to grant, at least 1.")
            _demand(bool(reason), "Enter the reason for the grant.")
            _demand(bool(_GRANT_ID.fullmatch(grant_id)), "The form is incomplete. Reload the page and try again.")
            detail = f"{amount:,} credits. {reason}"
            async with self._recorded(visit, "grant_credits", detail):
                # An account that does not exist would be given credits all the same.
                await self._mesh.account(account_id)
                await self._mesh.grant(account_id, amount, f"operator-{grant_id}", reason)
        except MeshError as error:
            return await self._refused(visit, error)
        raise web.HTTPSeeOther(_path(visit))

    async def suspend(self, visit: Visit) -> web.StreamResponse:
        """Has every key of the account refused."""
        try:
            reason = visit.form.text("reason")
            _demand(bool(reason), "Enter the reason for the suspension.")
            async with self._recorded(visit, "suspend_account", reason):
                await self._mesh.suspend(_account_id(visit))
        except MeshError as error:
            return await self._refused(visit, error)
        raise web.HTTPSeeOther(_path(visit))

    async def resume(self, visit: Visit) -> web.StreamResponse:
        """Has the keys of the account work again."""
        async with self._recorded(visit, "resume_account", visit.form.text("reason")):
            await self._mesh.resume(_account_id(visit))
        raise web.HTTPSeeOther(_path(visit))

    async def reopen(self, visit: Visit) -> web.StreamResponse:
        """Has the keys of the account work again that its owner has closed."""
        try:
            reason = visit.form.text("reason")
            _demand(bool(reason), "Enter the reason for reopening the account.")
            async with self._recorded(visit, "reopen_account", reason):
                await self._mesh.reopen(_account_id(visit))
        except MeshError as error:
            return await self._refused(visit, error)
        raise web.HTTPSeeOther(_path(visit))

    async def create_key(self, visit: Visit) -> web.StreamResponse:
        """Creates a key with which the owner signs in: the one response that holds it."""
        account_id, name = _account_id(visit), visit.form.text("name")
        try:
            async with self._recorded(visit, "create_key", name) as act:
                made = await self._mesh.create_owner_key(account_id, name)
                act.message = made.key.id
        except MeshError as error:
            return await self._refused(visit, error)
        return self._renderer.page("made_key", visit, secret=made.api_key, key=made.key)

    async def revoke_key(self, visit: Visit) -> web.StreamResponse:
        """Disables one key of the account for ever."""
        account_id, key_id = _account_id(visit), visit.request.match_info["key_id"]
        async with self._actions.recorded(visit, "revoke_key", key_id, f"of {account_id}", page=_path(visit)):
            await self._mesh.revoke_key(account_id, key_id)
        raise web.HTTPSeeOther(_path(visit))

    def _recorded(self, visit: Visit, action: str, detail: str) -> AbstractAsyncContextManager[Act]:
        return self._actions.recorded(visit, action, _account_id(visit), detail, page=_path(visit))

    async def _refused(self, visit: Visit, error: MeshError) -> web.Response:
        """Returns the page with why nothing was done, if that is the operator's to know."""
        status = _EXPLAINED.get(error.code)
        if status is None:
            raise error
        return await self._page(visit, problem=error.message, status=status)

    async def _page(self, visit: Visit, *, problem: str = "", status: int = 200) -> web.Response:
        account_id = _account_id(visit)
        after = visit.request.query.get("after", "")
        if after and not re.fullmatch(KEY_ID, after):
            raise web.HTTPNotFound
        account = await self._mesh.account(account_id)
        keys = await self._mesh.keys(account_id, size=_KEYS, after=after)
        balance, entries, today = await gather(
            self._mesh.balance(account_id),
            self._mesh.entries(account_id, size=2 * _MOVEMENTS, page_token=""),
            self._mesh.usage_today(account_id),
        )
        return self._renderer.page(
            "account",
            visit,
            status=status,
            account=account,
            balance=balance,
            today=today,
            # Each movement between the two pockets is told once, by what it does to the credits that can be spent.
            movements=entries and [each for each in entries.entries if each.entry.pocket == "available"][:_MOVEMENTS],
            kinds=KINDS,
            keys=keys.keys,
            working=_working(keys.keys, to_ms(self._clock())),
            onward=keys.keys[-1].id if keys.has_more else "",
            grant_id=secrets.token_hex(12),
            problem=problem,
            now_ms=to_ms(self._clock()),
        )


def _demand(given: bool, message: str) -> None:
    if not given:
        raise MeshError(Code.INVALID_REQUEST, message)


def _account_id(visit: Visit) -> str:
    return visit.request.match_info["account_id"]


def _path(visit: Visit) -> str:
    return f"/accounts/{_account_id(visit)}"


def _working(keys: Iterable[auth_pb2.ApiKey], now_ms: int) -> set[str]:
    """Returns the IDs of the keys that can still be revoked to some effect."""
    return {key.id for key in keys if not key.revoked_at_ms and not 0 < key.expires_at_ms <= now_ms}

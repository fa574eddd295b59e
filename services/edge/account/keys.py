"""GET, POST and DELETE /v1/keys: the owner of an account manages its keys, by a key with the management scope.

Auth decides what the calling key may pass on; here are only the shapes. Times are whole seconds since the Unix epoch,
as everywhere in OpenAI's API, and null where there is none.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from services.common.clock import Clock, to_ms
from services.common.errors import MeshError
from services.common.rpc.replicas import AuthReplicas
from services.edge.authentication import Principal
from services.edge.context import RequestContext
from services.edge.http.bodies.incoming import read_json
from services.edge.http.parsing import invalid, json_response, parse_body
from tiermesh.auth.v1 import auth_pb2

Names = Annotated[list[Annotated[str, Meta(max_length=200)]], Meta(max_length=100)]
Seconds = Annotated[int, Meta(ge=0, le=2**40)]

# How many keys a page of the list has, and how many it may have at most.
DEFAULT_PAGE = 100
MAX_PAGE = 1000


class CreateKeyBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /v1/keys. A misspelt restriction is refused: ignoring it would make a key that may do more."""

    name: Annotated[str, Meta(max_length=200)] | None = None
    models: Names | None = None
    endpoints: Names | None = None
    requests_per_minute: Annotated[int, Meta(ge=0, le=2**32 - 1)] | None = None
    monthly_credit_cap: Annotated[int, Meta(ge=0, le=2**53 - 1)] | None = None
    expires_at: Seconds | None = None


class KeyBody(Struct, frozen=True, kw_only=True):
    """An API key without the key itself; a new one is shown once, in `key`."""

    id: str
    name: str
    # The first characters of the key.
    hint: str
    models: list[str]
    endpoints: list[str]
    requests_per_minute: int
    monthly_credit_cap: int
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    last_used_at: int | None
    replaced_by: str | None
    # The key that made it; null if an operator did.
    created_by: str | None
    key: str | UnsetType = UNSET
    object: Literal["api_key"] = "api_key"


class KeyList(Struct, frozen=True, kw_only=True):
    """A page of the keys of an account, oldest first, in OpenAI's shape."""

    data: list[KeyBody]
    # For `after`, to get the next page; null if the page is empty.
    last_id: str | None
    has_more: bool
    object: Literal["list"] = "list"


class RevokedKey(Struct, frozen=True):
    """The answer to a revocation, in OpenAI's shape."""

    id: str
    # The ids of the descendants that were revoked with it, if that was asked for.
    descendants: list[str] | UnsetType = UNSET
    object: Literal["api_key.deleted"] = "api_key.deleted"
    deleted: Literal[True] = True


_decoder = msgspec.json.Decoder(CreateKeyBody)


class Keys:
    """Serves the routes for requests whose key has the management scope."""

    def __init__(self, auth: AuthReplicas, clock: Clock) -> None:
        self._auth = auth
        self._clock = clock

    async def list(self, request: web.Request, _context: RequestContext, principal: Principal) -> web.Response:
        """Answers GET /v1/keys: a page of the account's keys, without the keys themselves, oldest first."""
        asked = auth_pb2.ListKeysRequest(
            account_id=principal.account_id,
            page_size=_page_size(request.query.get("limit")),
            after_key_id=request.query.get("after", ""),
        )
        response = await self._auth.call(lambda stub: stub.ListKeys, asked)
        keys = [_body(key) for key in response.keys]
        return json_response(KeyList(data=keys, last_id=keys[-1].id if keys else None, has_more=response.has_more))

    async def create(self, request: web.Request, _context: RequestContext, principal: Principal) -> web.Response:
        """Answers POST /v1/keys: the one response that holds the new key itself, in `key`."""
        body = parse_body(await read_json(request) or b"{}", _decoder)
        if body.expires_at and body.expires_at <= self._clock():
            raise invalid("expires_at", "'expires_at' is in the past. Send a future time in seconds since 1970.")
        try:
            response = await self._auth.call(lambda stub: stub.CreateKey, _create_request(body, principal))
        except MeshError as error:
            # Auth counts in milliseconds; the user has said seconds.
            error.param = error.param.removesuffix("_ms")
            raise
        return json_response(msgspec.structs.replace(_body(response.key), key=response.api_key))

    async def revoke(self, request: web.Request, _context: RequestContext, principal: Principal) -> web.Response:
        """Answers DELETE /v1/keys/{id}; a key of another account is one that does not exist."""
        key_id = request.match_info["key_id"]
        descendants = _flag("descendants", request.query.get("descendants"))
        revoke = auth_pb2.RevokeKeyRequest(
            key_id=key_id, account_id=principal.account_id, revoker_key_id=principal.key_id, descendants=descendants
        )
        response = await self._auth.call(lambda stub: stub.RevokeKey, revoke)
        return json_response(RevokedKey(key_id, [key.id for key in response.descendants] if descendants else UNSET))


def _page_size(limit: str | None) -> int:
    """Reads `limit`; raises MeshError INVALID_REQUEST."""
    if limit is None:
        return DEFAULT_PAGE
    # Longer digits are no number of keys, and cost time to read.
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= MAX_PAGE):
        raise invalid("limit", f"'limit' must be a whole number from 1 to {MAX_PAGE}.")
    return int(limit)


def _flag(name: str, value: str | None) -> bool:
    """Reads a parameter that is true or false; raises MeshError INVALID_REQUEST, for a slip must not mean no."""
    if value not in {None, "true", "false"}:
        raise invalid(name, f"'{name}' must be true or false.")
    return value == "true"


def _create_request(body: CreateKeyBody, principal: Principal) -> auth_pb2.CreateKeyRequest:
    return auth_pb2.CreateKeyRequest(
        account_id=principal.account_id,
        creator_key_id=principal.key_id,
        name=body.name or "",
        models=body.models or (),
        endpoints=body.endpoints or (),
        requests_per_minute=body.requests_per_minute,
        monthly_credit_cap=body.monthly_credit_cap,
        expires_at_ms=to_ms(body.expires_at or 0),
    )


def _body(key: auth_pb2.ApiKey) -> KeyBody:
    return KeyBody(
        id=key.id,
        name=key.name,
        hint=key.hint,
        models=list(key.models),
        endpoints=list(key.endpoints),
        requests_per_minute=key.requests_per_minute,
        monthly_credit_cap=key.monthly_credit_cap,
        created_at=key.created_at_ms // 1000,
        expires_at=_seconds(key.expires_at_ms),
        revoked_at=_seconds(key.revoked_at_ms),
        last_used_at=_seconds(key.last_used_at_ms),
        replaced_by=key.replaced_by or None,
        created_by=key.created_by or None,
    )


def _seconds(milliseconds: int) -> int | None:
    return milliseconds // 1000 or None

"""What a key may use: refused here, before anything is parsed, placed or held."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.common.catalog import Model
from services.common.errors import Code, MeshError
from services.common.scopes import ORDINARY, Scope, may_use
from services.edge.authentication import Principal

T = TypeVar("T")
RequestT = TypeVar("RequestT")
ContextT = TypeVar("ContextT")


def check_endpoint(principal: Principal, endpoint: Scope) -> None:
    """Raises MeshError PERMISSION_DENIED if the key lacks the scope of an endpoint."""
    if not may_use(principal.endpoints, endpoint):
        has = ", ".join(principal.endpoints or ORDINARY)
        message = (
            f"This API key lacks the scope '{endpoint}', which this URL needs; it has: {has}. "
            "Use another key, or create one with that scope."
        )
        raise MeshError(Code.PERMISSION_DENIED, message)


def may_use_model(principal: Principal, model: Model) -> bool:
    """Tells whether the key may use a model."""
    return not principal.models or model.id in principal.models


def check_model(principal: Principal, model: Model) -> None:
    """Raises MeshError PERMISSION_DENIED if the key's scope does not include the model."""
    if not may_use_model(principal, model):
        message = (
            f"This API key lacks the scope for the model '{model.id}'; it has: {', '.join(principal.models)}. "
            "Use another key, or create one with that model."
        )
        raise MeshError(Code.PERMISSION_DENIED, message, param="model")


def scoped(
    endpoint: Scope, handler: Callable[[RequestT, ContextT, Principal], Awaitable[T]]
) -> Callable[[RequestT, ContextT, Principal], Awaitable[T]]:
    """Wraps a handler so that only keys with the scope of `endpoint` reach it."""

    def checked(request: RequestT, context: ContextT, principal: Principal) -> Awaitable[T]:
        check_endpoint(principal, endpoint)
        return handler(request, context, principal)

    return checked

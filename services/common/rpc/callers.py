"""Serves only those whom a server is there for: the certificate that mutual TLS has verified tells who calls.

After boulder's `clientNames` (https://github.com/letsencrypt/boulder/blob/main/grpc/server.go): an authority's
signature alone lets nobody in, so that a runner, say, cannot call billing.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Any

import grpc
from prometheus_client import Counter

from services.common.telemetry.logs import get_logger

log = get_logger()
REFUSED = Counter("tiermesh_callers_refused_total", "Calls refused because the caller's certificate has another name")

# Whoever has a certificate of the mesh may ask whether a server lives: it tells nothing else.
_OPEN_TO_ALL = "/grpc.health.v1.Health/"
_REMEMBERED = 100

_Context = grpc.aio.ServicerContext[Any, Any]


class CallerInterceptor(grpc.aio.ServerInterceptor):
    """Refuses every call, unary or stream, of a caller that has none of `allowed` among its DNS names.

    A caller that has no other name than those in `limited` may call only the methods that are listed there.
    """

    def __init__(self, allowed: Collection[str], limited: Mapping[str, Collection[str]] | None = None) -> None:
        self._allowed = frozenset(allowed)
        self._limited = {name: frozenset(methods) for name, methods in (limited or {}).items()}
        self._logged: set[tuple[str, ...]] = set()

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Wraps the method, because a caller's name is not known before the method runs."""
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(_OPEN_TO_ALL):
            return handler
        return _wrapped(handler, self, handler_call_details.method)

    async def check(self, context: _Context, method: str) -> None:
        """Ends the call with PERMISSION_DENIED unless the caller may make it."""
        names = tuple(name.decode(errors="replace").lower() for name in context.auth_context().get("peer_dns", ()))
        known = self._allowed.intersection(names)
        if any(self._may_call(name, method) for name in known):
            return
        REFUSED.inc()
        self._tell(names, method)
        shown = ", ".join(names) or "no DNS name at all"
        reason = "it may not call this method" if known else f"served are {', '.join(sorted(self._allowed))}"
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"the certificate is for {shown}; {reason}")

    def _may_call(self, name: str, method: str) -> bool:
        methods = self._limited.get(name)
        return methods is None or method.rpartition("/")[2] in methods

    def _tell(self, names: tuple[str, ...], method: str) -> None:
        # Once for each caller, not at each of many attempts; the counter tells the rest.
        if names not in self._logged and len(self._logged) < _REMEMBERED:
            self._logged.add(names)
            log.warning("caller_refused", names=names, method=method, allowed=sorted(self._allowed))


def _wrapped(handler: Any, callers: CallerInterceptor, name: str) -> Any:
    """Returns the handler with the check before its method, whichever of the four kinds it is."""
    kind = next(
        kind
        for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
        if getattr(handler, kind) is not None
    )
    method = getattr(handler, kind)

    async def checked(request: Any, context: _Context) -> Any:
        await callers.check(context, name)
        return await method(request, context)

    async def checked_generator(request: Any, context: _Context) -> Any:
        await callers.check(context, name)
        async for response in method(request, context):
            yield response

    return getattr(grpc, f"{kind}_rpc_method_handler")(
        checked_generator if inspect.isasyncgenfunction(method) else checked,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )

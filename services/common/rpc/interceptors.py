"""Carries `MeshError` across unary gRPC calls, in both directions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc

from services.common.errors import ERROR_METADATA_KEY, Code, MeshError
from services.common.telemetry.logs import get_logger

log = get_logger()

# gRPC refuses a call's end with more than 8 KiB of metadata, which holds the text twice and may treble its bytes.
_MAX_MESSAGE = 800
_MAX_DETAILS = 200
ResponseT = TypeVar("ResponseT")

_UnaryMethod = Callable[[Any, "grpc.aio.ServicerContext[Any, Any]"], Awaitable[Any]]


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Sends a MeshError raised by a unary method as a status with details, and hides any other exception."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Wraps unary methods; streams report errors inside their replies."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        return grpc.unary_unary_rpc_method_handler(
            _report_errors(handler.unary_unary, handler_call_details.method),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


def _report_errors(method: _UnaryMethod, name: str) -> _UnaryMethod:
    async def wrapped(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        try:
            return await method(request, context)
        except MeshError as error:
            await _abort(context, error)
        except grpc.aio.AbortError:
            raise
        except Exception:
            log.exception("rpc_failed", method=name)
            await _abort(context, MeshError(Code.INTERNAL, "an internal error happened; its log has the details"))

    return wrapped


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: MeshError) -> None:
    short = MeshError(error.code, error.message[:_MAX_MESSAGE], param=error.param, retry_after=error.retry_after)
    metadata = ((ERROR_METADATA_KEY, short.to_proto().SerializeToString()),)
    await context.abort(error.grpc_status, error.message[:_MAX_DETAILS], trailing_metadata=metadata)


async def call_unary(call: Awaitable[ResponseT]) -> ResponseT:
    """Awaits a unary call and turns its failure into the MeshError that the peer raised."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise MeshError.from_rpc(error) from error

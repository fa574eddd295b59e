"""The one error type that crosses service borders.

Services raise `MeshError`; gRPC carries it as a `tiermesh.common.v1.Error`, inside a batch reply or in the trailing
metadata of a unary call; the edge alone translates it to HTTP.
"""

from __future__ import annotations

from enum import IntEnum

import grpc

from tiermesh.common.v1 import error_pb2

ERROR_METADATA_KEY = "tiermesh-error-bin"


class Code(IntEnum):
    """Every way in which the mesh refuses or fails a request; numbers are those of `tiermesh.common.v1.Code`."""

    INVALID_REQUEST = error_pb2.CODE_INVALID_REQUEST
    UNAUTHENTICATED = error_pb2.CODE_UNAUTHENTICATED
    PERMISSION_DENIED = error_pb2.CODE_PERMISSION_DENIED
    INSUFFICIENT_CREDITS = error_pb2.CODE_INSUFFICIENT_CREDITS
    MODEL_NOT_FOUND = error_pb2.CODE_MODEL_NOT_FOUND
    RATE_LIMITED = error_pb2.CODE_RATE_LIMITED
    CONTEXT_LENGTH_EXCEEDED = error_pb2.CODE_CONTEXT_LENGTH_EXCEEDED
    UNAVAILABLE = error_pb2.CODE_UNAVAILABLE
    OVERLOADED = error_pb2.CODE_OVERLOADED
    DEADLINE_EXCEEDED = error_pb2.CODE_DEADLINE_EXCEEDED
    CANCELLED = error_pb2.CODE_CANCELLED
    CONFLICT = error_pb2.CODE_CONFLICT
    NOT_FOUND = error_pb2.CODE_NOT_FOUND
    INTERNAL = error_pb2.CODE_INTERNAL


_GRPC_STATUS = {
    Code.INVALID_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    Code.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Code.PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
    Code.INSUFFICIENT_CREDITS: grpc.StatusCode.FAILED_PRECONDITION,
    Code.MODEL_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Code.RATE_LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Code.CONTEXT_LENGTH_EXCEEDED: grpc.StatusCode.INVALID_ARGUMENT,
    Code.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Code.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Code.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
    Code.CANCELLED: grpc.StatusCode.CANCELLED,
    Code.CONFLICT: grpc.StatusCode.ALREADY_EXISTS,
    Code.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Code.INTERNAL: grpc.StatusCode.INTERNAL,
}

# What a gRPC failure means when the peer did not say more: a broken transport or an expired deadline.
_TRANSPORT_CODES = {
    grpc.StatusCode.DEADLINE_EXCEEDED: Code.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED: Code.CANCELLED,
    grpc.StatusCode.UNAVAILABLE: Code.UNAVAILABLE,
}


class MeshError(Exception):
    """A refusal or failure with a decided meaning.

    `message` is written for the API user and says how to fix it; `param` names the request field at fault;
    `retry_after` is in seconds, 0 if unknown. None of them ever holds a prompt, an answer or a key.
    """

    def __init__(self, code: Code, message: str, *, param: str = "", retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.retry_after = retry_after

    def __repr__(self) -> str:
        return f"MeshError({self.code.name}, {self.message!r})"

    def reworded(self, message: str, param: str) -> MeshError:
        """Returns the same error in the words of another request that it is about as well."""
        return MeshError(self.code, message, param=param, retry_after=self.retry_after)

    @property
    def grpc_status(self) -> grpc.StatusCode:
        """The gRPC status that stands beside the error on a unary call."""
        return _GRPC_STATUS[self.code]

    def to_proto(self) -> error_pb2.Error:
        """Returns the wire form."""
        return error_pb2.Error(
            code=error_pb2.Code.ValueType(int(self.code)),
            message=self.message,
            param=self.param,
            retry_after_ms=round(self.retry_after * 1000),
        )

    @classmethod
    def from_proto(cls, error: error_pb2.Error) -> MeshError:
        """Reads the wire form; a code that this version does not know becomes INTERNAL."""
        try:
            code = Code(error.code)
        except ValueError:
            code = Code.INTERNAL
        return cls(code, error.message, param=error.param, retry_after=error.retry_after_ms / 1000)

    @classmethod
    def from_rpc(cls, error: grpc.aio.AioRpcError) -> MeshError:
        """Reads what a failed unary call carries: the peer's own error, else the transport's."""
        for key, value in error.trailing_metadata() or ():
            if key == ERROR_METADATA_KEY and isinstance(value, bytes):
                return cls.from_proto(error_pb2.Error.FromString(value))
        code = _TRANSPORT_CODES.get(error.code(), Code.INTERNAL)
        return cls(code, f"an internal call failed: {error.code().name}")

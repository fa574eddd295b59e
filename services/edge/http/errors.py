"""Translates `MeshError` into OpenAI's error bodies: the one place where domain codes become HTTP statuses."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec
from aiohttp import web

from services.common.errors import Code, MeshError


class ErrorDetail(msgspec.Struct, frozen=True):
    """What is wrong; `param` names the field at fault, if it is one."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(msgspec.Struct, frozen=True):
    """Every refusal and failure, in OpenAI's shape."""

    error: ErrorDetail


class _Shape(NamedTuple):
    status: int
    type: str
    code: str | None


_SHAPES = {
    Code.INVALID_REQUEST: _Shape(400, "invalid_request_error", "invalid_request"),
    Code.UNAUTHENTICATED: _Shape(401, "invalid_request_error", "invalid_api_key"),
    Code.PERMISSION_DENIED: _Shape(403, "invalid_request_error", "permission_denied"),
    Code.INSUFFICIENT_CREDITS: _Shape(402, "insufficient_quota", "insufficient_credits"),
    Code.MODEL_NOT_FOUND: _Shape(404, "invalid_request_error", "model_not_found"),
    Code.RATE_LIMITED: _Shape(429, "requests", "rate_limit_exceeded"),
    Code.CONTEXT_LENGTH_EXCEEDED: _Shape(400, "invalid_request_error", "context_length_exceeded"),
    Code.UNAVAILABLE: _Shape(503, "server_error", "service_unavailable"),
    Code.OVERLOADED: _Shape(503, "server_error", "overloaded"),
    Code.DEADLINE_EXCEEDED: _Shape(503, "server_error", "timeout"),
    Code.CANCELLED: _Shape(503, "server_error", "cancelled"),
    Code.CONFLICT: _Shape(409, "invalid_request_error", "conflict"),
    Code.NOT_FOUND: _Shape(404, "invalid_request_error", "not_found"),
    Code.INTERNAL: _Shape(500, "server_error", "internal_error"),
}
_BODY_TOO_LARGE = _Shape(413, "invalid_request_error", "request_too_large")
_MALFORMED_HTTP = _Shape(400, "invalid_request_error", "invalid_request")
_SLOW_BODY = _Shape(408, "invalid_request_error", "request_timeout")
_NOT_EXPECTED = _Shape(417, "invalid_request_error", "expectation_failed")
_UNKNOWN_URL = _Shape(404, "invalid_request_error", "unknown_url")
_WRONG_METHOD = _Shape(405, "invalid_request_error", "method_not_allowed")


def error_body(error: MeshError) -> bytes:
    """Returns `{"error": {message, type, param, code}}` as JSON, for bodies and stream frames alike."""
    return _body(_SHAPES[error.code], error.message, error.param or None)


def error_response(error: MeshError) -> web.Response:
    """Returns the HTTP response for an error; `retry-after` is in whole seconds, at least 1 where it is known."""
    response = _response(_SHAPES[error.code], error.message, error.param or None)
    if error.retry_after > 0:
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    elif error.code is Code.CONFLICT:
        # OpenAI's SDKs repeat every 409 unless they are told not to; this one stands for ever.
        response.headers["x-should-retry"] = "false"
    elif error.code is Code.UNAUTHENTICATED:
        # RFC 9110, 11.6.1, demands it of every 401.
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def internal_error() -> MeshError:
    """Returns what a client is told of a defect in here, whatever it was; whoever sends it sees to the second part."""
    return MeshError(Code.INTERNAL, "An internal error occurred. Nothing was charged. Report the x-request-id.")


def body_too_large(limit: int, *, beside_images: bool = False) -> web.Response:
    """Returns the response to a body of more than `limit` bytes; `beside_images` says that its images do not count."""
    message = f"The request body is larger than the limit of {limit} bytes. Send less."
    if beside_images:
        message = f"The request body has more than {limit} bytes beside images as data: URLs. Send less text."
    return _response(_BODY_TOO_LARGE, message, None)


def slow_body(seconds: float) -> web.Response:
    """Returns the response to a body that took more than `seconds` to arrive."""
    return _response(_SLOW_BODY, f"The request body did not arrive within {seconds:g} s. Send it faster.", None)


def broken_body() -> web.Response:
    """Returns the response to a body that ends too early or is not what its headers say."""
    message = "The request body is incomplete, or not encoded as its Content-Encoding says. Send it again."
    return _response(_MALFORMED_HTTP, message, None)


def not_expected() -> web.Response:
    """Returns the response to an Expect header with anything but 100-continue."""
    return _response(_NOT_EXPECTED, "The header Expect may only be '100-continue' here.", None)


def malformed_http() -> web.Response:
    """Returns the response to what is not HTTP."""
    message = "This is not a valid HTTP/1.1 request, or its first line or one of its headers is too long."
    return _response(_MALFORMED_HTTP, message, None)


def unknown_url(method: str, path: str) -> web.Response:
    """Returns the response to a path that is not served."""
    message = f"Unknown request URL: {method} {path}. Check the URL for typos; the base URL ends in /v1."
    return _response(_UNKNOWN_URL, message, None)


def wrong_method(method: str, path: str, allowed: str) -> web.Response:
    """Returns the response to a method that a path does not take."""
    response = _response(_WRONG_METHOD, f"{path} does not take {method}; use {allowed}.", None)
    response.headers["Allow"] = allowed
    return response


def _response(shape: _Shape, message: str, param: str | None) -> web.Response:
    return web.Response(status=shape.status, body=_body(shape, message, param), content_type="application/json")


def _body(shape: _Shape, message: str, param: str | None) -> bytes:
    return msgspec.json.encode(ErrorBody(ErrorDetail(message, shape.type, param, shape.code)))

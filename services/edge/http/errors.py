"""Decides what is answered in place of a success: the one place where domain codes become HTTP statuses.

What a refusal says is decided here, and how it is written by the format of its route; OpenAI's is that of most.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
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


class Shape(NamedTuple):
    """What a refusal is, in OpenAI's words."""

    status: int
    type: str
    code: str | None


_SHAPES = {
    Code.INVALID_REQUEST: Shape(400, "invalid_request_error", "invalid_request"),
    Code.UNAUTHENTICATED: Shape(401, "invalid_request_error", "invalid_api_key"),
    Code.PERMISSION_DENIED: Shape(403, "invalid_request_error", "permission_denied"),
    # The type is OpenAI's for a billing limit that is reached. aider repeats a 402 of any other for a minute.
    Code.INSUFFICIENT_CREDITS: Shape(402, "invalid_request_error", "insufficient_credits"),
    Code.MODEL_NOT_FOUND: Shape(404, "invalid_request_error", "model_not_found"),
    Code.RATE_LIMITED: Shape(429, "requests", "rate_limit_exceeded"),
    Code.CONTEXT_LENGTH_EXCEEDED: Shape(400, "invalid_request_error", "context_length_exceeded"),
    Code.UNAVAILABLE: Shape(503, "server_error", "service_unavailable"),
    Code.OVERLOADED: Shape(503, "server_error", "overloaded"),
    Code.DEADLINE_EXCEEDED: Shape(503, "server_error", "timeout"),
    Code.CANCELLED: Shape(503, "server_error", "cancelled"),
    Code.CONFLICT: Shape(409, "invalid_request_error", "conflict"),
    Code.NOT_FOUND: Shape(404, "invalid_request_error", "not_found"),
    Code.INTERNAL: Shape(500, "server_error", "internal_error"),
}
# What stands for ever, or until somebody pays or sends another key. The SDKs of OpenAI and Anthropic repeat every 409
# unless they are told not to, Claude Code repeats a 401 for minutes, and clients that repeat whatever they do not know
# may listen to it too.
_FINAL = frozenset({Code.CONFLICT, Code.INSUFFICIENT_CREDITS, Code.UNAUTHENTICATED})
_BODY_TOO_LARGE = Shape(413, "invalid_request_error", "request_too_large")
_MALFORMED_HTTP = Shape(400, "invalid_request_error", "invalid_request")
_SLOW_BODY = Shape(408, "invalid_request_error", "request_timeout")
_NOT_EXPECTED = Shape(417, "invalid_request_error", "expectation_failed")
_UNKNOWN_URL = Shape(404, "invalid_request_error", "unknown_url")
_WRONG_METHOD = Shape(405, "invalid_request_error", "method_not_allowed")


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is answered in place of a success; `shape` has OpenAI's words for it."""

    shape: Shape
    message: str
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    # What the body has beside the error, whatever the format of that is.
    members: Mapping[str, object] = field(default_factory=dict)


class RefusedError(MeshError):
    """An error that knows how it is answered."""

    def __init__(self, code: Code, refusal: Refusal) -> None:
        super().__init__(code, refusal.message, param=refusal.param or "")
        self.refusal = refusal

    def reworded(self, message: str, param: str) -> RefusedError:
        """Returns the same error, answered in the same way, in other words."""
        return RefusedError(self.code, replace(self.refusal, message=message, param=param or None))


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorFormat:
    """How a route writes its errors."""

    # The type of a body, for the document.
    body: type[msgspec.Struct]
    # Makes the body for the request of this id.
    write: Callable[[Refusal, str], msgspec.Struct]
    # What other statuses it has in place of the usual ones.
    statuses: Mapping[int, int] = field(default_factory=dict)
    # The headers that name the request, in all of its responses.
    id_headers: tuple[str, ...] = ("x-request-id",)

    def status(self, usual: int) -> int:
        """Returns the status in place of the usual one."""
        return self.statuses.get(usual, usual)


def _openai_body(refusal: Refusal, _request_id: str) -> ErrorBody:
    shape = refusal.shape
    return ErrorBody(ErrorDetail(refusal.message, shape.type, refusal.param, shape.code))


OPENAI_ERRORS = ErrorFormat(body=ErrorBody, write=_openai_body)


def respond(refusal: Refusal, errors: ErrorFormat = OPENAI_ERRORS, request_id: str = "") -> web.Response:
    """Returns the HTTP response for a refusal of the request with this id."""
    body: object = errors.write(refusal, request_id)
    if refusal.members:
        body = {**msgspec.to_builtins(body), **refusal.members}
    return web.Response(
        status=errors.status(refusal.shape.status),
        body=msgspec.json.encode(body),
        content_type="application/json",
        headers=refusal.headers,
    )


def error_body(error: MeshError, errors: ErrorFormat = OPENAI_ERRORS, request_id: str = "") -> bytes:
    """Returns an error as JSON, by default `{"error": {message, type, param, code}}`, for the events of streams."""
    return msgspec.json.encode(errors.write(refused(error), request_id))


def error_response(error: MeshError) -> web.Response:
    """Returns the HTTP response for an error, in OpenAI's format."""
    return respond(refused(error))


def refused(error: MeshError) -> Refusal:
    """Returns the refusal for an error; `retry-after` is in whole seconds, at least 1 where it is known."""
    if isinstance(error, RefusedError):
        return error.refusal
    headers = {}
    if error.retry_after > 0:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    elif error.code in _FINAL:
        headers["x-should-retry"] = "false"
    if error.code is Code.UNAUTHENTICATED:
        # RFC 9110, 11.6.1, demands it of every 401.
        headers["WWW-Authenticate"] = "Bearer"
    return Refusal(_SHAPES[error.code], error.message, error.param or None, headers)


def internal_error() -> MeshError:
    """Returns what a client is told of a defect in here, whatever it was; whoever sends it sees to the second part."""
    return MeshError(Code.INTERNAL, "An internal error occurred. Nothing was charged. Report the x-request-id.")


def body_too_large(limit: int, *, beside_images: bool = False) -> Refusal:
    """Returns the refusal of a body of more than `limit` bytes; `beside_images` says that its images do not count."""
    message = f"The request body is larger than the limit of {limit} bytes. Send less."
    if beside_images:
        message = f"The request body has more than {limit} bytes beside its images. Send less text."
    return Refusal(_BODY_TOO_LARGE, message)


def slow_body(seconds: float) -> Refusal:
    """Returns the refusal of a body that took more than `seconds` to arrive."""
    return Refusal(_SLOW_BODY, f"The request body did not arrive within {seconds:g} s. Send it faster.")


def broken_body() -> Refusal:
    """Returns the refusal of a body that ends too early or is not what its headers say."""
    message = "The request body is incomplete, or not encoded as its Content-Encoding says. Send it again."
    return Refusal(_MALFORMED_HTTP, message)


def not_expected() -> Refusal:
    """Returns the refusal of an Expect header with anything but 100-continue."""
    return Refusal(_NOT_EXPECTED, "The header Expect may only be '100-continue' here.")


def malformed_http() -> Refusal:
    """Returns the refusal of what is not HTTP."""
    message = "This is not a valid HTTP/1.1 request, or its first line or one of its headers is too long."
    return Refusal(_MALFORMED_HTTP, message)


def unknown_url(method: str, path: str) -> Refusal:
    """Returns the refusal of a path that is not served."""
    message = f"Unknown request URL: {method} {path}. Check the URL for typos; the base URL ends in /v1."
    return Refusal(_UNKNOWN_URL, message)


def wrong_method(method: str, path: str, allowed: str) -> Refusal:
    """Returns the refusal of a method that a path does not take."""
    return Refusal(_WRONG_METHOD, f"{path} does not take {method}; use {allowed}.", headers={"Allow": allowed})

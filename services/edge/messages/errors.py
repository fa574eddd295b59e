"""Errors as Anthropic's clients know them: https://platform.claude.com/docs/en/api/errors."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from services.edge.http.errors import ErrorFormat, Refusal

# By their usual status. Whatever else is the client's fault is an invalid request.
_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
}


class AnthropicErrorCode(Struct, frozen=True):
    """What is wrong, for programs that act on it."""

    error_code: str


class AnthropicErrorDetail(Struct, frozen=True):
    """What is wrong; the message names the field at fault, if it is one."""

    type: str
    message: str
    details: AnthropicErrorCode | UnsetType = UNSET


class AnthropicErrorBody(Struct, frozen=True):
    """Every refusal and failure, in Anthropic's shape."""

    error: AnthropicErrorDetail
    request_id: str
    type: Literal["error"] = "error"


# By the field at fault: by this code, Anthropic's SDKs know that they have to send the whole conversation instead.
_DETAILS = {"thread": AnthropicErrorCode("thread_unsupported_request")}


def _body(refusal: Refusal, request_id: str) -> AnthropicErrorBody:
    kind = _TYPES.get(refusal.shape.status, "invalid_request_error")
    detail = AnthropicErrorDetail(kind, refusal.message, _DETAILS.get(refusal.param or "", UNSET))
    return AnthropicErrorBody(detail, request_id)


ANTHROPIC_ERRORS = ErrorFormat(
    body=AnthropicErrorBody,
    write=_body,
    # What its clients wait for and try again.
    statuses={503: 529},
    # The second is the one that they show.
    id_headers=("x-request-id", "request-id"),
)

"""How a call to etcd can fail, one class per thing that a caller can do about it."""

from __future__ import annotations

import grpc

# Statuses that say nothing about the request, only that this endpoint could not serve it now.
_TRANSIENT = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
}

# etcd reports these as INVALID_ARGUMENT although only the token is at fault; its own Go client renews on them as well.
_TOKEN_FAULTS = {
    "etcdserver: invalid auth token",
    "etcdserver: user name is empty",
    "etcdserver: revision of auth store is old",
}

_WRONG_PASSWORD = "etcdserver: authentication failed, invalid user ID or password"  # noqa: S105 - etcd's error text
_AUTH_DISABLED = "etcdserver: authentication is not enabled"
# etcd reports these as FAILED_PRECONDITION, as it does much else.
_ALREADY_THERE = {"etcdserver: role name already exists", "etcdserver: user name already exists"}


class EtcdError(Exception):
    """etcd refused a call; `code` is the gRPC status. The base of every error here."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code


class EtcdUnavailableError(EtcdError):
    """No endpoint served the call in time; the same call may succeed later."""


class TokenExpiredError(EtcdError):
    """The auth token is unknown to etcd, or none was sent although one is needed; a new one helps."""


class AuthenticationError(EtcdError):
    """The username or the password is wrong."""


class AuthenticationDisabledError(EtcdError):
    """etcd was asked for a token but does not use authentication."""


class AlreadyThereError(EtcdError):
    """The user or the role exists already."""


class LeaseNotFoundError(EtcdError):
    """The lease has expired or was revoked."""


class RevisionUnavailableError(EtcdError):
    """The revision asked for was compacted away, or is one that etcd has not reached."""


def from_rpc(error: grpc.aio.AioRpcError) -> EtcdError:
    """Returns the typed form of a failed call."""
    code, details = error.code(), error.details() or ""
    return _kind(code, details)(code, details)


def _kind(code: grpc.StatusCode, details: str) -> type[EtcdError]:
    by_details = {_WRONG_PASSWORD: AuthenticationError, _AUTH_DISABLED: AuthenticationDisabledError}
    if kind := by_details.get(details):
        return kind
    if details in _ALREADY_THERE:
        return AlreadyThereError
    if code is grpc.StatusCode.UNAUTHENTICATED or details in _TOKEN_FAULTS:
        return TokenExpiredError
    if code in _TRANSIENT:
        return EtcdUnavailableError
    by_code = {
        grpc.StatusCode.NOT_FOUND: LeaseNotFoundError,
        grpc.StatusCode.OUT_OF_RANGE: RevisionUnavailableError,
    }
    return by_code.get(code, EtcdError)

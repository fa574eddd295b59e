from __future__ import annotations

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from services.common.etcd import errors


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader", errors.EtcdUnavailableError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", errors.EtcdUnavailableError),
        (grpc.StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token", errors.TokenExpiredError),
        (grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: user name is empty", errors.TokenExpiredError),
        (grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: revision of auth store is old", errors.TokenExpiredError),
        (
            grpc.StatusCode.INVALID_ARGUMENT,
            "etcdserver: authentication failed, invalid user ID or password",
            errors.AuthenticationError,
        ),
        (
            grpc.StatusCode.FAILED_PRECONDITION,
            "etcdserver: authentication is not enabled",
            errors.AuthenticationDisabledError,
        ),
        (grpc.StatusCode.NOT_FOUND, "etcdserver: requested lease not found", errors.LeaseNotFoundError),
        (
            grpc.StatusCode.OUT_OF_RANGE,
            "etcdserver: mvcc: required revision has been compacted",
            errors.RevisionUnavailableError,
        ),
        (grpc.StatusCode.PERMISSION_DENIED, "etcdserver: permission denied", errors.EtcdError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", errors.EtcdError),
    ],
)
def test_each_refusal_has_its_class(code: grpc.StatusCode, details: str, kind: type[errors.EtcdError]) -> None:
    error = errors.from_rpc(AioRpcError(code, Metadata(), Metadata(), details))
    assert type(error) is kind
    assert error.code is code
    assert str(error) == f"{code.name}: {details}"

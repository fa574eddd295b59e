from __future__ import annotations

import grpc
import pytest

from services.common.errors import ERROR_METADATA_KEY, Code, MeshError
from tiermesh.common.v1 import error_pb2


def rpc_error(status: grpc.StatusCode, **metadata: bytes | str) -> grpc.aio.AioRpcError:
    pairs = ((key.replace("_", "-"), value) for key, value in metadata.items())
    return grpc.aio.AioRpcError(status, grpc.aio.Metadata(), grpc.aio.Metadata(*pairs), details="peer details")


@pytest.mark.parametrize("code", Code)
def test_every_error_survives_the_wire(code: Code) -> None:
    error = MeshError(code, "try a smaller image", param="messages[0]", retry_after=1.5)
    wire = error_pb2.Error.FromString(error.to_proto().SerializeToString())
    back = MeshError.from_proto(wire)
    assert (back.code, back.message, back.param, back.retry_after) == (code, "try a smaller image", "messages[0]", 1.5)


def test_the_contract_and_the_code_list_the_same_errors() -> None:
    contract = {name.removeprefix("CODE_"): number for name, number in error_pb2.Code.items()}
    assert contract.pop("UNSPECIFIED") == 0
    assert {code.name: code.value for code in Code} == contract


@pytest.mark.parametrize("code", Code)
def test_every_error_has_a_grpc_status_that_is_a_failure(code: Code) -> None:
    assert MeshError(code, "").grpc_status is not grpc.StatusCode.OK


def test_a_code_of_a_newer_version_is_an_internal_error() -> None:
    error = MeshError.from_proto(error_pb2.Error(code=error_pb2.Code.ValueType(9999), message="something new"))
    assert (error.code, error.message) == (Code.INTERNAL, "something new")


def test_the_error_of_the_peer_is_read_from_the_metadata() -> None:
    sent = MeshError(Code.RATE_LIMITED, "slow down", retry_after=0.25)
    metadata = {ERROR_METADATA_KEY.replace("-", "_"): sent.to_proto().SerializeToString()}
    error = MeshError.from_rpc(rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, other=b"x", **metadata))
    assert (error.code, error.message, error.retry_after) == (Code.RATE_LIMITED, "slow down", 0.25)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (grpc.StatusCode.UNAVAILABLE, Code.UNAVAILABLE),
        (grpc.StatusCode.DEADLINE_EXCEEDED, Code.DEADLINE_EXCEEDED),
        (grpc.StatusCode.CANCELLED, Code.CANCELLED),
        (grpc.StatusCode.UNIMPLEMENTED, Code.INTERNAL),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Code.INTERNAL),
    ],
)
def test_a_failure_of_the_transport_has_a_meaning_too(status: grpc.StatusCode, code: Code) -> None:
    error = MeshError.from_rpc(rpc_error(status))
    assert error.code is code
    assert error.message == f"an internal call failed: {status.name}"


def test_an_error_shows_itself_by_name() -> None:
    error = MeshError(Code.NOT_FOUND, "no such key")
    assert (str(error), repr(error)) == ("no such key", "MeshError(NOT_FOUND, 'no such key')")

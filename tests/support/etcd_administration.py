"""Does what an `etcdctl` command line says, over etcd's Auth interface: the program itself is not installed for tests.

The messages are written by hand, as protobuf's wire format has them (https://protobuf.dev/programming-guides/encoding/),
because the mesh's own trimmed protos have no use for them. Source of the numbers:
https://github.com/etcd-io/etcd/blob/v3.5.16/api/etcdserverpb/rpc.proto and authpb/auth.proto.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc

from services.common.etcd.client import prefix_range
from services.common.rpc.channels import channel_opener
from services.common.settings import TlsSettings
from tests.support.deadlines import stretched

_PERMISSIONS = {"read": 0, "write": 1, "readwrite": 2}


def _bytes(number: int, value: bytes) -> bytes:
    """Returns a field of bytes, of which none here is longer than 127."""
    return bytes([number << 3 | 2, len(value)]) + value


def _number(number: int, value: int) -> bytes:
    return bytes([number << 3, value])


def _request(command: Sequence[str]) -> tuple[str, bytes]:
    """Returns the rpc and its request."""
    match command:
        case ["role", "add", name]:
            return "RoleAdd", _bytes(1, name.encode())
        case ["role", "grant-permission", name, *what]:
            return "RoleGrantPermission", _bytes(1, name.encode()) + _bytes(2, _permission(what))
        case ["user", "add", who, *options]:
            name, _, password = who.partition(":")
            without = _bytes(3, _number(1, 1)) if options == ["--no-password"] else b""
            return "UserAdd", _bytes(1, name.encode()) + _bytes(2, password.encode()) + without
        case ["user", "grant-role", name, role]:
            return "UserGrantRole", _bytes(1, name.encode()) + _bytes(2, role.encode())
        case ["user", "list"]:
            return "UserList", b""
        case ["auth", "enable"]:
            return "AuthEnable", b""
    raise AssertionError(f"unknown: {command}")


def _permission(what: Sequence[str]) -> bytes:
    kind, key = what[-2:]
    start, end = prefix_range(key.encode())
    return _number(1, _PERMISSIONS[kind]) + _bytes(2, start) + (_bytes(3, end) if "--prefix=true" in what else b"")


async def administer(endpoint: str, tls: TlsSettings, *command: str) -> grpc.StatusCode:
    """Makes the call that `etcdctl` would make for this command, and returns what became of it."""
    rpc, request = _request(list(command))
    async with channel_opener(tls)(endpoint) as channel:
        try:
            call: Any = channel.unary_unary(f"/etcdserverpb.Auth/{rpc}")
            await call(request, timeout=stretched(10))
        except grpc.aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK

"""The rpcs of etcd's v3 interface that the client uses, by path, with their messages.

The paths are etcd's own; the messages are a trimmed copy in a package of ours, so no generated stub could name them.
Source: https://etcd.io/docs/v3.5/dev-guide/api_reference_v3/.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from tiermesh.etcd.v1 import etcd_pb2

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)


@dataclass(frozen=True)
class Method(Generic[RequestT, ResponseT]):
    """One rpc: where it is and what it takes and gives."""

    path: str
    request: type[RequestT]
    response: type[ResponseT]


RANGE = Method("/etcdserverpb.KV/Range", etcd_pb2.RangeRequest, etcd_pb2.RangeResponse)
PUT = Method("/etcdserverpb.KV/Put", etcd_pb2.PutRequest, etcd_pb2.PutResponse)
DELETE_RANGE = Method("/etcdserverpb.KV/DeleteRange", etcd_pb2.DeleteRangeRequest, etcd_pb2.DeleteRangeResponse)
LEASE_GRANT = Method("/etcdserverpb.Lease/LeaseGrant", etcd_pb2.LeaseGrantRequest, etcd_pb2.LeaseGrantResponse)
LEASE_REVOKE = Method("/etcdserverpb.Lease/LeaseRevoke", etcd_pb2.LeaseRevokeRequest, etcd_pb2.LeaseRevokeResponse)
# A stream of one request is a unary call on the wire, and etcd answers it as such (its HTTP gateway calls it that way).
# Called so, a keep-alive has the deadline, fail-over and token renewal of every other call.
LEASE_KEEP_ALIVE = Method(
    "/etcdserverpb.Lease/LeaseKeepAlive", etcd_pb2.LeaseKeepAliveRequest, etcd_pb2.LeaseKeepAliveResponse
)
WATCH = Method("/etcdserverpb.Watch/Watch", etcd_pb2.WatchRequest, etcd_pb2.WatchResponse)
AUTHENTICATE = Method("/etcdserverpb.Auth/Authenticate", etcd_pb2.AuthenticateRequest, etcd_pb2.AuthenticateResponse)
ROLE_ADD = Method("/etcdserverpb.Auth/RoleAdd", etcd_pb2.AuthRoleAddRequest, etcd_pb2.AuthRoleAddResponse)
USER_ADD = Method("/etcdserverpb.Auth/UserAdd", etcd_pb2.AuthUserAddRequest, etcd_pb2.AuthUserAddResponse)
USER_GRANT_ROLE = Method(
    "/etcdserverpb.Auth/UserGrantRole", etcd_pb2.AuthUserGrantRoleRequest, etcd_pb2.AuthUserGrantRoleResponse
)
AUTH_ENABLE = Method("/etcdserverpb.Auth/AuthEnable", etcd_pb2.AuthEnableRequest, etcd_pb2.AuthEnableResponse)
STATUS = Method("/etcdserverpb.Maintenance/Status", etcd_pb2.StatusRequest, etcd_pb2.StatusResponse)

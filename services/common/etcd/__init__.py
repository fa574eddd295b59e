"""A client of etcd's v3 interface for asyncio: keys, a watch that heals itself, and registration under a lease."""

from services.common.etcd.binary import EtcdBinaryError, find_etcd
from services.common.etcd.client import ROOT, EtcdClient, Lease, Listing, Status
from services.common.etcd.configured import etcd_client
from services.common.etcd.errors import (
    AuthenticationError,
    EtcdError,
    EtcdUnavailableError,
    LeaseNotFoundError,
    RevisionUnavailableError,
)
from services.common.etcd.lease import Registration
from services.common.etcd.watch import Delete, Put, Snapshot, WatchEvent, watch_prefix

__all__ = [
    "ROOT",
    "AuthenticationError",
    "Delete",
    "EtcdBinaryError",
    "EtcdClient",
    "EtcdError",
    "EtcdUnavailableError",
    "Lease",
    "LeaseNotFoundError",
    "Listing",
    "Put",
    "Registration",
    "RevisionUnavailableError",
    "Snapshot",
    "Status",
    "WatchEvent",
    "etcd_client",
    "find_etcd",
    "watch_prefix",
]

"""What the router can be told: `TIERMESH_ROUTER_<FIELD>`."""

from __future__ import annotations

from services.common.settings import ServiceSettings, TlsSettings
from services.router.routing import Limits


class RouterSettings(ServiceSettings, frozen=True, kw_only=True):
    """The router's settings."""

    # Waiting calls lose nothing when a router goes: an edge asks again elsewhere. So draining is short.
    drain_seconds: float = 5.0
    # Comma-separated host:port of etcd's members.
    etcd_endpoints: str = "127.0.0.1:2379"
    etcd_username: str = ""
    etcd_password: str = ""
    # Mutual TLS towards etcd; all three paths or none.
    etcd_ca_file: str = ""
    etcd_cert_file: str = ""
    etcd_key_file: str = ""
    # Requests that may wait for room in one tier, and how many of them may be one account's.
    queue_limit: int = 2000
    queue_account_limit: int = 500
    # How long a request waits, in seconds, while the router does not know yet whether there is a runner for it.
    settle_seconds: float = 2.0
    # How long a runner that lives but is gone from etcd keeps being chosen, in seconds.
    unregistered_grace_seconds: float = 60.0

    @property
    def limits(self) -> Limits:
        """How many requests may wait and how long."""
        return Limits(queue=self.queue_limit, account=self.queue_account_limit, settle_seconds=self.settle_seconds)

    @property
    def etcd_tls(self) -> TlsSettings:
        """The mutual-TLS files for etcd."""
        return TlsSettings(ca_file=self.etcd_ca_file, cert_file=self.etcd_cert_file, key_file=self.etcd_key_file)

"""What the router can be told: `TIERMESH_ROUTER_<FIELD>`."""

from __future__ import annotations

from services.common.settings import Address, EtcdServiceSettings
from services.router.routing import Limits


class RouterSettings(EtcdServiceSettings, frozen=True, kw_only=True):
    """The router's settings."""

    listen: Address = "127.0.0.1:7103"
    # Waiting calls lose nothing when a router goes: an edge asks again elsewhere. So draining is short.
    drain_seconds: float = 5.0
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

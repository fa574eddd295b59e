"""The settings of the router: `TIERMESH_ROUTER_<FIELD>`."""

from __future__ import annotations

from services.common.settings import Address, EtcdServiceSettings
from services.router.routing import Limits


class RouterSettings(EtcdServiceSettings, frozen=True, kw_only=True):
    """The settings of one router process."""

    # Where the service listens, host:port.
    listen: Address = "127.0.0.1:7103"
    # How long the router drains after SIGTERM. It is short, because waiting calls lose nothing: an edge asks another
    # router. Unit: seconds.
    drain_seconds: float = 5.0
    # How many requests may wait for one tier.
    queue_limit: int = 2000
    # How many of them may belong to one account.
    queue_account_limit: int = 500
    # How long a request waits while a new router does not know yet whether there is a runner for it. Unit: seconds.
    settle_seconds: float = 2.0
    # The most slots of one runner that are believed, whatever it advertises.
    most_slots: int = 256
    # How long the router keeps choosing a runner that is alive but no longer registered in etcd. Unit: seconds.
    unregistered_grace_seconds: float = 60.0

    @property
    def limits(self) -> Limits:
        """How many requests may wait and how long."""
        return Limits(queue=self.queue_limit, account=self.queue_account_limit, settle_seconds=self.settle_seconds)

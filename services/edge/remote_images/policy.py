"""What the operator allows to be fetched."""

from __future__ import annotations

from dataclasses import dataclass

from services.common.settings import SettingsError, split_list
from services.edge.remote_images.addresses import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchPolicy:
    """Which URLs are fetched, and how much each may cost. Whatever it says, only public addresses are reached."""

    enabled: bool = True
    # Host names, lower case; ".example.com" stands for all names below. Empty means any host.
    hosts: tuple[str, ...] = ()
    ports: frozenset[int] = frozenset({443})
    # Also http:, which anyone on the way can read and change.
    http: bool = False
    # Networks that may be reached although they are not public. Whoever has a key can then reach them too.
    networks: tuple[Network, ...] = ()
    # From the first look at the URL to the last byte, redirects included.
    seconds: float = 10.0
    redirects: int = 3

    def allows_host(self, host: str) -> bool:
        """Whether the operator lets this host, in lower case, be asked."""
        return not self.hosts or any(
            host == name or (name.startswith(".") and host.endswith(name)) for name in self.hosts
        )


def read_hosts(remote_images: str) -> tuple[bool, tuple[str, ...]]:
    """Reads "off", "any" or a list of host names; returns whether any URL is fetched, and from which hosts only."""
    if remote_images in {"off", "any"}:
        return remote_images == "any", ()
    hosts = tuple(name.lower() for name in split_list(remote_images))
    if not hosts or any("/" in name or ":" in name or "*" in name for name in hosts):
        raise SettingsError(
            "TIERMESH_EDGE_REMOTE_IMAGES must be off, any, or a comma-separated list of host names; "
            ".example.com stands for all names below it"
        )
    return True, hosts

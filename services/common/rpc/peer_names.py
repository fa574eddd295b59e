"""The names by which the parts of a mesh know each other in certificates.

Every certificate of a part carries `tiermesh-<role>` as a DNS name, whatever other names it has: servers are checked
for it wherever they are reached, so that pods addressed by IP need no IP in their certificates, and callers are told
apart by it. Only DNS names count, and only as a whole: a common name, or `tiermesh-edge` with another domain behind it,
may be anybody's.
"""

from __future__ import annotations

from collections.abc import Iterable

# Who calls or is called. "operator" is whoever runs the management commands.
ROLES = ("edge", "console", "operator-console", "auth", "billing", "router", "runner", "payments", "operator")


def peer_name(role: str, domain: str = "") -> str:
    """Returns the DNS name of a part, such as "tiermesh-edge" or, in a domain, "tiermesh-edge.mesh.example.org"."""
    return f"tiermesh-{role}.{domain}" if domain else f"tiermesh-{role}"


def caller_names(entries: Iterable[str], domain: str = "") -> tuple[str, ...]:
    """Returns the DNS names that roles and whole DNS names stand for; raises ValueError for a typing error."""
    return tuple(_caller_name(entry, domain) for entry in entries)


def _caller_name(entry: str, domain: str) -> str:
    if entry in ROLES:
        return peer_name(entry, domain)
    if "." in entry or entry.startswith("tiermesh-"):
        return entry.lower()
    raise ValueError(f"{entry!r} is neither one of {', '.join(ROLES)} nor a whole DNS name")

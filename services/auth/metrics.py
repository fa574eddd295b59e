"""What is counted about authentication."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

AUTHENTICATIONS = Counter(
    "tiermesh_auth_authentications_total",
    "Authenticate calls by result: allowed, unauthenticated or rate_limited.",
    ["result"],
)
KEYS = Gauge("tiermesh_auth_keys", "Keys held in memory, revoked and expired ones included.")

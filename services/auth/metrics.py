"""What is counted about authentication."""

from __future__ import annotations

from prometheus_client import Gauge

from services.common.telemetry.metrics import Counter

AUTHENTICATIONS = Counter(
    "tiermesh_auth_authentications_total",
    "Authenticate calls by result: allowed, unauthenticated, rate_limited or unavailable.",
    ["result"],
)
LOOKUPS = Counter(
    "tiermesh_auth_key_lookups_total",
    "Keys that were not in memory and were read from the database, by result: found, unknown or unavailable.",
    ["result"],
)
KEYS = Gauge("tiermesh_auth_keys", "Keys held in memory, revoked and expired ones included until they are pruned.")
STALENESS = Gauge(
    "tiermesh_auth_staleness_seconds", "How long ago the keys in memory are known to have been those of the database."
)
LIMITER_FAILURES = Counter(
    "tiermesh_auth_rate_limit_failures_total", "Times that the shared rate limits failed or were too slow."
).labels()
LOCAL_LIMITS = Counter(
    "tiermesh_auth_local_rate_limits_total",
    "Requests limited by this replica alone because the shared rate limits could not be reached.",
).labels()

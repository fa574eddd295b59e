"""What is counted about money."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

CREDITS = Counter("tiermesh_billing_credits_total", "Credits that were moved.", ["movement"])
REFUSALS = Counter("tiermesh_billing_refusals_total", "Calls that were refused or failed.", ["code"])
OPEN_HOLDS = Gauge("tiermesh_billing_open_holds", "Holds that are open, as the sweeper last saw them.")
EXPIRED_HOLDS = Counter("tiermesh_billing_expired_holds_total", "Holds that outlived their edge and were released.")
WAITING = Gauge("tiermesh_billing_waiting", "Calls that wait for a transaction.")
COMMIT_SECONDS = Histogram(
    "tiermesh_billing_commit_seconds",
    "Time of one transaction, from its first statement to its commit.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
COMMIT_SIZE = Histogram(
    "tiermesh_billing_commit_operations",
    "Operations in one transaction.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)
COMMIT_FAILURES = Counter("tiermesh_billing_commit_failures_total", "Transactions that failed.")
VIOLATIONS = Gauge("tiermesh_billing_audit_violations", "Violations that the last audit found.")

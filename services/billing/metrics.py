"""What is counted about money."""

from __future__ import annotations

from prometheus_client import Gauge

from services.common.telemetry.metrics import Counter, Histogram

CREDITS = Counter("tiermesh_billing_credits_total", "Credits that were moved.", ["movement"])
# All from the start, so that the first movement of a kind is an increase and not a new series.
for _movement in ("grant", "reserve", "capture", "release", "refund", "deposit", "payout"):
    CREDITS.labels(_movement)
REFUSALS = Counter("tiermesh_billing_refusals_total", "Calls that were refused or failed.", ["code"])
OPEN_HOLDS = Gauge("tiermesh_billing_open_holds", "Holds that are open.")
HELD_CREDITS = Gauge("tiermesh_billing_held_credits", "Credits that open holds set aside.")
OLDEST_HOLD = Gauge("tiermesh_billing_oldest_hold_seconds", "Age of the oldest open hold; 0 without one.")
HOLD_TTL = Gauge("tiermesh_billing_hold_ttl_seconds", "Age at which the sweeper releases a hold.")
SWEPT = Gauge("tiermesh_billing_swept_timestamp_seconds", "When the sweeper last came to its end, Unix time.")
EXPIRED_HOLDS = Counter(
    "tiermesh_billing_expired_holds_total", "Holds that outlived their edge and were released."
).labels()
WAITING = Gauge("tiermesh_billing_waiting", "Calls that wait for a transaction.")
COMMIT_SECONDS = Histogram(
    "tiermesh_billing_commit_seconds",
    "Time of one transaction, from its first statement to its commit.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
).labels()
COMMIT_SIZE = Histogram(
    "tiermesh_billing_commit_operations",
    "Operations in one transaction.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
).labels()
COMMIT_FAILURES = Counter("tiermesh_billing_commit_failures_total", "Transactions that failed.").labels()
VIOLATIONS = Gauge("tiermesh_billing_audit_violations", "Violations that the last audit found.")
IMBALANCE = Gauge(
    "tiermesh_billing_ledger_imbalance_credits", "Sum of all entries of the ledger at the last audit; 0 if it is sound."
)
AUDITED = Gauge("tiermesh_billing_audited_timestamp_seconds", "When the ledger was last audited, Unix time.")
FULLY_AUDITED = Gauge(
    "tiermesh_billing_fully_audited_timestamp_seconds", "When the whole ledger was last audited, Unix time; 0 if never."
)

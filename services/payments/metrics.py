"""What is counted about the watchers of a chain."""

from __future__ import annotations

from prometheus_client import Gauge

from services.common.telemetry.metrics import Counter

LAG = Gauge("tiermesh_payments_lag_blocks", "Final blocks that a watcher has not read.", ["watcher"])
READ = Gauge(
    "tiermesh_payments_read_timestamp_seconds", "When a watcher last had nothing left to read, Unix time.", ["watcher"]
)
STOPPED = Gauge("tiermesh_payments_stopped", "1 if a watcher has stopped, because history changed.", ["watcher"])
BLOCKS = Counter("tiermesh_payments_blocks_total", "Blocks that were read.", ["watcher"])
CREDITS = Counter(
    "tiermesh_payments_credits_total", "Credits for deposits that a watcher was the first to find.", ["watcher"]
)
FAILURES = Counter("tiermesh_payments_failures_total", "Attempts to read that failed.", ["watcher"])
PAYMENTS = Gauge("tiermesh_payments_wallet_payments", "Payments of wallets that are not at their end.", ["state"])
GAS = Gauge("tiermesh_payments_relayer_balance", "What the relayer has left for gas, in the chain's own coin.")

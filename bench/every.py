"""The benches that docs/performance.md lists, each by its command."""

from __future__ import annotations

EVERY = (
    "python -m bench",
    "python -m bench.latency",
    "python -m bench.scale.runners --runners 1,10,100",
    "python -m bench.scale.streams --streams 1000,4000",
    "python -m bench.scale.keys --keys 100000,1000000",
    "python -m bench.ledger",
    "python -m bench.large_ledger --entries 10000000 --keep build/ledgers",
    "python -m bench.console",
    "python -m bench.placement",
    "python -m bench.rate_limits",
    "python -m bench.bodies",
)

"""What a runner counts."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

FINISHED = Counter("tiermesh_runner_requests_total", "Requests that have ended, by how.", ["outcome"])
TOKENS = Counter("tiermesh_runner_tokens_total", "Tokens of finished requests.", ["kind"])
SLOTS = Gauge("tiermesh_runner_slots", "Requests that can run at once.")
ACTIVE = Gauge("tiermesh_runner_slots_active", "Requests that run now.")
ENGINE_CPU = Gauge("tiermesh_runner_engine_cpu_seconds", "CPU time of the engine's own work, where it can be told.")

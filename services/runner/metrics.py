"""What a runner counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from prometheus_client import Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.common.telemetry.metrics import Counter, Histogram

INFO = Gauge("tiermesh_runner_info", "Always 1; the labels say what this runner is.", ["tier", "engine"])
FINISHED = Counter("tiermesh_runner_requests_total", "Requests that have ended, by how.", ["outcome"])
COUNTED = Counter(
    "tiermesh_runner_prompts_counted_total", "Prompts whose tokens were counted, without an answer."
).labels()
TOKENS = Counter("tiermesh_runner_tokens_total", "Tokens of finished requests.", ["kind"])
PROMPT_TOKENS = TOKENS.labels("prompt")
COMPLETION_TOKENS = TOKENS.labels("completion")
CACHED_TOKENS = Counter(
    "tiermesh_runner_cached_tokens_total", "Prompt tokens of finished requests that were not read anew but found."
).labels()
FIRST_STEP = Histogram(
    "tiermesh_runner_time_to_first_step_seconds",
    "From the start of a job to the first that it produced: mostly the reading of its prompt.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
).labels()
OUTPUT_TOKEN = Histogram(
    "tiermesh_runner_time_per_output_token_seconds",
    "Mean time between the tokens of one job, after its first.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
).labels()
SLOTS = Gauge("tiermesh_runner_slots", "Requests that can run at once.")
ACTIVE = Gauge("tiermesh_runner_slots_active", "Requests that run now, or were cancelled and have not stopped.")
ENGINE_CPU = Gauge("tiermesh_runner_engine_cpu_seconds", "CPU time of the engine's own work, where it can be told.")


class EngineFacts(Protocol):
    """What an engine on GPUs knows of itself; memory is in bytes of all GPUs together."""

    @property
    def gpus(self) -> tuple[str, ...]:
        """Their names."""

    @property
    def gpu_memory_used(self) -> int:
        """What is taken, by whomever."""

    @property
    def gpu_memory_total(self) -> int:
        """What there is."""

    @property
    def pages_free(self) -> int:
        """Pages of the cache that a new job can take."""

    @property
    def pages_total(self) -> int:
        """Pages of the cache."""

    @property
    def batch_size(self) -> int:
        """Jobs in one pass through the model."""

    @property
    def tokens_per_second(self) -> float:
        """What all jobs together produced in each of the last seconds."""

    @property
    def restarts(self) -> int:
        """Times that the engine began anew after a crash, in this process."""


@runtime_checkable
class KnowsFacts(Protocol):
    """An engine that tells them."""

    def facts(self) -> EngineFacts:
        """Returns the figures of now."""


class FactsCollector(Collector):
    """What an engine tells of its cache and GPUs, asked for when metrics are read."""

    def __init__(self, engine: KnowsFacts) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        """Reads the present figures."""
        facts = self._engine.facts()
        for name, documentation, value in (
            ("batch_size", "Jobs in one pass through the model.", facts.batch_size),
            ("tokens_per_second", "Tokens a second of all jobs, over the last ten seconds.", facts.tokens_per_second),
            ("cache_pages", "Pages of the cache.", facts.pages_total),
            ("cache_pages_free", "Pages of the cache that a new job can take.", facts.pages_free),
            ("gpu_memory_bytes", "Memory of all GPUs.", facts.gpu_memory_total),
            ("gpu_memory_used_bytes", "Memory of all GPUs that is taken.", facts.gpu_memory_used),
        ):
            yield GaugeMetricFamily(f"tiermesh_runner_{name}", documentation, value=value)
        yield CounterMetricFamily(
            "tiermesh_runner_engine_restarts", "Times that the engine began anew after a crash.", value=facts.restarts
        )

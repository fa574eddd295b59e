"""docs/metrics.md says what is exported, and dashboards and rules ask for nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from services.payments import metrics as payments_metrics
from services.runner.engines.exllamav2.facts import Facts
from services.runner.metrics import FactsCollector
from tests.observability.definitions import ROOT, expressions, names_in, panels, rules
from tests.observability.load import round_of_requests
from tests.observability.observed import Observed

# What Prometheus makes itself.
_OF_PROMETHEUS = {"up", "ALERTS"}
_ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram|summary) \|([^|]*)\|", re.MULTILINE)
_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}


class EngineOnGpus:
    """Tells what the ExLlamaV2 engine tells."""

    def facts(self) -> Facts:
        return Facts(("GPU",), 1, 2, 3, 4, 5, 6.0, 7)


def families(text: str) -> Iterator[tuple[str, str, set[str]]]:
    """Yields the name, type and labels of each metric; labels are empty for one without samples yet."""
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        yield name, family.type, labels


def exported(observed: Observed) -> dict[str, tuple[str, set[str]]]:
    """Returns the type and labels of everything that the mesh exports, and an engine on GPUs and payments beside it."""
    registry = CollectorRegistry()
    registry.register(FactsCollector(EngineOnGpus()))
    found: dict[str, tuple[str, set[str]]] = {}
    for text in [*observed.metrics(), generate_latest(registry).decode()]:
        for name, kind, labels in families(text):
            found[name] = (kind, labels | found.get(name, (kind, set()))[1])
    return found | payments()


def payments() -> dict[str, tuple[str, set[str]]]:
    """Returns those of the payments service, which is no part of a local mesh."""
    for metric in vars(payments_metrics).values():
        if not isinstance(metric, type) and hasattr(metric, "labels"):
            # One without labels says so, and is there already.
            with suppress(ValueError):
                metric.labels("first")
    found = families(generate_latest(REGISTRY).decode())
    return {name: (kind, labels) for name, kind, labels in found if name.startswith("tiermesh_payments_")}


async def test_rules_and_dashboards_ask_only_for_what_is_exported(observed: Observed) -> None:
    await round_of_requests(observed.mesh, observed.mesh.unlimited_key)
    series = {
        name + suffix for name, (kind, _) in exported(observed).items() for suffix in ("", *_SUFFIXES.get(kind, ()))
    }
    recorded = {rule["record"] for rule in rules("recording.yaml")}
    asked = [expression for _, panel in panels() for expression in expressions(panel)]
    asked += [rule["expr"] for name in ("recording.yaml", "alerts.yaml") for rule in rules(name)]
    for expression in asked:
        names = names_in(expression)
        assert names, expression
        assert names <= series | recorded | _OF_PROMETHEUS, expression


async def test_the_documentation_lists_every_metric(observed: Observed) -> None:
    await round_of_requests(observed.mesh, observed.mesh.unlimited_key)
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    documented = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in _ROW.findall(text)}
    found = {name: facts for name, facts in exported(observed).items() if name.startswith("tiermesh_")}
    assert documented.keys() - found.keys() == set()
    assert found.keys() - documented.keys() == set()
    for name, (kind, labels) in found.items():
        assert documented[name][0] == kind, name
        # A metric without samples yet shows no labels.
        assert labels in (set(), documented[name][1]), name

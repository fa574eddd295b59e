"""Metrics of the hot paths look to Prometheus as those of its own client do."""

from __future__ import annotations

from collections.abc import Callable

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.samples import Sample

from services.common.telemetry.metrics import Counter, Histogram, Summary

VALUES = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0.0, 0.1, 0.5, 1.0, 1.5, 99.0])))
BOUNDS = (0.1, 1.0, 2.0)


def exposed(registry: CollectorRegistry) -> dict[str, list[Sample]]:
    """Returns what a scrape gets, without when each series began."""
    return {
        metric.name: [sample for sample in metric.samples if not sample.name.endswith("_created")]
        for metric in registry.collect()
    }


@given(VALUES)
def test_a_scrape_tells_them_from_no_others(values: list[tuple[str, float]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    count = Counter("count_total", "A count.", ["of"], registry=ours)
    total = Summary("total", "A sum.", ["of"], registry=ours)
    sizes = Histogram("sizes", "Sizes.", ["of"], buckets=BOUNDS, registry=ours)
    their_count = prometheus_client.Counter("count_total", "A count.", ["of"], registry=theirs)
    their_total = prometheus_client.Summary("total", "A sum.", ["of"], registry=theirs)
    their_sizes = prometheus_client.Histogram("sizes", "Sizes.", ["of"], buckets=BOUNDS, registry=theirs)
    for label, value in values:
        for counter in (count, their_count):
            counter.labels(label).inc(value)
        for family in (total, sizes, their_total, their_sizes):
            family.labels(label).observe(value)
    assert exposed(ours) == exposed(theirs)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda registry: Counter("one_total", "One.", registry=registry).labels(), "one_total"),
        (lambda registry: Summary("one", "One.", registry=registry).labels(), "one_count"),
        (lambda registry: Histogram("one", "One.", buckets=BOUNDS, registry=registry).labels(), "one_count"),
    ],
)
def test_a_family_without_labels_begins_at_zero(make: Callable[[CollectorRegistry], object], name: str) -> None:
    registry = CollectorRegistry()
    make(registry)
    assert registry.get_sample_value(name) == 0


def test_a_wrong_number_of_labels_is_a_mistake() -> None:
    counter = Counter("wrong_total", "Wrong.", ["one", "two"], registry=CollectorRegistry())
    with pytest.raises(ValueError, match="wrong_total has the labels"):
        counter.labels("only one")

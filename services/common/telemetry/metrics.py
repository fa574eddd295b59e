"""Metrics of the paths that run for every request: to update one costs an addition.

Those of prometheus_client take a lock and several calls for each update, and a request updates about twenty. Only the
thread of the event loop may update these. They are read when Prometheus asks, and look the same to it.
"""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Generic, TypeVar

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

SeriesT = TypeVar("SeriesT")


class Count:
    """What one series has counted."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        """Adds an amount, which is not negative."""
        self.value += amount


class Sum:
    """How many values one series has seen, and their sum."""

    __slots__ = ("count", "sum")

    def __init__(self) -> None:
        self.count = 0
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Adds a value."""
        self.count += 1
        self.sum += value


class Distribution:
    """How many values one series has seen up to each bound, and their sum."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        # The last are those above every bound.
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Adds a value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


class _Family(Collector, Generic[SeriesT]):
    """The series of one name, by the values of its labels; a family without labels has one."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        new: Callable[[], SeriesT],
        registry: CollectorRegistry,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._new = new
        self._series: dict[tuple[str, ...], SeriesT] = {}
        registry.register(self)

    def labels(self, *values: str) -> SeriesT:
        """Returns the series with these values, which begins at zero; it can be kept."""
        series = self._series.get(values)
        if series is None:
            if len(values) != len(self._labels):
                raise ValueError(f"{self._name} has the labels {self._labels}")
            series = self._series[values] = self._new()
        return series

    @abstractmethod
    def collect(self) -> Iterator[Metric]:
        """Reads the present values."""


class Counter(_Family[Count]):
    """Counts that only grow."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str] = (), *, registry: CollectorRegistry = REGISTRY
    ) -> None:
        super().__init__(name, documentation, labels, Count, registry)

    def collect(self) -> Iterator[Metric]:
        """Reads the present values."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, series in self._series.items():
            family.add_metric(values, series.value)
        yield family


class Summary(_Family[Sum]):
    """Numbers and sums of values."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str] = (), *, registry: CollectorRegistry = REGISTRY
    ) -> None:
        super().__init__(name, documentation, labels, Sum, registry)

    def collect(self) -> Iterator[Metric]:
        """Reads the present values."""
        family = SummaryMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, series in self._series.items():
            family.add_metric(values, count_value=series.count, sum_value=series.sum)
        yield family


class Histogram(_Family[Distribution]):
    """Values by size; `buckets` are the upper bounds, in ascending order and without infinity."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        super().__init__(name, documentation, labels, lambda: Distribution(buckets), registry)
        self._bounds = [*map(floatToGoString, buckets), "+Inf"]

    def collect(self) -> Iterator[Metric]:
        """Reads the present values."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, series in self._series.items():
            family.add_metric(values, list(zip(self._bounds, accumulate(series.counts), strict=True)), series.sum)
        yield family

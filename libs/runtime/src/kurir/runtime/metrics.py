"""Metrics for Prometheus: the one home of its client.

Guarantees: the number of series is bounded by construction, because every label names its possible values when
the metric is declared; anything else is counted as "other". Never label by tenant, device, phone number or URL.
Does not: merge processes; each serves its own registry.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    GCCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client import Counter as PrometheusCounter
from prometheus_client import Gauge as PrometheusGauge
from prometheus_client import Histogram as PrometheusHistogram

EXPOSITION_TYPE: Final = CONTENT_TYPE_LATEST
OTHER: Final = "other"
MAX_DERIVED_VALUES: Final = 100  # of a label whose values a function derives; all subject families are about 40

# One scale for all durations, in seconds: 1 ms (a local publish) to 30 s (the longest send or webhook).
DURATION_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

# Either all values a label can have, or a function that maps what is given to one of few (subject -> family).
LabelValues = Collection[str] | Callable[[str], str]


class Metrics:
    """The metrics of one process. Make one at start, hand it to the parts, serve `exposition()`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def counter(self, name: str, meaning: str, **labels: LabelValues) -> "Counter":
        """A count that only grows; `name` ends in `_total`. Declaring a name twice raises ValueError."""
        return Counter(PrometheusCounter(name, meaning, tuple(labels), registry=self.registry), labels)

    def gauge(self, name: str, meaning: str, **labels: LabelValues) -> "Gauge":
        """A value that goes up and down."""
        return Gauge(PrometheusGauge(name, meaning, tuple(labels), registry=self.registry), labels)

    def gauge_from(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """A gauge that is read when scraped. `read` must be quick, and must not block or raise."""
        PrometheusGauge(name, meaning, registry=self.registry).set_function(read)

    def histogram(
        self, name: str, meaning: str, *, buckets: Sequence[float] = DURATION_BUCKETS, **labels: LabelValues
    ) -> "Histogram":
        """A distribution, of seconds unless `buckets` say otherwise; `name` ends in its unit."""
        wrapped = _Distribution(name, meaning, tuple(labels), registry=self.registry, buckets=buckets)
        return Histogram(wrapped, labels)

    def exposition(self) -> bytes:
        """Everything in the text form, to be served as `EXPOSITION_TYPE`."""
        return generate_latest(self.registry)


class _Distribution(PrometheusHistogram):
    def observe(self, amount: float, exemplar: object = None) -> None:
        """As its parent's, which looks through the buckets one by one."""
        self._sum.inc(amount)
        self._buckets[bisect_left(self._upper_bounds, amount)].inc(1)


class _Labelled:
    """Finds the series of given label values, folding unknown ones into "other"."""

    def __init__(self, metric: Any, labels: dict[str, LabelValues]) -> None:
        self._metric = metric
        self._labels = labels
        self._derived: dict[str, set[str]] = {name: set() for name in labels}
        self._series: dict[tuple[str, ...], Any] = {}

    def _of(self, given: dict[str, str]) -> Any:
        if given.keys() != self._labels.keys():
            raise ValueError(f"labels are {sorted(self._labels)}, not {sorted(given)}")
        values = tuple([self._allowed(name, given[name]) for name in self._labels])
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = self._metric.labels(*values) if values else self._metric
        return series

    def _allowed(self, label: str, value: str) -> str:
        declared = self._labels[label]
        if not callable(declared):
            return value if value in declared else OTHER
        derived = declared(value)
        seen = self._derived[label]
        if derived not in seen:
            if len(seen) >= MAX_DERIVED_VALUES:
                return OTHER
            seen.add(derived)
        return derived


class Counter(_Labelled):
    def series(self, **labels: str) -> Callable[[float], None]:
        """`add` for these labels, found once."""
        added: Callable[[float], None] = self._of(labels).inc
        return added

    def add(self, amount: float = 1, /, **labels: str) -> None:
        self._of(labels).inc(amount)


class Gauge(_Labelled):
    def set(self, value: float, /, **labels: str) -> None:
        self._of(labels).set(value)


class Histogram(_Labelled):
    def series(self, **labels: str) -> Callable[[float], None]:
        """`observe` for these labels, found once."""
        observed: Callable[[float], None] = self._of(labels).observe
        return observed

    def observe(self, value: float, /, **labels: str) -> None:
        self._of(labels).observe(value)

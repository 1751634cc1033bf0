"""The declaration of metrics: each is told to the registry and to the reference by the same words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

PREFIX = "resumable_sweep_"

Values = tuple[str, ...] | str


class Kind(StrEnum):
    """The types of Prometheus that are in use."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, kw_only=True)
class Family:
    """One metric: `name` as it is queried, but for the suffixes of a histogram's series.

    `labels` holds, by name, all values that there are, or, where they are not known beforehand, what they are.
    """

    name: str
    kind: Kind
    meaning: str
    labels: Mapping[str, Values] = field(default_factory=dict)


class Families:
    """Makes metrics in a registry of their own, and keeps what was declared."""

    def __init__(self) -> None:
        # Else each counter and histogram has a second series, of when it began, which nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.declared: list[Family] = []

    def counter(self, name: str, meaning: str, **labels: Values) -> Counter:
        """Return a new counter; `name` comes without prefix and with `_total`."""
        family = self._declare(name, Kind.COUNTER, meaning, labels)
        counter = Counter(family.name, meaning, list(labels), registry=self.registry)
        known = [values for values in labels.values() if isinstance(values, tuple)]
        if len(known) == len(labels) > 0:
            # A series that begins with its first event shows no increase by it.
            for values in product(*known):
                counter.labels(*values)
        return counter

    def gauge(self, name: str, meaning: str, **labels: Values) -> Gauge:
        """Return a new gauge; `name` comes without prefix."""
        family = self._declare(name, Kind.GAUGE, meaning, labels)
        return Gauge(family.name, meaning, list(labels), registry=self.registry)

    def histogram(self, name: str, meaning: str, *, buckets: Iterable[float], **labels: Values) -> Histogram:
        """Return a new histogram; `name` comes without prefix."""
        family = self._declare(name, Kind.HISTOGRAM, meaning, labels)
        return Histogram(family.name, meaning, list(labels), buckets=tuple(buckets), registry=self.registry)

    def _declare(self, name: str, kind: Kind, meaning: str, labels: Mapping[str, Values]) -> Family:
        family = Family(name=PREFIX + name, kind=kind, meaning=meaning, labels=labels)
        self.declared.append(family)
        return family

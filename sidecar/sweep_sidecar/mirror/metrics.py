"""The mirror's numbers, in the text format of Prometheus.

A dozen numbers need no client library in every pod
(https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format).
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from resumable_sweep.contract.report import Report

PREFIX = "resumable_sweep_mirror_"

Values = tuple[str, ...] | str
"""All values of a label, or, where they are not known beforehand, what they are."""

_CALLS = ("create", "get", "list", "delete")


class Family(NamedTuple):
    """One metric; `name` comes without the prefix."""

    name: str
    kind: str
    meaning: str
    labels: Mapping[str, Values] = MappingProxyType({})


FAMILIES = (
    Family("generations_total", "counter", "Generations stored by this process."),
    Family(
        "generation_age_seconds", "gauge", "Time since the newest of them was stored; absent before the first of them."
    ),
    Family("stored_bytes_total", "counter", "Bytes of the objects that were created in the store."),
    Family(
        "store_calls_total",
        "counter",
        "Calls to the store.",
        {"call": _CALLS, "outcome": ("ok", "created", "exists", "not_found", "unreachable", "refused")},
    ),
    Family("store_call_seconds_total", "counter", "Time spent in calls to the store.", {"call": _CALLS}),
    Family(
        "looks_total",
        "counter",
        "Looks at the snapshot directory; the store has cut short those that are `unreachable`.",
        {"outcome": ("held", "unreachable")},
    ),
    Family("look_seconds", "gauge", "Time that the newest look took."),
    Family("longest_look_seconds", "gauge", "Time that the longest look took."),
    Family("items_done", "gauge", "Items of the shard that are durable."),
    Family("items_recorded", "gauge", "Items of the shard that are recorded on the node, durable or not."),
    Family("items", "gauge", "Items of the shard; absent where nobody knows how many."),
    Family(
        "problem",
        "gauge",
        "1 for what is wrong at present; absent where nothing is.",
        {"reason": "see [conditions](signals-and-conditions.md#conditions)"},
    ),
)
_FAMILIES = {family.name: family for family in FAMILIES}


class Metrics:
    """Counts what the mirror does. Its methods may be called from any thread.

    Parameters
    ----------
    monotonic:
        Clock in seconds.
    """

    def __init__(self, *, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._report: Report | None = None
        self._generations = 0
        self._stored_at: float | None = None
        self._bytes = 0
        self._calls: Counter[tuple[str, ...]] = Counter()
        self._call_seconds: defaultdict[str, float] = defaultdict(float)
        self._looks: Counter[str] = Counter()
        self._look_seconds = 0.0
        self._longest_s = 0.0

    def note_report(self, report: Report) -> None:
        """Note the attempt's state; the first one says what it has started from."""
        with self._lock:
            before = self._report
            self._report = report
            if before is not None and report.generation != before.generation:
                self._generations += 1
                self._stored_at = self._monotonic()

    def note_call(self, call: str, outcome: str, *, seconds: float, size: int = 0) -> None:
        """Note a call to the store, and how many bytes it has created."""
        with self._lock:
            self._calls[call, outcome] += 1
            self._call_seconds[call] += seconds
            self._bytes += size

    def note_look(self, *, held: bool, seconds: float) -> None:
        """Note a look at the snapshot directory, and whether it came to its end."""
        with self._lock:
            self._looks["held" if held else "unreachable"] += 1
            self._look_seconds = seconds
            self._longest_s = max(self._longest_s, seconds)

    def text(self) -> str:
        """Return all numbers."""
        with self._lock:
            return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield from _told("generations_total", {(): self._generations})
        if self._stored_at is not None:
            yield from _told("generation_age_seconds", {(): self._monotonic() - self._stored_at})
        yield from _told("stored_bytes_total", {(): self._bytes})
        yield from _told("store_calls_total", self._calls)
        yield from _told("store_call_seconds_total", {(call,): total for call, total in self._call_seconds.items()})
        yield from _told("looks_total", {(outcome,): count for outcome, count in self._looks.items()})
        yield from _told("look_seconds", {(): self._look_seconds})
        yield from _told("longest_look_seconds", {(): self._longest_s})
        report = self._report
        if report is None:
            return
        yield from _told("items_done", {(): report.items_done})
        yield from _told("items_recorded", {(): report.items_recorded})
        if report.items_total is not None:
            yield from _told("items", {(): report.items_total})
        yield from _told("problem", {(report.problem,): 1} if report.problem else {})


def _told(name: str, samples: Mapping[tuple[str, ...], float]) -> Iterator[str]:
    """Yield the lines of a metric; `samples` are by the values of its labels, in their order."""
    family = _FAMILIES[name]
    yield f"# HELP {PREFIX}{name} {family.meaning}"
    yield f"# TYPE {PREFIX}{name} {family.kind}"
    for values, number in sorted(samples.items()):
        # Values are words of our own, and reasons CamelCase: nothing in them needs to be escaped.
        said = ",".join(f'{label}="{value}"' for label, value in zip(family.labels, values, strict=True))
        yield f"{PREFIX}{name}{'{' + said + '}' if said else ''} {number}"

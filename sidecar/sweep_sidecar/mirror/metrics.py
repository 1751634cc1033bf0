"""The mirror's numbers, in the text format of Prometheus.

A dozen numbers need no client library in every pod
(https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format).
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping

from resumable_sweep.contract.report import Report

_PREFIX = "resumable_sweep_mirror"


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
        self._calls: Counter[tuple[str, str]] = Counter()
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
        yield from _family("generations_total", "counter", "Generations stored.", {"": self._generations})
        if self._stored_at is not None:
            age_s = self._monotonic() - self._stored_at
            yield from _family("generation_age_seconds", "gauge", "Time since the newest one was stored.", {"": age_s})
        yield from _family(
            "stored_bytes_total", "counter", "Bytes sent to the store and held there.", {"": self._bytes}
        )
        calls = {f'{{call="{call}",outcome="{outcome}"}}': count for (call, outcome), count in self._calls.items()}
        yield from _family("store_calls_total", "counter", "Calls to the store.", calls)
        seconds = {f'{{call="{call}"}}': total for call, total in self._call_seconds.items()}
        yield from _family("store_call_seconds_total", "counter", "Time spent in calls to the store.", seconds)
        looks = {f'{{outcome="{outcome}"}}': count for outcome, count in self._looks.items()}
        yield from _family("looks_total", "counter", "Looks at the snapshot directory.", looks)
        yield from _family("look_seconds", "gauge", "How long the newest look took.", {"": self._look_seconds})
        yield from _family("longest_look_seconds", "gauge", "How long the longest took.", {"": self._longest_s})
        report = self._report
        if report is None:
            return
        yield from _family("items_done", "gauge", "Items of the shard that are durable.", {"": report.items_done})
        yield from _family(
            "items_recorded", "gauge", "Items recorded on the node, durable or not.", {"": report.items_recorded}
        )
        if report.items_total is not None:
            yield from _family("items_total", "gauge", "Items of the shard.", {"": report.items_total})
        # Reasons are CamelCase words: nothing in them needs to be escaped.
        problems = {f'{{reason="{report.problem}"}}': 1} if report.problem else {}
        yield from _family("problem", "gauge", "1 for what is wrong at present.", problems)


def _family(name: str, kind: str, help_text: str, samples: Mapping[str, float]) -> Iterator[str]:
    yield f"# HELP {_PREFIX}_{name} {help_text}"
    yield f"# TYPE {_PREFIX}_{name} {kind}"
    for labels, value in sorted(samples.items()):
        yield f"{_PREFIX}_{name}{labels} {value}"

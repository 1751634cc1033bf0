"""What a sweep has come to, in numbers: for the program, as `<log>.stats.json`, and for Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from resumable_sweep._disk import replace_whole

SCHEMA_VERSION = 1
SUFFIX = ".stats.json"
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class LabelInvalid(ValueError):
    """A label's name cannot be used; the message names it."""


@dataclass(frozen=True, kw_only=True)
class Stats:
    """A sweep in numbers. Each of this shard's items is in one of the five states, and counted there once.

    `total` is the number of items, None where nobody knows it yet. `completed`, `failed`, `skipped`, `in_progress`
    (started, not ended) and `missing` (never started) are the states; of an unknown total, `missing` counts the items
    known so far. `replayed` items were completed before this run, `recorded` ones in it. `removed` counts recorded keys
    that are no longer items, `resumes` how often the sweep was gone on with, `fall_backs` how often something damaged
    was set aside. `seconds` is how long this run has gone on, `seconds_saved` the time that the replayed items took
    when they were run.
    """

    total: int | None
    completed: int
    failed: int
    skipped: int
    in_progress: int
    missing: int
    replayed: int
    recorded: int
    removed: int
    resumes: int
    fall_backs: int
    seconds: float
    seconds_saved: float

    @property
    def rate(self) -> float:
        """Items recorded a second, on the mean of this run; 0 before the first."""
        return self.recorded / self.seconds if self.seconds > 0 else 0.0

    @property
    def eta_s(self) -> float | None:
        """Seconds until nothing is left to do at that rate, None where that cannot be told; failed items are left."""
        if self.total is None:
            return None
        left = max(0, self.total - self.completed - self.skipped)
        if left == 0:
            return 0.0
        return left / self.rate if self.rate > 0 else None

    def to_json(self) -> str:
        """Return the numbers as a JSON object: the fields of this class, `rate` and `eta_s`."""
        return json.dumps(_numbers_of(self))


def statistics_path(log_path: Path) -> Path:
    """Return where the statistics of a log lie: beside it."""
    return log_path.with_name(log_path.name + SUFFIX)


def write_statistics(log_path: Path, stats: Stats, extra: Mapping[str, Any] | None = None) -> None:
    """Write `<log>.stats.json` in one step: the numbers, `schema_version`, `log_size_bytes`, and `extra` as it is.

    Raises
    ------
    OSError
        Where it cannot be written, or there is no log.
    TypeError, ValueError
        Where JSON has no form for `extra`.
    """
    content = {
        "schema_version": SCHEMA_VERSION,
        "log_size_bytes": log_path.stat().st_size,
        **_numbers_of(stats),
        "extra": dict(extra or {}),
    }
    replace_whole(statistics_path(log_path), (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def read_statistics(log_path: Path) -> Stats | None:
    """Return the statistics of a log; None where there are none, or they do not speak of the log as it is now."""
    try:
        content = json.loads(statistics_path(log_path).read_bytes())
        size_bytes = log_path.stat().st_size
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(content, dict) or content.get("log_size_bytes") != size_bytes:
        return None
    numbers: dict[str, Any] = {field.name: content.get(field.name) for field in fields(Stats)}
    if any(type(number) not in (int, float) for name, number in numbers.items() if name != "total"):
        return None
    return Stats(**numbers) if numbers["total"] is None or type(numbers["total"]) is int else None


def metrics_text(stats: Stats, labels: Mapping[str, str]) -> str:
    """Return the statistics in Prometheus' text format (version 0.0.4), each sample with `labels`.

    All of them are gauges: a counter must not fall, and these do where a run starts anew.

    Raises
    ------
    LabelInvalid
        Where a label's name is none, or is `state`.
    """
    for name in labels:
        if not _LABEL_NAME.fullmatch(name) or name.startswith("__") or name == "state":
            raise LabelInvalid(
                f"{name!r} cannot be the name of a label: it must be letters, digits and underscores, start with no "
                "digit and no two underscores, and not be 'state'"
            )
    states = ("completed", "failed", "skipped", "in_progress", "missing")
    lines = _metric(
        "items", "Items of the sweep by state.", [({"state": s}, getattr(stats, s)) for s in states], labels
    )
    for name, text, number in (
        ("items_replayed", "Items completed before this run.", stats.replayed),
        ("resumes", "Times the sweep was gone on with.", stats.resumes),
        ("fall_backs", "Times something damaged was set aside.", stats.fall_backs),
        ("seconds_saved", "Seconds that the replayed items took when they were run.", stats.seconds_saved),
    ):
        lines += _metric(name, text, [({}, number)], labels)
    return "\n".join(lines) + "\n"


def write_metrics(path: Path, stats: Stats, labels: Mapping[str, str]) -> None:
    """Write `metrics_text` to `path` in one step; for the node exporter's textfile collector it ends in `.prom`.

    Raises
    ------
    LabelInvalid
        Where a label's name cannot be used.
    OSError
        Where it cannot be written.
    """
    replace_whole(path, metrics_text(stats, labels).encode())


def _numbers_of(stats: Stats) -> dict[str, Any]:
    return {**asdict(stats), "rate": stats.rate, "eta_s": stats.eta_s}


def _metric(name: str, text: str, samples: list[tuple[dict[str, str], float]], labels: Mapping[str, str]) -> list[str]:
    full = f"resumable_sweep_{name}"
    lines = [f"# HELP {full} {text}", f"# TYPE {full} gauge"]
    for own, number in samples:
        pairs = ",".join(f'{label}="{_escaped(value)}"' for label, value in {**labels, **own}.items())
        lines.append(f"{full}{{{pairs}}} {number}" if pairs else f"{full} {number}")
    return lines


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

"""What recording and resuming cost: against a bare loop of write and fsync, and against the published mime-engine.

Ratios are medians over turns that the library and the bare loop take in one process; times of loading are the least of
several fresh processes, and those of items of 10 ms the lowest tenth, since whatever else the machine does only adds to
them. Such an item is a busy loop: one that sleeps would leave its processor to others, and pay for getting it back.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.library_program import GROUP, ITEM_S
from rig.progress import say

_PROGRAM = Path(__file__).with_name("library_program.py")
_PEER_PYTHON = Path("build/compat/bin/python")
_MIB = 1024


@dataclass(frozen=True, kw_only=True)
class _Extent:
    """How much is measured; `durable` and `grouped` are numbers of items with those in a turn, `peer` items."""

    durable: dict[int, int]
    grouped: dict[int, int]
    loaded: dict[int, int]
    """Numbers of items with the number of processes that load them."""
    turns: int
    """So many groups of items of 10 ms are done in each of the ways."""
    peer: int
    peer_s: float


# A million items each on disk on its own would take a quarter of an hour of the disk's time alone: they go in groups.
_WHOLE = _Extent(
    durable={1_000: 10, 10_000: 10, 100_000: 100},
    grouped={1_000: 100, 10_000: 1_000, 100_000: 1_000, 1_000_000: 1_000},
    loaded={1_000: 3, 10_000: 3, 100_000: 3, 1_000_000: 5},
    turns=20,
    peer=100_000,
    peer_s=60.0,
)
_QUICK = _Extent(
    durable={1_000: 10, 2_000: 10},
    grouped={1_000: 100, 10_000: 1_000, 50_000: 1_000},
    loaded={1_000: 2, 10_000: 2, 50_000: 2},
    turns=2,
    peer=1_000,
    peer_s=5.0,
)


def figures(*, quick: bool = False) -> list[dict[str, Any]]:
    """Record and load sweeps of up to a million items; `quick`: of fewer, within a minute."""
    if not _PEER_PYTHON.exists():
        raise RuntimeError(f"{_PEER_PYTHON} is missing, with the package to compare with: run `make test-compat` first")
    extent = _QUICK if quick else _WHOLE
    Path("build/bench").mkdir(parents=True, exist_ok=True)
    # Not where temporary files go by default: that may be memory, which has no fsync to speak of.
    with tempfile.TemporaryDirectory(prefix="library-", dir="build/bench") as directory:
        folder = Path(directory)
        durable = {
            count: _measured(folder / f"durable-{count}", "record", count, turn, 0)
            for count, turn in extent.durable.items()
        }
        grouped = {
            count: _measured(folder / f"grouped-{count}", "record", count, turn, GROUP)
            for count, turn in extent.grouped.items()
        }
        loaded = {
            count: [_measured(folder / f"grouped-{count}", "load", count) for _ in range(times)]
            for count, times in extent.loaded.items()
        }
        on_items = _measured(folder / "on-items", "on_items", extent.turns)
        peer = _measured(folder / "peer", "mime", extent.peer, extent.peer_s, python=_PEER_PYTHON)
    return [
        *_ratios(durable, "on disk each", goal=1.25),
        *_ratios(grouped, f"in groups of {GROUP}", goal=None),
        *_growth(grouped, f"in groups of {GROUP}"),
        *_against_peer(peer, durable),
        *_overheads(on_items),
        *_times(durable, "on disk each"),
        *_times(grouped, f"in groups of {GROUP}"),
        *(row for count, runs in loaded.items() for row in _loading(count, runs)),
    ]


def _measured(folder: Path, what: str, *given: object, python: Path = Path(sys.executable)) -> dict[str, Any]:
    say(f"  {what} {' '.join(map(str, given))}, load {os.getloadavg()[0]:.1f}")
    folder.mkdir(exist_ok=True)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SWEEP_")}
    found = subprocess.run(
        [python, _PROGRAM, what, folder, *map(str, given)],
        env={**environ, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        check=True,
    )
    measured: dict[str, Any] = json.loads(found.stdout)
    return measured


def _ratios(runs: dict[int, dict[str, Any]], how: str, *, goal: float | None) -> list[dict[str, Any]]:
    rows = []
    for count, run in runs.items():
        ratio = statistics.median(mine / bare for mine, bare in zip(run["mine_s"], run["bare_s"], strict=True))
        rows.append(_row(f"{count:,} items, {how}, over the bare loop", ratio, "x", goal=goal))
    return rows


def _growth(runs: dict[int, dict[str, Any]], how: str) -> list[dict[str, Any]]:
    few, many = min(runs), max(runs)
    # Of the processor's time: the disk takes another one at another hour.
    growth = (runs[many]["cpu_s"] / many) / (runs[few]["cpu_s"] / few)
    return [_row(f"an item of {many:,} over one of {few:,}, {how}, processor time", growth, "x", goal=1.25)]


def _against_peer(peer: dict[str, Any], runs: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """Compare with the package that writes all records anew with each; it does not wait for the disk, this one does."""
    each_s = statistics.median(part / run["turn"] for run in runs.values() for part in run["mine_s"])
    rows = []
    for count, seconds in sorted((int(count), seconds) for count, seconds in peer["after_s"].items()):
        row = _row(f"{count:,} items, on disk each, over mime-engine's", count * each_s / seconds, "x", goal=None)
        rows.append({**row, "peer": f"{seconds:.2f} s"})
    return rows


def _overheads(run: dict[str, list[float]]) -> list[dict[str, Any]]:
    nothing, bare, durable = (_undisturbed(run[name]) for name in ("nothing", "bare", "durable"))
    # Each hundredth waits for the disk, which a quantile of all would pass over.
    plain = _undisturbed([one for place, one in enumerate(run["grouped"], start=1) if place % GROUP])
    last = statistics.median(run["grouped"][GROUP - 1 :: GROUP])
    grouped = (plain * (GROUP - 1) + last) / GROUP
    item = f"an item of {ITEM_S * 1000:.0f} ms"

    def percent(seconds: float) -> float:
        return 100 * seconds / nothing

    return [
        _row(f"{item}, on disk each, over the bare loop", percent(durable - bare), "%", goal=2),
        _row(f"{item}, in groups of {GROUP}, over recording nothing", percent(grouped - nothing), "%", goal=0.5),
        _row(f"{item}, on disk each, over recording nothing", percent(durable - nothing), "%", goal=None),
        _row(f"{item}, the bare loop over recording nothing", percent(bare - nothing), "%", goal=None),
    ]


def _undisturbed(seconds: list[float]) -> float:
    """Return the lowest tenth's bound: in 10 ms of a busy processor somebody else gets his share most of the time."""
    return statistics.quantiles(seconds, n=10)[0]


def _times(runs: dict[int, dict[str, Any]], how: str) -> list[dict[str, Any]]:
    rows = []
    for count, run in runs.items():
        rows.append(_row(f"{count:,} items, {how}, each", 1e6 * sum(run["mine_s"]) / count, "us", goal=None))
        rows.append(_row(f"{count:,} items, {how}, each, processor time", 1e6 * run["cpu_s"] / count, "us", goal=None))
    return rows


def _loading(count: int, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    peak = max(run["peak_kib"] for run in runs) / _MIB
    own = statistics.median(run["peak_kib"] - run["before_kib"] for run in runs) * 1024 / count
    return [
        _row(f"{count:,} done items entered", min(run["seconds"] for run in runs), "s", goal=5),
        _row(f"{count:,} done items entered, processor time", min(run["cpu_s"] for run in runs), "s", goal=None),
        _row(f"{count:,} done items entered, peak memory", peak, "MiB", goal=400),
        _row(f"{count:,} done items entered, memory an item", own, "B", goal=None),
        _row(f"{count:,} results read back", min(run["replay_s"] for run in runs), "s", goal=None),
    ]


def _row(figure: str, value: float, unit: str, *, goal: float | None) -> dict[str, Any]:
    value = round(value, 3)
    return {
        "figure": figure,
        "value": value,
        "unit": unit,
        "peer": None,
        "goal": goal,
        "holds": goal is None or value <= goal,
    }

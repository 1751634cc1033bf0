"""What the store costs: against gcsfs on the same server, by the pod's day, and in money by the year.

Times are taken on fake-gcs-server, on loopback, in one process in which the sidecar's way and gcsfs' take turns: only
their ratio says something beyond this machine. Requests and bytes are counted, not timed: they come out the same on any
machine, however busy.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.prices import PRICES, Usage, year_of
from bench.store_day import DAY_S, Day, Plan, simulated_day
from integration.store.gcs_server import Emulator
from rig.progress import say
from sweep_sidecar.capture.pieces import FAN

PODS = 1000
RESTORES_A_DAY = 4
"""How often the pod of the priced year is reclaimed a day."""
_LEAST_OF_PEER = 0.8
_LONGER = 10


@dataclass(frozen=True, kw_only=True)
class _Extent:
    """How much is measured."""

    mib: int
    turns: int
    creates: int
    part: int
    """Of the day that is lived through: one of so many."""
    intervals_s: tuple[float, ...]


_WHOLE = _Extent(mib=1024, turns=3, creates=500, part=1, intervals_s=(10.0, 60.0, 300.0))
_QUICK = _Extent(mib=64, turns=3, creates=100, part=24, intervals_s=(10.0, 60.0))


def figures(*, quick: bool = False) -> list[dict[str, Any]]:
    """Measure on the server, live through days, and price them; `quick`: less, and an hour for a day."""
    extent = _QUICK if quick else _WHOLE
    plan = Plan(items=Plan.items // extent.part, span_s=DAY_S / extent.part)
    rows = _on_the_server(extent)
    days = []
    for interval_s in extent.intervals_s:
        say(f"  {plan.items:,} items in {plan.span_s / 3600:g} h, a look every {interval_s:g} s")
        days.append(simulated_day(replace(plan, interval_s=interval_s)))
    say("  results ten times as long")
    sixteenth = replace(plan, items=plan.items // 16, span_s=plan.span_s / 16)
    short = simulated_day(sixteenth)
    long = simulated_day(replace(sixteenth, result_bytes=_LONGER * plan.result_bytes))
    rows += [*_day_rows(days[0]), *_growth_rows(short, long, days[0])]
    for day in days:
        rows += _year_rows(day)
    return rows


def usage_of(day: Day, *, restores: float = RESTORES_A_DAY, thinned: bool = False) -> Usage:
    """Return what a pod uses in a whole day of which `day` is a part; it is reclaimed `restores` times.

    A day that begins anew has its first restore and its last entry besides; one that is `thinned` afterwards has what
    retention asks, and leaves what that keeps.
    """
    times = DAY_S / day.plan.span_s
    parts = [(day.mirrored, times), (day.resumed, restores), (day.began, 1.0), (day.ended, 1.0)]
    if thinned:
        parts.append((day.thinned, times))
    return Usage(
        creates=sum(part.creates * often for part, often in parts),
        lists=sum(part.lists * often for part, often in parts),
        gets=sum(part.gets * often for part, often in parts),
        left_bytes=times * (day.kept_bytes if thinned else day.left_bytes),
    )


def _on_the_server(extent: _Extent) -> list[dict[str, Any]]:
    # Not where temporary files go by default: that may be memory, and has no room for many GiB.
    Path("build/bench").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="store-", dir="build/bench") as directory:
        folder = Path(directory).resolve()
        server = Emulator(folder / "server")
        server.directory.mkdir()
        server.start()
        try:
            bucket = server.make_bucket()
            environment = server.environment(server.url, bucket=bucket)
            url = f"gs://{bucket}"
            created = _measured(environment, "create", f"{url}/create", extent.creates)
            put = _measured(environment, "put", folder, f"{url}/put", extent.mib, extent.turns)
            used = {who: _measured(environment, "memory", who, folder, f"{url}/memory", extent.mib) for who in _WAYS}
        finally:
            server.stop()
    return [*_put_rows(put, extent.mib), *_create_rows(created), *_memory_rows(used, extent.mib)]


_WAYS = {"mine": "the sidecar", "peer": "gcsfs"}


def _measured(environment: dict[str, str], what: str, *given: object) -> dict[str, Any]:
    say(f"  {what} {' '.join(map(str, given[-2:]))}, load {os.getloadavg()[0]:.1f}")
    done = subprocess.run(
        [sys.executable, "-m", "bench.store_program", what, *map(str, given)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _put_rows(run: dict[str, list[float]], mib: int) -> list[dict[str, Any]]:
    rows = []
    # Of a restore there is no goal: gcsfs checks no digest and waits for no disk.
    for way, what, goal in (("put", "to a generation", _LEAST_OF_PEER), ("get", "restored", None)):
        mine, peer = run[f"mine_{way}"], run[f"peer_{way}"]
        ratio = statistics.median(theirs / ours for ours, theirs in zip(mine, peer, strict=True))
        rows.append(_row(f"{mib} MiB {what}, rate over gcsfs' {way}_file", ratio, "x", goal=goal, at_least=True))
        rate, theirs = mib / statistics.median(mine), mib / statistics.median(peer)
        rows.append({**_row(f"{mib} MiB {what}", rate, "MiB/s"), "peer": f"{theirs:.0f} MiB/s"})
    return rows


def _create_rows(run: dict[str, Any]) -> list[dict[str, Any]]:
    mine, peer = run["mine"], run["peer"]
    median, tail = (1000 * quantile for quantile in (statistics.median(mine), statistics.quantiles(mine, n=100)[98]))
    alone = {**_row("create of 500 bytes, median", median, "ms"), "peer": f"{1000 * statistics.median(peer):.2f} ms"}
    return [
        alone,
        _row("create of 500 bytes, 99th percentile", tail, "ms"),
        _row("creates by one writer", len(mine) / sum(mine), "/s"),
        _row(f"creates by {run['writers']} writers of a process", len(mine) / run["together_s"], "/s"),
    ]


def _memory_rows(used: dict[str, dict[str, float]], mib: int) -> list[dict[str, Any]]:
    rows = []
    for field, what in (("created", "after one create"), ("peak", f"peak, {mib} MiB there and back")):
        row = _row(f"resident set {what}", used["mine"][field], "MiB")
        rows.append({**row, "peer": f"{used['peer'][field]:.0f} MiB"})
    return rows


def _day_rows(day: Day) -> list[dict[str, Any]]:
    span = f"{day.plan.items:,} items in {day.plan.span_s / 3600:g} h"
    items, sent = day.plan.items, day.mirrored
    return [
        _row(f"{span}: generations", day.generations, ""),
        # Each has its entry; where pieces are merged, which is at most every sixteenth time, a blob as well.
        _row("creates per generation", sent.creates / day.generations, "", goal=1 + 1 / FAN),
        _row("reads and listings per generation", (sent.gets + sent.lists) / day.generations, "", goal=0),
        _row(f"creates in {day.plan.quiet_looks} looks that find nothing new", day.quiet.creates, "", goal=0),
        _row("creates per item", sent.creates / items, ""),
        _row("bytes recorded per item", day.recorded_bytes / items, "B"),
        _row("bytes sent per item", sent.sent_bytes / items, "B"),
        _row("bytes of the last generation's entry", day.last_entry_bytes, "B"),
        _row("pieces of the log in it", day.last_pieces, ""),
        _row("listings of a restore", day.resumed.lists, ""),
        _row("reads of a restore", day.resumed.gets, ""),
        _row("bytes read by a restore per byte recorded", day.resumed.received_bytes / day.recorded_bytes, ""),
        _row("bytes left per byte recorded", day.left_bytes / day.recorded_bytes, ""),
        _row("the same after `gc --keep 1`", day.kept_bytes / day.recorded_bytes, ""),
    ]


def _growth_rows(short: Day, long: Day, whole: Day) -> list[dict[str, Any]]:
    recorded = long.recorded_bytes / short.recorded_bytes
    sent = long.mirrored.sent_bytes / short.mirrored.sent_bytes
    requests = long.mirrored.creates / short.mirrored.creates
    a_byte = [day.mirrored.sent_bytes / day.recorded_bytes for day in (whole, short)]
    return [
        _row(f"{recorded:.2f} times the bytes recorded: bytes sent, over that", sent / recorded, "x", goal=1.0),
        _row(f"{recorded:.2f} times the bytes recorded: creates", requests, "x", goal=1 + 1 / FAN),
        # A byte is sent once more for each tier, and sixteen times as long a log has one tier more.
        _row("bytes sent per byte recorded, over those of a sixteenth of the time", a_byte[0] / a_byte[1], "x"),
    ]


def _year_rows(day: Day) -> list[dict[str, Any]]:
    rows = []
    span = "" if day.plan.span_s == DAY_S else f" (from {day.plan.span_s / 3600:g} h of a day)"
    for price in PRICES:
        for thinned, how in ((False, "nothing deleted"), (True, "`gc --keep 1` each day")):
            cost = year_of(price, usage_of(day, thinned=thinned), pods=PODS)
            what = f"a year of {PODS:,} pods, a look every {day.plan.interval_s:g} s, {how}: {price.store}{span}"
            told = {"region": price.region, "requests_usd": cost.requests, "storage_usd": cost.storage}
            rows.append({**_row(what, cost.total, "USD"), **told, "price_list": price.source, "price_date": price.date})
    return rows


def _row(figure: str, value: float, unit: str, *, goal: float | None = None, at_least: bool = False) -> dict[str, Any]:
    holds = goal is None or (value >= goal if at_least else value <= goal)
    shown = round(value) if unit == "USD" else round(value, 1 if value >= 10 else 4)
    return {"figure": figure, "value": shown, "unit": unit, "peer": None, "goal": goal, "holds": holds}

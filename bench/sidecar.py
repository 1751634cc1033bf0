"""What the sidecar's containers cost: memory, CPU time and wait of `restore` and `mirror`, in processes of their own.

The store is fake-gcs-server on loopback, the client gcsfs, as in a pod that stores on Google Cloud; two engines for S3
are compared on moto. Memory is the peak of the resident set as the kernel counts it, which is what a container's limit
is held against, but for the page cache.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.sidecar_beside import durable_waits, notice_to_sealed, processor_share, slowdowns
from bench.sidecar_pod import MIB, Cost, Pod, fill
from faults.servers import running, server_named
from integration.store.gcs_server import Emulator
from integration.store.server import Server
from rig.progress import say

_ENGINES = {"s3fs": "", "obstore": "obstore"}


@dataclass(frozen=True, kw_only=True)
class _Extent:
    """How much is measured."""

    large_mib: int
    engine_mib: int
    window_s: float
    durable: int
    phase_s: float
    pairs: int


_WHOLE = _Extent(large_mib=1024, engine_mib=256, window_s=60.0, durable=120, phase_s=20.0, pairs=9)
_QUICK = _Extent(large_mib=64, engine_mib=32, window_s=10.0, durable=5, phase_s=10.0, pairs=2)


def figures(*, quick: bool = False) -> list[dict[str, Any]]:
    """Measure restore and mirror, and what the experiment beside them notices; `quick`: less, within four minutes."""
    extent = _QUICK if quick else _WHOLE
    with _folder() as folder, _google(folder) as server:
        rows = _checkpoint_rows(folder, server, extent)
        rows += _beside_rows(folder, server, extent)
    with _folder() as folder, running(["s3"]):
        server = server_named("s3")
        for name, engine in _ENGINES.items():
            say(f"  {extent.engine_mib} MiB by {name}, load {os.getloadavg()[0]:.1f}")
            rows += _engine_rows(folder / name, server, name, engine, mib=extent.engine_mib)
    return rows


@contextmanager
def _folder() -> Iterator[Path]:
    Path("build/bench").mkdir(parents=True, exist_ok=True)
    # Not where temporary files go by default: that may be memory, and has no room for many GiB.
    with tempfile.TemporaryDirectory(prefix="sidecar-", dir="build/bench") as directory:
        yield Path(directory).resolve()


@contextmanager
def _google(folder: Path) -> Iterator[Server]:
    server = Emulator(folder / "server")
    server.directory.mkdir()
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _checkpoint_rows(folder: Path, server: Server, extent: _Extent) -> list[dict[str, Any]]:
    large = _size(extent.large_mib)
    checkpoints = {
        "nothing": (0, 0),
        f"{large} in one file": (1, extent.large_mib * MIB),
        f"{large} in 1,000 files": (1000, extent.large_mib * MIB // 1000),
    }
    rows = []
    for number, (what, (count, size)) in enumerate(checkpoints.items()):
        say(f"  {what}, load {os.getloadavg()[0]:.1f}")
        bucket = server.make_bucket()
        environment = server.environment(server.url, bucket=bucket)
        ready_s, mirrored, restored = _there_and_back(
            folder / f"checkpoint-{number}", f"gs://{bucket}/run", environment, count=count, size=size
        )
        rows += _cost_rows(f"restore {what}", restored)
        rows += _cost_rows(f"mirror {what}", mirrored)
        if not count:
            rows.append(_row("mirror: begun and healthy after", ready_s, "s"))
    return rows


def _there_and_back(
    folder: Path, url: str, environment: dict[str, str], *, count: int, size: int, **variables: str
) -> tuple[float, Cost, Cost]:
    """Return after how many seconds the mirror was healthy, what it took to its end, and what the restore took."""
    pods = [Pod(folder, url, environment, attempt=attempt, **variables) for attempt in (0, 1)]
    pods[0].restored()
    fill(pods[0].snapshot, count=count, size=size)
    with pods[0].mirror() as mirror:
        ready_s = mirror.wait_until_healthy()
        mirrored = mirror.sealed()
    restored = pods[1].restored()
    found = [path.stat().st_size for path in pods[1].snapshot.glob("*.bin")]
    if found != [size] * count:
        raise RuntimeError(f"{len(found)} files came back, not {count} of {size} bytes")
    return ready_s, mirrored, restored


def _beside_rows(folder: Path, server: Server, extent: _Extent) -> list[dict[str, Any]]:
    rows = []
    for what, is_steady, goal in (("nothing changes", False, 0.5), ("a record each 100 ms", True, None)):
        say(f"  {what}, {extent.window_s:.0f} s, load {os.getloadavg()[0]:.1f}")
        share = processor_share(folder / f"share-{is_steady}", server, window_s=extent.window_s, is_steady=is_steady)
        rows.append(_row(f"mirror, a look each 10 s, {what}: of a core", share, "%", goal=goal))
    for how, pause_s in (("one upon the other", 0.0), ("one now and then", 1.5)):
        say(f"  {extent.durable} durable records, {how}, load {os.getloadavg()[0]:.1f}")
        waited = durable_waits(folder / f"durable-{pause_s}", server, count=extent.durable, pause_s=pause_s)
        tail = statistics.quantiles(waited, n=100, method="inclusive")[98]
        rows.append(_row(f"record(durable=True), {how}, median of {len(waited)}", statistics.median(waited), "s"))
        rows.append(_row(f"record(durable=True), {how}, 99th percentile", tail, "s"))
    for mib in (1, extent.large_mib):
        say(f"  notice with {mib} MiB, load {os.getloadavg()[0]:.1f}")
        seen_s, sealed_s = notice_to_sealed(folder / f"notice-{mib}", server, mib=mib)
        if mib == 1:
            rows.append(_row("a cloud's notice to the file that tells the program", seen_s, "s"))
        rows.append(_row(f"a cloud's notice to all sealed, {_size(mib)} not stored before", sealed_s, "s"))
    say(f"  slowdown, {2 * extent.pairs * extent.phase_s:.0f} s, load {os.getloadavg()[0]:.1f}")
    slower = slowdowns(folder / "slowdown", server, phase_s=extent.phase_s, pairs=extent.pairs)
    rows.append(_row("items of 10 ms, longer with a mirror beside them", statistics.median(slower), "%", goal=1.0))
    rows.append(
        _row(f"the same, from the least to the most of {len(slower)} pairs of turns", max(slower) - min(slower), "%")
    )
    return rows


def _engine_rows(folder: Path, server: Server, name: str, engine: str, *, mib: int) -> list[dict[str, Any]]:
    bucket = server.make_bucket()
    environment = {**server.environment(server.url, bucket=bucket), "SWEEP_STORE_ENGINE": engine}
    rows = []
    for what, size in (("nothing", 0), (_size(mib), mib)):
        count = 1 if size else 0
        url = f"s3://{bucket}/run-{size}"
        _, mirrored, restored = _there_and_back(folder / what, url, environment, count=count, size=size * MIB)
        rows.append(_row(f"S3 by {name}, mirror {what}: memory", mirrored.peak_mib, "MiB"))
        rows.append(_row(f"S3 by {name}, restore {what}: memory", restored.peak_mib, "MiB"))
    return rows


def _cost_rows(what: str, cost: Cost) -> list[dict[str, Any]]:
    return [
        _row(f"{what}: memory", cost.peak_mib, "MiB"),
        _row(f"{what}: CPU time", cost.cpu_s, "s"),
        _row(f"{what}: from its start to its end", cost.wall_s, "s"),
    ]


def _size(mib: int) -> str:
    return f"{mib // 1024} GiB" if mib % 1024 == 0 else f"{mib} MiB"


def _row(figure: str, value: float, unit: str, *, goal: float | None = None) -> dict[str, Any]:
    value = round(value, 2)
    return {
        "figure": figure,
        "value": value,
        "unit": unit,
        "peer": None,
        "goal": goal,
        "holds": goal is None or value <= goal,
    }

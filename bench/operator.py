"""The operator among thousands of pods, beside a bare client and an Indexed Job on the same cluster.

API server, controller manager and scheduler are real; kwok plays kubelets and sidecars. All of it shares the processors
of one machine with the operator and with whoever measures, so that ratios say more than seconds.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import dataclass
from typing import Any

from bench.operator_api import Calls, status_bytes
from bench.operator_cluster import ENDS_AFTER_S, SWEEPS, Cluster, cluster_for, sweep_manifest
from bench.operator_creation import Made, by_bare_client, by_job, by_sweeps
from bench.operator_look import look_at
from bench.operator_losses import (
    APART,
    CLOSE,
    Relaunches,
    one_by_one,
    steadily,
    take,
    wait_until_running,
    with_their_nodes,
)
from bench.operator_observer import Observer
from bench.operator_process import Operator
from bench.operator_pushes import pushed, tokens_of
from rig.progress import say

_REST_S = 20.0
_LONGEST_S = 1800.0
"""However busy the machine is, what has not come about by then will not."""
_RAISED = 1000
"""Requests a second that the controller manager is allowed in the second run of the job: the default is 20."""


@dataclass(frozen=True, kw_only=True)
class _Extent:
    """How much is measured."""

    sizes: tuple[int, ...]
    """Pods of the sweep, ascending; the last one gets every scenario."""
    sweeps: tuple[int, int]
    """So many sweeps at once, of so many shards each."""
    through: tuple[int, int]
    """A sweep from its creation to its end: shards, parallelism."""
    lost: int
    singles: int
    churn_s: float
    push_s: float
    job_s: float
    job_singles: int


_WHOLE = _Extent(
    sizes=(100, 1000, 10_000),
    sweeps=(200, 50),
    through=(10_000, 1000),
    lost=1000,
    singles=30,
    churn_s=60.0,
    push_s=60.0,
    job_s=60.0,
    job_singles=5,
)
_QUICK = _Extent(
    sizes=(100, 1000),
    sweeps=(20, 50),
    through=(500, 100),
    lost=200,
    singles=10,
    churn_s=10.0,
    push_s=20.0,
    job_s=15.0,
    job_singles=2,
)


def figures(*, quick: bool = False) -> list[dict[str, Any]]:
    """Measure creations, losses, churn, pushes, memory and CPU; `quick`: up to 1,000 shards, within minutes."""
    return asyncio.run(_figures(_QUICK if quick else _WHOLE))


async def _figures(extent: _Extent) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for size in (100, 1000, 10_000):
        rows += _look_rows(size)
    for size in extent.sizes:
        bare = await _bare(size)
        is_largest = size == extent.sizes[-1]
        rows += await _sweep(size, bare, extent if is_largest else None)
    rows += await _job(extent, size=extent.sizes[-1])
    rows += await _many(extent)
    rows += await _through(extent)
    return rows


def _look_rows(size: int) -> list[dict[str, Any]]:
    look = look_at(size)
    _tell(f"a look at {size:,} pods: {look.total_ms:.0f} ms")
    return [
        _row(f"{size:,} pods: CPU time of a look", look.total_ms, "ms"),
        _row(f"{size:,} pods: of it, to decide", look.decide_ms, "ms"),
        _row(f"{size:,} pods: memory that a pod takes", look.pod_kib, "KiB"),
        _row(f"{size:,} pods: status with all running", look.status_kib, "KiB", goal=256),
    ]


async def _bare(size: int) -> Made:
    async with cluster_for(size) as cluster:
        made = await by_bare_client(cluster, size)
    _tell(f"{size:,} pods by a bare client: {made.rate:.0f}/s")
    return made


async def _sweep(size: int, bare: Made, extent: _Extent | None) -> list[dict[str, Any]]:
    """Measure one sweep of that size; with `extent`, all that can happen to it."""
    what = f"{size:,} pods"
    async with cluster_for(size + size // 5) as cluster, Observer(cluster.client) as observer:
        operator = Operator(cluster.control_plane.kubeconfig, cluster.directory / "operator.log")
        try:
            await operator.start()
            before = await operator.calls()
            used = operator.cpu_s()
            made = await by_sweeps(cluster, observer, sweeps=1, shards=size, seconds=_LONGEST_S)
            used = operator.cpu_s() - used
            _tell(f"{what} by the operator: {made.rate:.0f}/s, {made.rate / bare.rate:.2f} of the bare client's")
            rows = [
                _row(f"{what}: creations, of a bare client's rate", made.rate / bare.rate, "", goal=0.5, at_least=True),
                {**_row(f"{what}: creations", made.rate, "/s"), "peer": f"bare client {bare.rate:.0f}/s"},
                _row(f"{what}: from the sweep's creation to its last pod", made.from_asking_s, "s"),
                {
                    **_row(f"{what}: CPU time per creation", 1000 * used / size, "ms"),
                    "peer": f"bare client {1000 * bare.cpu_s / size:.1f} ms",
                },
            ]
            await wait_until_running(cluster.client, seconds=_LONGEST_S)
            await _until_quiet(operator)
            calls = (await operator.calls()).since(before)
            rows.append(_row(f"{what}: API calls per pod until all run", calls.total() / size, ""))
            rows.append(_row(f"{what}: status writes until all run", calls["update resumablesweeps/status"], ""))
            rows.append(_row(f"{what}: CPU at rest, of a core", await operator.cpu_share(_REST_S), "%"))
            rows.append(_row(f"{what}: memory at rest", operator.memory_mib(), "MiB", goal=200))
            rows += await _single_rows(what, cluster, observer, operator, count=extent.singles if extent else 10)
            if extent is not None:
                rows += await _misfortunes(what, extent, cluster, observer, operator)
            rows.append(_row(f"{what}: memory at its highest", operator.memory_mib(peak=True), "MiB", goal=200))
            kib = await status_bytes(cluster.client, f"{SWEEPS}/sweep-0") / 1024
            rows.append(_row(f"{what}: status of the sweep", kib, "KiB", goal=256))
        finally:
            operator.stop()
    return rows


async def _misfortunes(
    what: str, extent: _Extent, cluster: Cluster, observer: Observer, operator: Operator
) -> list[dict[str, Any]]:
    """Measure mass loss, churn, a cold start and pushes, one after the other."""
    lost = await with_their_nodes(cluster, observer, pods=extent.lost, seconds=120)
    rows = _loss_rows(f"{what}, {extent.lost:,} lost at once with their nodes", lost, goals=(None, 5.0))
    await _until_quiet(operator)
    before = await operator.calls()
    used, began = operator.cpu_s(), time.monotonic()
    churn = await steadily(cluster, observer, rate=20, seconds=extent.churn_s, rest_s=30)
    used = operator.cpu_s() - used
    share, churned = 100 * used / (time.monotonic() - began), len(churn.seconds)
    calls = (await operator.calls()).since(before)
    rows += _loss_rows(f"{what}, 20 lost a second for {extent.churn_s:.0f} s", churn)
    rows.append(_row(f"{what}, 20 lost a second: CPU of a core", share, "%"))
    rows.append(_row(f"{what}, 20 lost a second: CPU time per relaunch", 1000 * used / max(1, churned), "ms"))
    rows += _call_rows(f"{what}, 20 lost a second", calls, len(churn.seconds))
    await _until_quiet(operator)
    rows += await _cold_start_rows(what, cluster, observer, operator)
    await _until_quiet(operator)
    rows += await _push_rows(what, extent, cluster, observer, operator)
    return rows


async def _single_rows(
    what: str, cluster: Cluster, observer: Observer, operator: Operator, *, count: int
) -> list[dict[str, Any]]:
    rows = []
    for how, pause_s in (("one lost after the other", CLOSE), ("one lost alone", APART)):
        before = await operator.calls()
        found = await one_by_one(cluster, observer, count=count, seconds=180, pause_s=pause_s)
        calls = (await operator.calls()).since(before)
        rows += _loss_rows(f"{what}, {how}", found, goals=(0.3, 1.0))
        rows += _call_rows(f"{what}, {how}", calls, len(found.seconds))
    return rows


async def _cold_start_rows(what: str, cluster: Cluster, observer: Observer, operator: Operator) -> list[dict[str, Any]]:
    operator.stop(signal.SIGKILL)
    loss = await take(cluster.client, observer.latest[("sweep-0", 0)])
    began = time.monotonic()
    ready_s = await operator.start()
    await observer.wait(
        lambda: observer.latest[("sweep-0", 0)].attempt > loss.pod.attempt, what="the replacement", seconds=120
    )
    decided_s = observer.latest[("sweep-0", 0)].at - began
    _tell(f"cold start: ready after {ready_s:.2f} s, a lost pod replaced after {decided_s:.2f} s")
    return [
        _row(f"{what}: cold start, until it is ready", ready_s, "s"),
        _row(f"{what}: cold start, until a pod lost meanwhile is replaced", decided_s, "s"),
    ]


async def _push_rows(
    what: str, extent: _Extent, cluster: Cluster, observer: Observer, operator: Operator
) -> list[dict[str, Any]]:
    senders = await tokens_of(cluster.client, observer)
    rows = []
    # Tokens are reviewed in the first rounds, and known afterwards.
    for stage, seconds, first in (("first 20 s", 20.0, 1), ("afterwards", extent.push_s, 1000)):
        used = operator.cpu_s()
        heard = await pushed(operator, senders, seconds=seconds, first_round=first)
        cpu = 100 * (operator.cpu_s() - used) / heard.span_s
        codes = ", ".join(f"{code}: {count}" for code, count in sorted(heard.codes.items()))
        _tell(f"pushes {stage}: {codes}, CPU {cpu:.0f} %")
        name = f"{what}, {heard.asked:.0f} reports/s, {stage}"
        ordered = sorted(heard.seconds)
        rows += [
            {**_row(f"{name}: answered 200", 100 * heard.codes[200] / heard.codes.total(), "%"), "codes": codes},
            _row(f"{name}: median", 1000 * ordered[len(ordered) // 2], "ms"),
            _row(f"{name}: 99th percentile", 1000 * ordered[int(0.99 * len(ordered))], "ms"),
            _row(f"{name}: CPU of a core", cpu, "%"),
            _row(f"{name}: CPU time per report", 10 * cpu * heard.span_s / heard.codes.total(), "ms"),
        ]
    return rows


async def _job(extent: _Extent, *, size: int) -> list[dict[str, Any]]:
    rows = []
    for rate in (20, _RAISED):
        flags = () if rate == 20 else (f"--kube-api-qps={rate}", f"--kube-api-burst={rate}")
        who = f"Indexed Job, its controller allowed {rate} requests/s"
        async with cluster_for(size, controllers=flags) as cluster, Observer(cluster.client) as observer:
            made = await by_job(cluster, observer, size, seconds=extent.job_s)
            _tell(f"{made.pods:,} of {size:,} pods by an {who}: {made.rate:.0f}/s")
            rows.append(_row(f"{who}: creations, the first {made.pods:,} of {size:,}", made.rate, "/s"))
            if made.pods == size:
                await wait_until_running(cluster.client, seconds=_LONGEST_S)
                found = await one_by_one(cluster, observer, count=extent.job_singles, seconds=90)
                rows += _loss_rows(f"{who}, {size:,} pods, one lost after the other", found)
                lost = await with_their_nodes(cluster, observer, pods=extent.lost, seconds=180)
                rows += _loss_rows(f"{who}, {size:,} pods, {extent.lost:,} lost at once with their nodes", lost)
    return rows


async def _many(extent: _Extent) -> list[dict[str, Any]]:
    sweeps, shards = extent.sweeps
    what = f"{sweeps} sweeps of {shards}"
    async with cluster_for(sweeps * shards) as cluster, Observer(cluster.client) as observer:
        operator = Operator(cluster.control_plane.kubeconfig, cluster.directory / "operator.log")
        try:
            await operator.start()
            made = await by_sweeps(cluster, observer, sweeps=sweeps, shards=shards, seconds=_LONGEST_S)
            _tell(f"{what}: {made.rate:.0f}/s")
            await wait_until_running(cluster.client, seconds=_LONGEST_S)
            await _until_quiet(operator)
            rows = [
                _row(f"{what}: creations", made.rate, "/s"),
                _row(f"{what}: from their creation to the last pod", made.from_asking_s, "s"),
                _row(f"{what}: CPU at rest, of a core", await operator.cpu_share(_REST_S), "%"),
                _row(f"{what}: memory at its highest", operator.memory_mib(peak=True), "MiB", goal=200),
            ]
            rows += await _single_rows(what, cluster, observer, operator, count=extent.singles)
        finally:
            operator.stop()
    return rows


async def _through(extent: _Extent) -> list[dict[str, Any]]:
    """Measure a sweep whose shards complete one after the other, to its end."""
    shards, parallelism = extent.through
    what = f"{shards:,} shards, {parallelism:,} at a time, {ENDS_AFTER_S:g} s each"
    async with cluster_for(parallelism * 2) as cluster, Observer(cluster.client):
        operator = Operator(cluster.control_plane.kubeconfig, cluster.directory / "operator.log")
        try:
            await operator.start()
            manifest = sweep_manifest("through", shards=shards, parallelism=parallelism, ends=True)
            began = time.monotonic()
            await cluster.client.create(SWEEPS, manifest)
            phase = ""
            while phase not in ("Complete", "Failed"):
                await asyncio.sleep(0.5)
                status = (await cluster.client.get(f"{SWEEPS}/through")).get("status") or {}
                phase = status.get("phase", "")
                if time.monotonic() - began > 900:
                    raise RuntimeError(f"{what}: not complete after 900 s: {status.get('shards')}")
            seconds = time.monotonic() - began
            if phase != "Complete":
                raise RuntimeError(f"{what}: {phase}: {status.get('conditions')}")
            memory = operator.memory_mib(peak=True)
        finally:
            operator.stop()
    _tell(f"{what}: complete after {seconds:.1f} s")
    return [
        _row(f"{what}: from its creation to Complete", seconds, "s"),
        _row(f"{what}: shards through", shards / seconds, "/s"),
        _row(f"{what}: memory at its highest", memory, "MiB", goal=200),
    ]


async def _until_quiet(operator: Operator, *, seconds: float = 120) -> None:
    """Wait until the operator has dealt with what there was: it uses little for a while."""
    deadline = time.monotonic() + seconds
    while await operator.cpu_share(3.0) > 10 and time.monotonic() < deadline:
        pass


def _loss_rows(
    what: str, found: Relaunches, *, goals: tuple[float | None, float | None] = (None, None)
) -> list[dict[str, Any]]:
    count = len(found.seconds) + found.missing
    rows = []
    for share, name, goal in ((0.5, "median", goals[0]), (0.99, "99th percentile", goals[1])):
        value = found.quantile(share)
        figure = f"{what}: from the signal to the replacement, {name} of {count}"
        row = _row(figure, value if value is not None else float("inf"), "s", goal=goal)
        rows.append(row if value is not None else {**row, "value": None, "holds": goal is None})
    if found.missing:
        rows.append(_row(f"{what}: not replaced in time", found.missing, ""))
    _tell(f"{what}: " + ", ".join(f"{row['value']}" for row in rows))
    return rows


def _call_rows(what: str, calls: Calls, relaunched: int) -> list[dict[str, Any]]:
    if not relaunched:
        return []
    row = _row(f"{what}: API calls per relaunch", calls.total() / relaunched, "")
    return [{**row, "calls": dict(calls)}]


def _row(figure: str, value: float, unit: str, *, goal: float | None = None, at_least: bool = False) -> dict[str, Any]:
    holds = goal is None or (value >= goal if at_least else value <= goal)
    shown = value if value == float("inf") else round(value, 3 if value < 10 else 1)
    return {"figure": figure, "value": shown, "unit": unit, "peer": None, "goal": goal, "holds": holds}


def _tell(line: str) -> None:
    say(f"  {line}, load {os.getloadavg()[0]:.1f}")

"""What one look at a sweep takes of the processor and of memory, by the number of its pods, with no API server.

Processor time of one thread: other work on the machine changes it little.
"""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.operator_cluster import sweep_manifest
from resumable_sweep.contract.outcome import Outcome
from resumable_sweep.contract.report import Report, Stage
from sweep_operator.decide import decide
from sweep_operator.kube.projection import node_view, pod_view
from sweep_operator.model.observed import Creation, PodView, Presence
from sweep_operator.model.plan import CreateAttempt
from sweep_operator.model.snapshot import Snapshot, Sweep
from sweep_operator.pods.attempt_pod import pod_for
from sweep_operator.pods.settings import PodSettings
from sweep_operator.runtime.translation import status_manifest, sweep_of

_TIMES = 3
_PODS_A_NODE = 100
_SAMPLE = 1000
"""So many pods tell what one takes."""
_SETTINGS = PodSettings(sidecar_image="sidecar:bench")


@dataclass(frozen=True)
class Look:
    """Milliseconds of one look's parts, KiB of the status, and KiB of memory that a pod takes."""

    decide_ms: float
    write_ms: float
    read_ms: float
    status_kib: float
    pod_kib: float

    @property
    def total_ms(self) -> float:
        """All that is calculated in a look that writes the status."""
        return self.decide_ms + self.write_ms + self.read_ms


def look_at(shards: int) -> Look:
    """Measure looks at a sweep of which every shard has a pod that runs."""
    manifest = sweep_manifest("lr", shards=shards, parallelism=shards)
    manifest["metadata"] |= {"namespace": "bench", "uid": "0" * 36, "resourceVersion": "1", "generation": 1}
    manifest["status"] = {"items": {"total": shards, "sha256": "0" * 64}}
    now = time.time()
    sweep = sweep_of(manifest)
    first = decide(Snapshot(sweep=sweep), now)
    orders = [action for action in first.actions if isinstance(action, CreateAttempt)]
    if len(orders) != shards:
        raise RuntimeError(f"{len(orders)} pods were ordered for {shards} shards")
    sample = orders[:_SAMPLE]
    tracemalloc.start()
    pods = [_running(sweep, order, now=now) for order in sample]
    pod_kib = tracemalloc.get_traced_memory()[0] / 1024 / len(sample)
    tracemalloc.stop()
    pods += [_running(sweep, order, now=now) for order in orders[_SAMPLE:]]
    nodes = {f"node-{n}": node_view(_node(n)) for n in range(shards // _PODS_A_NODE + 1)}
    snapshot = Snapshot(
        sweep=replace(sweep, status=first.status),
        presence=Presence(pods=tuple(pods), nodes=nodes),
        creations={order.attempt: Creation(created_at=now, seen=True) for order in orders},
        reports={order.attempt: _report(order, Stage.MIRRORING, sequence=2) for order in orders},
        heard_at={order.attempt: now for order in orders},
        listening_since=now,
    )
    placed = decide(snapshot, now)
    manifest["status"] = status_manifest(placed.status, sweep)
    read_ms, sweep = _taken(lambda: sweep_of(manifest))
    # A snapshot remembers what it has once worked out, so each look has one of its own.
    decide_ms, plan = _taken(lambda: decide(replace(snapshot, sweep=sweep, presence=replace(snapshot.presence)), now))
    write_ms, status = _taken(lambda: status_manifest(plan.status, sweep))
    return Look(decide_ms, write_ms, read_ms, len(json.dumps(status, separators=(",", ":"))) / 1024, pod_kib)


def _taken(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the least milliseconds of several times, and what the last returned."""
    taken = []
    for _ in range(_TIMES):
        began = time.thread_time()
        result = work()
        taken.append(1000 * (time.thread_time() - began))
    return min(taken), result


def _report(order: CreateAttempt, stage: Stage, *, sequence: int) -> Report:
    return Report(run_id="bench", shard=order.shard, attempt=order.attempt, sequence=sequence, stage=stage)


def _running(sweep: Sweep, order: CreateAttempt, *, now: float) -> PodView:
    # By way of JSON, as from the API server: what two pods have in common is there twice.
    pod = json.loads(json.dumps(pod_for(sweep, order, settings=_SETTINGS, stop_path="/stopping/x")))
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - 60))
    running = {"running": {"startedAt": when}}
    said = Outcome("Restored", "", asdict(_report(order, Stage.RESTORING, sequence=1)))
    restored = {"exitCode": 0, "reason": "Completed", "finishedAt": when, "message": said.to_json()}
    pod["metadata"] |= {"uid": f"{order.attempt:036}", "creationTimestamp": when}
    pod["spec"]["nodeName"] = f"node-{order.shard // _PODS_A_NODE}"
    pod["status"] = {
        "phase": "Running",
        "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": when}],
        "initContainerStatuses": [
            {"name": "sweep-restore", "state": {"terminated": restored}},
            {"name": "sweep-mirror", "state": running},
        ],
        "containerStatuses": [{"name": "main", "imageID": f"main@sha256:{0:064}", "state": running}],
    }
    view = pod_view(json.loads(json.dumps(pod)))
    if view is None:
        raise RuntimeError("the operator does not know its own pod")
    return view


def _node(number: int) -> dict[str, Any]:
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    return {"metadata": {"name": f"node-{number}", "uid": f"node-uid-{number}"}, "status": {"conditions": [ready]}}

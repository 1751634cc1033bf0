"""What is wrong with sidecars themselves: one that is down, and those of whom nothing is heard."""

from __future__ import annotations

from collections.abc import Sequence

from resumable_sweep.contract.report import HEARTBEAT_SECONDS
from sweep_operator.decide.wording import which_shards
from sweep_operator.model.observed import OUT_OF_MEMORY, ContainerView, PodView
from sweep_operator.model.problem import Problem
from sweep_operator.model.shard_record import ShardRecord, ShardState
from sweep_operator.model.snapshot import Snapshot

STALE_AFTER_SECONDS = 3 * HEARTBEAT_SECONDS

STARTING = ("", "PodInitializing", "ContainerCreating")
"""Reasons of a container that waits as every container does at first."""


def mirrors_down(snapshot: Snapshot, records: Sequence[ShardRecord]) -> Problem | None:
    """Return that mirrors do not run although their experiments do, None where all run that should."""
    pods = ((record.shard, snapshot.pod_of(record.attempt)) for record in records)
    down = [(shard, pod, mirror) for shard, pod in pods if pod and (mirror := _mirror_down(pod))]
    if not down:
        return None
    _, pod, mirror = down[0]
    said = mirror.waiting_reason if mirror.waiting_reason not in STARTING else f"exit code {mirror.exit_code}"
    if mirror.exit_reason == OUT_OF_MEMORY:
        said += f", {OUT_OF_MEMORY}: raise sidecar.resources, a value of the operator's chart, for further pods"
    who = f"{which_shards([shard for shard, *_ in down])} ({'' if len(down) == 1 else 'first '}pod {pod.name})"
    return Problem(
        reason="MirrorDown",
        message=(
            f"{who}: {mirror.name} does not run ({said}), so what the program records now is on its node alone; see "
            f"`kubectl logs {pod.name} -c {mirror.name} --previous`"
        ),
    )


def _mirror_down(pod: PodView) -> ContainerView | None:
    if pod.runs_undisturbed or pod.mirror is None or not pod.is_running:
        return None
    return pod.mirror if _is_down(pod.mirror) else None


def _is_down(mirror: ContainerView) -> bool:
    return mirror.exit_code is not None or mirror.waiting_reason not in STARTING


def silence(snapshot: Snapshot, records: Sequence[ShardRecord], *, now: float) -> Problem | None:
    """Return that running attempts do not report, None where all do, or where none was told to."""
    if snapshot.listening_since is None:
        return None
    silent = [record for record in records if record.state is ShardState.ACTIVE and _is_silent(record, snapshot, now)]
    if not silent:
        return None
    which = which_shards([record.shard for record in silent])
    pod = snapshot.pods_by_attempt[silent[0].attempt]
    return Problem(
        reason="ProgressStale",
        message=(
            f"nothing was heard of {which} for {STALE_AFTER_SECONDS:.0f} s: they go on, and are stored, but "
            "DONE stands still and no notice of a cloud is heard; let their pods reach the operator (is there a "
            f"NetworkPolicy in between?), see `kubectl logs {pod.name} -c sweep-mirror`"
        ),
    )


def _is_silent(record: ShardRecord, snapshot: Snapshot, now: float) -> bool:
    since = max(snapshot.heard_at.get(record.attempt, 0.0), snapshot.listening_since or 0.0)
    if now - since <= STALE_AFTER_SECONDS:
        return False
    pod = snapshot.pod_of(record.attempt)
    if pod is None or not pod.is_running or (pod.mirror is not None and _is_down(pod.mirror)):
        return False
    node = snapshot.presence.nodes.get(pod.node)
    if node is not None and node.ready != "True":
        # The machine itself is silent, which has signals of its own.
        return False
    started_at = max((main.started_at or 0.0 for main in pod.mains), default=0.0)
    return now - max(since, started_at) > STALE_AFTER_SECONDS

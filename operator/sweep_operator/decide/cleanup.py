"""Which pods have served their purpose."""

from __future__ import annotations

from collections.abc import Iterable

from sweep_operator.decide.classify import was_ended_by_signal
from sweep_operator.model.observed import PodView, Role
from sweep_operator.model.plan import DeletePod
from sweep_operator.model.shard_record import UNDER_WAY, ShardRecord, ShardState
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Snapshot, Spec, SweepStatus

STOP_GRACE_SECONDS = 30
"""Grace of the operator's own deletions: time to finish an item and flush, bounded for programs that ignore SIGTERM."""

DRIFT_GRACE_SECONDS = 1
"""Grace of an attempt that is made of something else than the results so far: no more of its own is to be stored."""

LOST_GRACE_SECONDS = 10
"""Grace of an attempt that is presumed dead: should its machine live, there is time to flush.

No longer, because a quota counts the pod until twice as much has passed (pkg/quota/v1/evaluator/core), and its
successor may wait for that.
"""

_PRESUMED_DEAD = (Signal.NODE_SILENT, Signal.NODE_UNREACHABLE)


def deletions(pods: Iterable[PodView], status: SweepStatus, *, over: bool, keep_pods: int) -> list[DeletePod]:
    """Return the deletions that are due.

    These are attempts being stopped, attempts whose verdict stands in the status, and housekeeping pods whose result
    does; `over` tells that the sweep has ended, so that nothing more is expected of them. So many failed pods as
    `keep_pods` says stay for a look at their logs.
    """
    due = []
    failed = []
    records = status.records
    for pod in pods:
        if pod.deleted:
            continue
        record = records[pod.shard] if pod.role is Role.ATTEMPT and pod.shard < len(records) else None
        if record is not None and record.state is ShardState.ACTIVE and record.attempt == pod.attempt:
            continue  # so it is with nearly all of them
        if pod.role is Role.RETAIN:
            continue  # it has a life of its own, which goes on after the sweep's end
        if pod.role is not Role.ATTEMPT:
            # A merge that was begun before failed shards were retried has an outcome that nobody wants any more.
            early = pod.role is Role.MERGE and not status.is_settled
            if over or early or (pod.role is Role.RESOLVE and status.items_sha256):
                due.append(DeletePod(pod=pod, reason="Settled"))
            continue
        if record is not None and pod.attempt in record.attempts and record.state in UNDER_WAY:
            if record.state is ShardState.STOPPING:
                due.append(DeletePod(pod=pod, reason="Stopped", grace_seconds=STOP_GRACE_SECONDS))
        elif _has_failed_by_itself(pod, record):
            failed.append(pod)
        else:
            due.append(DeletePod(pod=pod, reason="Settled", grace_seconds=_grace_of(pod, record)))
    failed.sort(key=lambda pod: pod.attempt)
    due += [DeletePod(pod=pod, reason="Settled") for pod in failed[: max(0, len(failed) - keep_pods)]]
    return due


def forbidden(snapshot: Snapshot) -> list[DeletePod]:
    """Return the deletions of pods that must not run a moment longer, whatever they are for."""
    pods = (pod for pod in snapshot.presence.pods if pod.uid in snapshot.forbidden)
    return [DeletePod(pod=pod, reason="Forbidden", grace_seconds=0) for pod in pods]


def goes_at(status: SweepStatus, spec: Spec) -> float | None:
    """Return when a sweep that has ended is to be deleted (Unix seconds), None where it is not, or not yet to be told.

    The pod that deletes what is not kept in the store would go with it: it comes before.
    """
    if spec.ttl_seconds is None or status.completed_at is None:
        return None
    retains = spec.keep is not None and status.phase == "Complete"
    if retains and (status.retained_at is None or status.retained_at < status.completed_at):
        return None
    return status.completed_at + spec.ttl_seconds


def _grace_of(pod: PodView, record: ShardRecord | None) -> int:
    if record is not None and record.signal in _PRESUMED_DEAD:
        return LOST_GRACE_SECONDS
    drifted = record is not None and pod.attempt == record.attempt and record.signal is Signal.DRIFT
    return DRIFT_GRACE_SECONDS if drifted else STOP_GRACE_SECONDS


def _has_failed_by_itself(pod: PodView, record: ShardRecord | None) -> bool:
    if pod.phase != "Failed" or pod.disruption or not any(main.exit_code for main in (*pod.inits, *pod.mains)):
        return False
    # One that has stopped for a cloud's notice may look like one that somebody has killed: its verdict tells.
    return record is None or not record.signal.is_reclaim or not was_ended_by_signal(pod, {137, 143})

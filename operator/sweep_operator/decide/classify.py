"""Why an attempt ended, or is about to: the first evidence wins."""

from __future__ import annotations

from dataclasses import dataclass

from resumable_sweep.contract.outcome import Exit
from resumable_sweep.contract.report import Report, Stage
from sweep_operator.model.observed import NodeView, PodView, Presence
from sweep_operator.model.signals import Signal

UNREACHABLE_AFTER_SECONDS = 60
"""How long a node may be `Unknown` before its pods are presumed dead. The shard's log fences a zombie."""

AMBIGUOUS_SECONDS = 5
"""How long a pod that a signal ended waits for evidence of a reclaim before it counts as a failure."""

_DISRUPTIONS = {
    "EvictionByEvictionAPI": Signal.EVICTED,
    "DeletionByTaintManager": Signal.TAINTED,
    "PreemptionByScheduler": Signal.PREEMPTED,
    "DeletionByPodGC": Signal.POD_COLLECTED,
    "TerminationByKubelet": Signal.KUBELET_TERMINATED,
}
_SHUTDOWN_REASONS = frozenset({"Terminated", "Shutdown", "NodeShutdown"})
_REJECTIONS = ("OutOf", "UnexpectedAdmissionError", "TopologyAffinity", "NodeAffinity", "PodAffinity", "Preempting")
_KILLED_BY_SIGNAL = frozenset({137, 143})
_RESTORE_EXITS = {
    Exit.USAGE: Signal.CONFIGURATION,
    Exit.STORE_NOT_CREATE_ONLY: Signal.CONFIGURATION,
    Exit.ITEMS_CHANGED: Signal.ITEMS_CHANGED,
    Exit.ITEMS_INVALID: Signal.ITEMS_CHANGED,
    Exit.CHECKPOINT_CORRUPT: Signal.CHECKPOINT_CORRUPT,
    Exit.RESUME_FILE_MISSING: Signal.RESUME_FILE_MISSING,
    Exit.STORE_UNREACHABLE: Signal.STORE_UNREACHABLE,
    Exit.SUPERSEDED: Signal.SUPERSEDED,
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the evidence says of an attempt.

    `ended` tells that nothing of it runs any more, or that waiting for it is pointless; where it is false the attempt
    is leaving and may still flush. `message` is what the platform said, for people. `again_at` (Unix seconds) asks for
    another look because later evidence may decide.
    """

    signal: Signal = Signal.NONE
    ended: bool = False
    complete: bool = False
    message: str = ""
    again_at: float | None = None


STANDS = Finding()


def finding_of(
    pod: PodView | None, *, absent: bool, node_uid: str, presence: Presence, report: Report | None, now: float
) -> Finding:
    """Return what is known of an attempt's end.

    Parameters
    ----------
    pod:
        The attempt's pod, None where the caches show none.
    absent:
        Whether the API server itself says that there is no such pod.
    node_uid:
        The node incarnation that the attempt was placed on, empty where it was not.
    """
    if is_complete(pod, report):
        return Finding(complete=True, ended=pod is None or pod.is_terminal or _experiment_ended(pod))
    if pod is None:
        if not absent:
            return STANDS
        gone = node_uid and presence.nodes_visible and node_uid not in _uids(presence)
        return Finding(signal=Signal.NODE_GONE if gone else Signal.POD_VANISHED, ended=True, message="the pod is gone")
    sealed = report is not None and report.stage in (Stage.SEALED, Stage.STOPPED)
    # A crash that was published before its node went away stays the experiment's own failure.
    if pod.phase == "Failed" and not _platform_ended(pod):
        lost = _node_finding(pod, node_uid=node_uid, presence=presence, now=now)
        return _failure(pod, node_lost=lost.signal, now=now)
    for finding in (_disruption(pod), _node_finding(pod, node_uid=node_uid, presence=presence, now=now)):
        if finding.signal:
            return Finding(
                signal=finding.signal,
                ended=finding.ended or sealed or pod.is_terminal,
                message=finding.message,
                again_at=finding.again_at,
            )
    if report is not None and report.stage is Stage.STOPPED:
        return Finding(
            signal=Signal.SUPERSEDED, ended=True, message=report.message or "the sidecar has stopped for good"
        )
    if pod.phase == "Succeeded":
        return Finding(
            signal=Signal.UNPROVEN, ended=True, message="all containers exited 0, but nothing proves the items"
        )
    if pod.deleted:
        return Finding(signal=Signal.POD_DELETED, ended=sealed, message="the pod was deleted, not by the operator")
    return Finding(again_at=_unknown_until(pod, presence))


def is_complete(pod: PodView | None, report: Report | None) -> bool:
    """Return whether the `complete` entry stands in the store, as the sidecar or the restore container said."""
    if report is not None and report.stage is Stage.COMPLETE:
        return True
    if pod is None:
        return False
    if pod.restore is not None and pod.restore.exit_code == Exit.COMPLETE:
        return True
    return pod.mirror_outcome is not None and pod.mirror_outcome.details.get("stage") == Stage.COMPLETE


def _platform_ended(pod: PodView) -> bool:
    return bool(pod.disruption) or pod.reason in _SHUTDOWN_REASONS or pod.deleted


def _experiment_ended(pod: PodView) -> bool:
    return all(main.exit_code is not None for main in pod.mains)


def _uids(presence: Presence) -> set[str]:
    return {node.uid for node in presence.nodes.values()}


def _disruption(pod: PodView) -> Finding:
    if pod.disruption:
        if pod.reason == "Evicted" and pod.disruption == "TerminationByKubelet":
            return Finding(signal=Signal.NODE_PRESSURE, message=pod.message)
        signal = _DISRUPTIONS.get(pod.disruption, Signal.DISRUPTED)
        return Finding(signal=signal, message=pod.message or pod.disruption)
    if pod.reason in _SHUTDOWN_REASONS:
        return Finding(signal=Signal.NODE_SHUTDOWN, message=pod.message)
    return STANDS


def _node_finding(pod: PodView, *, node_uid: str, presence: Presence, now: float) -> Finding:
    if not pod.node or not presence.nodes_visible:
        return STANDS
    node = presence.nodes.get(pod.node)
    if node is None:
        return Finding(signal=Signal.NODE_GONE, ended=True, message=f"node {pod.node} is gone")
    if node_uid and node.uid != node_uid:
        return Finding(signal=Signal.NODE_REPLACED, ended=True, message=f"node {pod.node} is another machine now")
    if node.shutting_down or node.terminating:
        said = "is shutting down" if node.shutting_down else f"has the taint {node.terminating}"
        return Finding(signal=Signal.NODE_SHUTTING_DOWN, message=f"node {pod.node} {said}")
    until = _unknown_until(pod, presence)
    if until is not None and now >= until:
        return Finding(signal=Signal.NODE_UNREACHABLE, ended=True, message=f"node {pod.node} does not answer")
    return STANDS


def _unknown_until(pod: PodView, presence: Presence) -> float | None:
    node: NodeView | None = presence.nodes.get(pod.node)
    if node is None or node.ready != "Unknown":
        return None
    return node.ready_since + UNREACHABLE_AFTER_SECONDS


def _failure(pod: PodView, *, node_lost: Signal, now: float) -> Finding:
    """Tell a failed pod without evidence of a reclaim: the platform's refusal, the restore's word, or the user's."""
    if pod.restore is not None and pod.restore.exit_code not in (None, 0):
        code = pod.restore.exit_code
        known = Exit(code) if code in set(Exit) else Exit.FAILED
        said = pod.restore_outcome.message if pod.restore_outcome else f"sweep-restore exited {code}"
        return Finding(signal=_RESTORE_EXITS.get(known, Signal.START_FAILED), ended=True, message=said)
    if pod.reason == "Evicted":
        return Finding(signal=Signal.STORAGE_LIMIT, ended=True, message=pod.message)
    if pod.reason == "DeadlineExceeded":
        return Finding(signal=Signal.DEADLINE, ended=True, message=pod.message)
    failed = [main for main in pod.mains if main.exit_code not in (None, 0)]
    if pod.reason.startswith(_REJECTIONS) or not failed:
        return Finding(signal=Signal.REJECTED, ended=True, message=f"{pod.reason}: {pod.message}".strip(": "))
    main = failed[0]
    said = f"container {main.name} exited {main.exit_code}" + (f": {main.message}" if main.message else "")
    if main.exit_reason in ("StartError", "ContainerCannotRun"):
        return Finding(signal=Signal.START_FAILED, ended=True, message=said)
    if main.exit_reason == "OOMKilled":
        return Finding(signal=Signal.OUT_OF_MEMORY, ended=True, message=f"container {main.name} ran out of memory")
    if all(container.exit_code in _KILLED_BY_SIGNAL for container in failed):
        # A container that a signal ended may be the first trace of a reclaim whose other traces are on their way.
        if node_lost:
            return Finding(signal=node_lost, ended=True, message=said)
        decided_at = max((container.finished_at or now) for container in failed) + AMBIGUOUS_SECONDS
        if now < decided_at:
            return Finding(again_at=decided_at)
    return Finding(signal=Signal.CONTAINER_FAILED, ended=True, message=said)

"""Why an attempt ended, or is about to: the first evidence wins."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace

from resumable_sweep.contract.outcome import Exit
from resumable_sweep.contract.report import Report, Stage
from sweep_operator.model.observed import OUT_OF_MEMORY, PodView, Presence
from sweep_operator.model.problem import Problem
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Snapshot

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
_EXIT_REASONS = {
    OUT_OF_MEMORY: Signal.OUT_OF_MEMORY,
    "StartError": Signal.START_FAILED,
    "ContainerCannotRun": Signal.START_FAILED,
    # containerd's exit code 255 for a container whose shim is gone: its machine, or containerd, was started anew.
    "Unknown": Signal.CONTAINER_LOST,
    # pkg/kubelet: exit code 137 without any times, for a container that was there before the machine started anew.
    "ContainerStatusUnknown": Signal.CONTAINER_LOST,
}
_LOST = frozenset(reason for reason, signal in _EXIT_REASONS.items() if signal is Signal.CONTAINER_LOST)
_OFF = frozenset({"node.cloudprovider.kubernetes.io/shutdown", "node.kubernetes.io/out-of-service"})
"""Taints by which the cloud, or a person, says of a silent node that it is off, and not merely cut off."""
_RESTORE_EXITS = {
    Exit.USAGE: Signal.CONFIGURATION,
    Exit.STORE_NOT_CREATE_ONLY: Signal.CONFIGURATION,
    Exit.ITEMS_CHANGED: Signal.ITEMS_CHANGED,
    Exit.ITEMS_INVALID: Signal.ITEMS_CHANGED,
    Exit.CHECKPOINT_CORRUPT: Signal.CHECKPOINT_CORRUPT,
    Exit.RESUME_FILE_MISSING: Signal.RESUME_FILE_MISSING,
    Exit.STORE_UNREACHABLE: Signal.STORE_UNREACHABLE,
    Exit.SUPERSEDED: Signal.SUPERSEDED,
    Exit.DRIFT: Signal.DRIFT,
    # What the template asks for decides which node a pod gets, and how much it may write there.
    Exit.SNAPSHOT_VOLUME_TOO_SMALL: Signal.STORAGE_LIMIT,
}

_STOPPED = {"CheckpointCorrupt": Signal.CHECKPOINT_DAMAGED, "CheckpointInvalid": Signal.CHECKPOINT_CORRUPT}
"""What it means that a mirror has stopped for good, by its reason."""


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
    pod: PodView | None,
    *,
    absent: bool,
    incarnation: str,
    presence: Presence,
    report: Report | None,
    unreachable_after: float,
    now: float,
) -> Finding:
    """Return what is known of an attempt's end.

    Parameters
    ----------
    pod:
        The attempt's pod, None where the caches show none.
    absent:
        Whether the API server itself says that there is no such pod.
    incarnation:
        The node incarnation that the attempt was placed on, empty where it was not.
    unreachable_after:
        For how many seconds a node may be `Unknown` before its pods are presumed dead. The shard's log fences a zombie.
    """
    if is_complete(pod, report):
        # Whatever becomes of the pod: the log has ended, and nobody can add to it.
        return Finding(complete=True, ended=True)
    if pod is None:
        if not absent:
            return STANDS
        gone = incarnation and presence.nodes_visible and not presence.has_node_of(incarnation)
        return Finding(signal=Signal.NODE_GONE if gone else Signal.POD_VANISHED, ended=True, message="the pod is gone")
    sealed = report is not None and report.stage in (Stage.SEALED, Stage.STOPPED)
    of_node = node_finding(
        pod, incarnation=incarnation, presence=presence, unreachable_after=unreachable_after, now=now
    )
    # A crash that was published before its node went away stays the experiment's own failure.
    if pod.phase == "Failed" and not _platform_ended(pod):
        return _failure(pod, node_lost=of_node.signal, now=now)
    if _crashed_before(pod, of_node, presence):
        crash = _failure(pod, node_lost=of_node.signal, now=now)
        return replace(crash, ended=of_node.ended or sealed or pod.is_terminal)
    for finding in (_disruption(pod), of_node):
        if finding.signal:
            ended = of_node.ended or sealed or pod.is_terminal
            return Finding(signal=finding.signal, ended=ended, message=finding.message)
    if report is not None and report.stage is Stage.STOPPED:
        signal = _STOPPED.get(report.problem, Signal.SUPERSEDED)
        return Finding(signal=signal, ended=True, message=report.message or "the sidecar has stopped for good")
    if pod.phase == "Succeeded" and not pod.deleted:
        return Finding(
            signal=Signal.UNPROVEN, ended=True, message="all containers exited 0, but nothing proves the items"
        )
    if pod.deleted:
        ended = sealed or pod.is_terminal
        return Finding(signal=Signal.POD_DELETED, ended=ended, message="the pod was deleted, not by the operator")
    return Finding(again_at=of_node.again_at)


def judged_by_leave(finding: Finding, *, pod: PodView | None, attempt: int, snapshot: Snapshot) -> Finding:
    """Return that an attempt's pod was made and must go, or is gone, because it reaches for what is not allowed."""
    if finding.complete:
        return finding
    refused = snapshot.forbidden.get(pod.uid) if pod is not None else None
    creation = snapshot.creations.get(attempt)
    if refused is None and creation is not None and creation.created_at is not None and creation.problem:
        refused = Problem(reason=creation.problem, message=creation.message)
    return finding if refused is None else Finding(signal=Signal.FORBIDDEN, ended=True, message=refused.message)


def is_complete(pod: PodView | None, report: Report | None) -> bool:
    """Return whether the `complete` entry stands in the store, as the sidecar or the restore container said."""
    if report is not None and report.stage is Stage.COMPLETE:
        return True
    if pod is None:
        return False
    if pod.restore is not None and pod.restore.exit_code == Exit.COMPLETE:
        return True
    return pod.mirror_outcome is not None and pod.mirror_outcome.details.get("stage") == Stage.COMPLETE


def was_ended_by_signal(pod: PodView, codes: Container[int | None]) -> bool:
    """Return whether those containers of a pod that have failed did so with one of these exit codes alone."""
    own = () if pod.restore is None else (pod.restore,)
    failed = [container for container in (*own, *pod.inits, *pod.mains) if container.exit_code not in (None, 0)]
    return bool(failed) and all(
        container.exit_code in codes and container.exit_reason not in _EXIT_REASONS for container in failed
    )


def has_failed(pod: PodView) -> bool:
    """Return whether the experiment's containers have ended, one of them of its own accord with another code than 0."""
    codes = [main.exit_code for main in pod.mains]
    own = [main.exit_code for main in pod.mains if main.exit_reason not in _LOST]
    return None not in codes and any(code and code not in _KILLED_BY_SIGNAL for code in own)


def failure_of(pod: PodView, *, now: float) -> Finding:
    """Return what the containers of a pod have failed of, whatever its phase says by now."""
    return _failure(pod, node_lost=Signal.NONE, now=now)


def _crashed_before(pod: PodView, of_node: Finding, presence: Presence) -> bool:
    """Return whether the experiment had failed of its own accord before the platform turned on its pod or node.

    While its sidecar still stores what there is, a pod whose containers have failed is not yet said to have failed.
    """
    if not has_failed(pod) or pod.disruption == "TerminationByKubelet" or pod.reason in _SHUTDOWN_REASONS:
        # A kubelet says why it ended a pod only when it has, and a program may answer SIGTERM with any code.
        return False
    failed_at = max(main.finished_at or 0.0 for main in pod.mains)
    if pod.deleted or pod.disruption:
        # By two clocks, the node's and the API server's.
        return 0 < failed_at < pod.deleted_at - AMBIGUOUS_SECONDS
    if of_node.signal is Signal.NODE_SHUTTING_DOWN:
        node = presence.nodes[pod.node]
        return node.shutting_down and 0 < failed_at < node.ready_since
    # Of a node that is lost nothing more is heard: what was published came before.
    return bool(of_node.signal)


def _platform_ended(pod: PodView) -> bool:
    return bool(pod.disruption) or pod.reason in _SHUTDOWN_REASONS or pod.deleted


def _disruption(pod: PodView) -> Finding:
    if pod.disruption:
        if pod.reason == "Evicted" and pod.disruption == "TerminationByKubelet":
            return Finding(signal=Signal.NODE_PRESSURE, message=pod.message)
        signal = _DISRUPTIONS.get(pod.disruption, Signal.DISRUPTED)
        return Finding(signal=signal, message=pod.message or pod.disruption)
    if pod.reason in _SHUTDOWN_REASONS:
        return Finding(signal=Signal.NODE_SHUTDOWN, message=pod.message)
    return STANDS


def node_finding(
    pod: PodView, *, incarnation: str, presence: Presence, unreachable_after: float, now: float
) -> Finding:
    """Return what the node of a pod says about the pod's end; `incarnation` is empty where it was not noted."""
    if not pod.node or not presence.nodes_visible:
        return STANDS
    node = presence.nodes.get(pod.node)
    if node is None:
        return Finding(signal=Signal.NODE_GONE, ended=True, message=f"node {pod.node} is gone")
    if incarnation and not node.is_object_of(incarnation):
        return Finding(signal=Signal.NODE_REPLACED, ended=True, message=f"node {pod.node} is another machine now")
    if incarnation and node.has_rebooted_since(incarnation):
        return Finding(signal=Signal.NODE_REBOOTED, ended=True, message=f"node {pod.node} was started anew")
    if node.ready == "Unknown" and node.terminating in _OFF:
        return Finding(signal=Signal.NODE_SHUTTING_DOWN, ended=True, message=f"node {pod.node} is switched off")
    if node.is_going:
        said = f"has the taint {node.terminating}" if node.terminating else "is being deleted"
        said = "is shutting down" if node.shutting_down else said
        return Finding(signal=Signal.NODE_SHUTTING_DOWN, message=f"node {pod.node} {said}")
    if node.ready != "Unknown" or not node.ready_since:
        # Of a node that has only registered nobody has said anything yet: neither that it is ready, nor since when not.
        return STANDS
    dead_at = node.ready_since + unreachable_after
    if now < dead_at:
        return Finding(again_at=dead_at)
    return Finding(signal=Signal.NODE_UNREACHABLE, ended=True, message=f"node {pod.node} does not answer")


def _failure(pod: PodView, *, node_lost: Signal, now: float) -> Finding:
    """Tell a failed pod without evidence of a reclaim: the platform's refusal, the restore's word, or the user's."""
    if pod.restore is not None and pod.restore.exit_code not in (None, 0):
        code = pod.restore.exit_code
        if code in _KILLED_BY_SIGNAL and node_lost:
            return Finding(signal=node_lost, ended=True, message="sweep-restore was ended by a signal")
        if pod.restore.exit_reason in _LOST:
            return Finding(signal=Signal.CONTAINER_LOST, ended=True, message="sweep-restore was lost with its machine")
        known = Exit(code) if code in set(Exit) else Exit.FAILED
        said = pod.restore_outcome.message if pod.restore_outcome else f"sweep-restore exited {code}"
        if pod.restore.exit_reason == OUT_OF_MEMORY:
            said = f"sweep-restore: {OUT_OF_MEMORY}: raise sidecar.resources, a value of the operator's chart"
        return Finding(signal=_RESTORE_EXITS.get(known, Signal.START_FAILED), ended=True, message=said)
    if pod.reason == "Evicted":
        return Finding(signal=Signal.STORAGE_LIMIT, ended=True, message=pod.message)
    if pod.reason == "DeadlineExceeded":
        return Finding(signal=Signal.DEADLINE, ended=True, message=pod.message)
    failed = [container for container in (*pod.inits, *pod.mains) if container.exit_code not in (None, 0)]
    if pod.reason.startswith(_REJECTIONS) or not failed:
        return Finding(signal=Signal.REJECTED, ended=True, message=f"{pod.reason}: {pod.message}".strip(": "))
    first = failed[0]
    said = f"container {first.name} exited {first.exit_code}" + (f": {first.message}" if first.message else "")
    for container in failed:
        signal = _EXIT_REASONS.get(container.exit_reason)
        if signal is not None:
            said = f"container {container.name}: {container.exit_reason} {container.message}".strip()
            return Finding(signal=signal, ended=True, message=said)
    if all(container.exit_code in _KILLED_BY_SIGNAL for container in failed):
        # A container that a signal ended may be the first trace of a reclaim whose other traces are on their way.
        if node_lost:
            return Finding(signal=node_lost, ended=True, message=said)
        decided_at = max(container.finished_at or 0.0 for container in failed) + AMBIGUOUS_SECONDS
        if now < decided_at:
            return Finding(again_at=decided_at)
        return Finding(signal=Signal.CONTAINER_KILLED, ended=True, message=said)
    return Finding(signal=Signal.CONTAINER_FAILED, ended=True, message=said)

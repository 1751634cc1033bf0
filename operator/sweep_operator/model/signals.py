"""The words by which an attempt's end is named: the same in status, event, report and metric label."""

from __future__ import annotations

from enum import StrEnum


class Signal(StrEnum):
    """Why an attempt ended, or is about to.

    The first evidence that is seen wins, and is kept.
    """

    NONE = ""

    # The node was reclaimed, or the pod was taken away by somebody else.
    EVICTED = "EvictionByEvictionAPI"
    TAINTED = "DeletionByTaintManager"
    PREEMPTED = "PreemptionByScheduler"
    POD_COLLECTED = "DeletionByPodGC"
    KUBELET_TERMINATED = "TerminationByKubelet"
    NODE_PRESSURE = "NodePressure"
    NODE_SHUTDOWN = "NodeShutdown"
    NODE_GONE = "NodeGone"
    NODE_REPLACED = "NodeReplaced"
    NODE_SHUTTING_DOWN = "NodeShuttingDown"
    NODE_UNREACHABLE = "NodeUnreachable"
    DISRUPTED = "DisruptionTarget"
    POD_DELETED = "PodDeleted"
    POD_VANISHED = "PodVanished"

    # The attempt ended well as far as Kubernetes can tell, but nothing proves that its items are done.
    UNPROVEN = "SucceededWithoutProof"

    # The machine or the store failed before or around the experiment.
    REJECTED = "PodRejected"
    START_FAILED = "ContainerStartFailed"
    STORE_UNREACHABLE = "StoreUnreachable"
    SUPERSEDED = "Superseded"

    # The experiment itself failed.
    CONTAINER_FAILED = "ContainerFailed"
    OUT_OF_MEMORY = "OutOfMemory"
    STORAGE_LIMIT = "StorageLimitExceeded"
    DEADLINE = "DeadlineExceeded"

    # Nothing that another attempt could mend.
    CHECKPOINT_CORRUPT = "CheckpointCorrupt"
    RESUME_FILE_MISSING = "ResumeFileMissing"
    ITEMS_CHANGED = "ItemsChanged"
    CONFIGURATION = "ConfigurationInvalid"

    # The operator itself ended it: the sweep was suspended, or parallelism was lowered.
    STOPPED = "StoppedByOperator"

    # The kubelet knows nothing any more of a container that it had started: its machine was reset under it.
    CONTAINER_LOST = "ContainerLost"

    # The mirror found that the store does not hold what was written: the next attempt's restore goes back behind it.
    CHECKPOINT_DAMAGED = "CheckpointDamaged"

    # The attempt is made of something else than the run's results so far, and the specification does not allow that.
    DRIFT = "Drift"

    # The cloud had announced that it takes the machine away: the words of `NoticeKind`.
    GCE_PREEMPTED = "GcePreempted"
    EC2_INTERRUPTION = "Ec2SpotInterruption"
    AZURE_PREEMPT = "AzurePreempt"

    # Neither the pod nor its node was heard of any more, and Kubernetes has not said so yet.
    NODE_SILENT = "NodeSilent"

    # The node's machine was started anew under the pod, or another took over its Node object.
    NODE_REBOOTED = "NodeRebooted"

    # A signal has ended a container, and nothing tells who sent it: the experiment, or a reclaim without a trace.
    CONTAINER_KILLED = "ContainerKilled"

    # The operator itself ended it: the cluster's admission had made something of it that is not allowed.
    FORBIDDEN = "TemplateForbidden"

    @property
    def is_reclaim(self) -> bool:
        """Whether the attempt was taken away: counted as a reclaim, never held against the experiment."""
        return self in _RECLAIMS

    @property
    def is_infrastructure(self) -> bool:
        """Whether the platform failed: tried again after a growing delay."""
        return self in _INFRASTRUCTURE

    @property
    def is_user_failure(self) -> bool:
        """Whether the experiment failed: counted against `budgets.userFailures`."""
        return self in _USER_FAILURES

    @property
    def is_final(self) -> bool:
        """Whether another attempt would end the same way."""
        return self in _FINAL


_RECLAIMS = frozenset(
    {
        Signal.EVICTED,
        Signal.TAINTED,
        Signal.PREEMPTED,
        Signal.POD_COLLECTED,
        Signal.KUBELET_TERMINATED,
        Signal.NODE_SHUTDOWN,
        Signal.NODE_GONE,
        Signal.NODE_REPLACED,
        Signal.NODE_SHUTTING_DOWN,
        Signal.NODE_UNREACHABLE,
        Signal.DISRUPTED,
        Signal.POD_DELETED,
        Signal.POD_VANISHED,
        Signal.CONTAINER_LOST,
        Signal.GCE_PREEMPTED,
        Signal.EC2_INTERRUPTION,
        Signal.AZURE_PREEMPT,
        Signal.NODE_SILENT,
        Signal.NODE_REBOOTED,
    }
)
_INFRASTRUCTURE = frozenset(
    {
        Signal.NODE_PRESSURE,
        Signal.REJECTED,
        Signal.START_FAILED,
        Signal.STORE_UNREACHABLE,
        Signal.SUPERSEDED,
        Signal.UNPROVEN,
        Signal.CHECKPOINT_DAMAGED,
    }
)
_USER_FAILURES = frozenset(
    {
        Signal.CONTAINER_FAILED,
        Signal.CONTAINER_KILLED,
        Signal.OUT_OF_MEMORY,
        Signal.STORAGE_LIMIT,
        Signal.DEADLINE,
        Signal.DRIFT,
    }
)
_FINAL = frozenset({Signal.CHECKPOINT_CORRUPT, Signal.RESUME_FILE_MISSING, Signal.ITEMS_CHANGED, Signal.CONFIGURATION})

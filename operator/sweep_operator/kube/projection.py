"""From the API server's objects to what decisions need: pure functions."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from resumable_sweep.contract.outcome import Outcome, parsed_outcome
from sweep_operator.model.observed import ContainerView, NodeView, PodView, Role
from sweep_operator.model.shard_record import HIGHEST_NUMBER
from sweep_operator.pods import names
from sweep_operator.pods.overreach import claims_of
from sweep_operator.pods.sidecar import MIRROR, RESTORE

# Taints by which clouds and autoscalers announce that a node is about to go; those that say that it is off come first.
_TERMINATION_TAINTS = (
    "node.cloudprovider.kubernetes.io/shutdown",
    "node.kubernetes.io/out-of-service",
    "ToBeDeletedByClusterAutoscaler",
    "karpenter.sh/disrupted",
    "karpenter.sh/disruption",
    "aws-node-termination-handler/spot-itn",
    "aws-node-termination-handler/asg-lifecycle-termination",
    "remediator.kubernetes.azure.com/unschedulable",
    "cloud.google.com/impending-node-termination",
)
# pkg/kubelet/kubelet_node_status: the message of the Ready condition during graceful node shutdown.
_SHUTTING_DOWN = "node is shutting down"


def pod_view(pod: Mapping[str, Any]) -> PodView | None:
    """Return the view of a pod, None where its labels are not those of a sweep's pod."""
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    labels = metadata.get("labels") or {}
    try:
        role = Role(labels[names.ROLE])
        shard = int(labels.get(names.SHARD, 0))
        attempt = int(labels.get(names.ATTEMPT, 0))
        sweep, sweep_uid = labels[names.SWEEP], labels[names.SWEEP_UID]
    except (KeyError, ValueError):
        return None
    if not (0 <= shard <= HIGHEST_NUMBER and 0 <= attempt <= HIGHEST_NUMBER):
        return None  # of somebody's own making, and the sweep's next attempt would have to be numbered beyond it
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    own = {entry["name"]: container_view(entry) for entry in status.get("initContainerStatuses") or ()}
    # Thousands of pods have but a few images.
    images = {entry["name"]: sys.intern(entry.get("image") or "") for entry in spec.get("containers") or ()}
    mains = tuple(
        replace(container_view(entry), image=images.get(entry["name"], ""), image_id=sys.intern(entry["imageID"] or ""))
        if entry.get("imageID")
        else container_view(entry)
        for entry in status.get("containerStatuses") or ()
    )
    sidecars = {entry["name"] for entry in spec.get("initContainers") or () if entry.get("restartPolicy") == "Always"}
    inits = tuple(view for name, view in own.items() if name != RESTORE and name not in sidecars)
    restore = own.get(RESTORE)
    mirror = own.get(MIRROR) if role is Role.ATTEMPT else (mains[0] if mains else None)
    restore, restore_outcome = _with_outcome(restore)
    mirror, mirror_outcome = _with_outcome(mirror)
    disruption = conditions.get("DisruptionTarget") or {}
    scheduled = conditions.get("PodScheduled") or {}
    return PodView(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        sweep=sweep,
        sweep_uid=sweep_uid,
        role=role,
        shard=shard,
        attempt=attempt,
        node=spec.get("nodeName") or "",
        phase=status.get("phase") or "Pending",
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        created_at=seconds_of(metadata.get("creationTimestamp")),
        deleted="deletionTimestamp" in metadata,
        deleted_at=_deletion_asked_at(metadata),
        disruption=disruption.get("reason", "") if disruption.get("status") == "True" else "",
        unschedulable=scheduled.get("message", "") if scheduled.get("reason") == "Unschedulable" else "",
        gated=scheduled.get("reason") == "SchedulingGated",
        scheduled_at=seconds_of(scheduled.get("lastTransitionTime")) if scheduled.get("status") == "True" else 0.0,
        claims=claims_of(pod),
        made_of=sys.intern((metadata.get("annotations") or {}).get(names.MADE_OF, "")),
        mains=mains if role is Role.ATTEMPT else (),
        inits=inits if role is Role.ATTEMPT else (),
        restore=restore,
        mirror=mirror,
        restore_outcome=restore_outcome,
        mirror_outcome=mirror_outcome,
    )


def _with_outcome(container: ContainerView | None) -> tuple[ContainerView | None, Outcome | None]:
    """Return an own container without what it said, where that is an outcome: it would be kept twice."""
    outcome = parsed_outcome(container.message) if container is not None and container.message else None
    if container is None or outcome is None:
        return container, None
    # The names of a report's fields are the same in thousands of them.
    details = {sys.intern(name): value for name, value in outcome.details.items()}
    return replace(container, message=""), replace(outcome, details=details)


def _deletion_asked_at(metadata: Mapping[str, Any]) -> float:
    # The timestamp is when the grace ends. It is cut short where the pod is deleted again, and so is the timestamp.
    ends_at = seconds_of(metadata.get("deletionTimestamp"))
    return ends_at - (metadata.get("deletionGracePeriodSeconds") or 0) if ends_at else 0.0


def container_view(status: Mapping[str, Any]) -> ContainerView:
    """Return the view of a container from its status; what a restarted one last said is kept."""
    state = status.get("state") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated")
    last = ended or (status.get("lastState") or {}).get("terminated") or {}
    return ContainerView(
        name=status["name"],
        started="running" in state or ended is not None,
        waiting_reason=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        exit_code=last.get("exitCode") if ended or waiting else None,
        exit_reason=last.get("reason", ""),
        started_at=seconds_of((state.get("running") or {}).get("startedAt")) or None,
        finished_at=seconds_of(last["finishedAt"]) if last.get("finishedAt") else None,
        message=last.get("message", ""),
    )


def node_view(node: Mapping[str, Any]) -> NodeView:
    """Return the view of a node."""
    metadata, status = node["metadata"], node.get("status") or {}
    ready: Mapping[str, Any] = {}
    for condition in status.get("conditions") or ():
        if condition["type"] == "Ready":
            ready = condition
    taints = {taint["key"] for taint in (node.get("spec") or {}).get("taints") or ()}
    terminating = next((key for key in _TERMINATION_TAINTS if key in taints), "")
    return NodeView(
        name=metadata["name"],
        uid=metadata["uid"],
        boot_id=(status.get("nodeInfo") or {}).get("bootID", ""),
        ready=ready.get("status", "Unknown"),
        ready_since=seconds_of(ready.get("lastTransitionTime")),
        shutting_down=ready.get("status") == "False" and _SHUTTING_DOWN in ready.get("message", ""),
        terminating=terminating,
        deleted="deletionTimestamp" in metadata,
    )


def seconds_of(timestamp: str | None) -> float:
    """Return an RFC 3339 time as Unix seconds, 0 where there is none."""
    return datetime.fromisoformat(timestamp).timestamp() if timestamp else 0.0

"""Pods and nodes as a real API server shows them."""

from __future__ import annotations

from typing import Any

import pytest

from resumable_sweep.contract.outcome import Outcome
from sweep_operator.kube.projection import container_view, node_view, pod_view, seconds_of
from sweep_operator.model.observed import PodView, Role

T = "2026-10-01T12:00:00Z"
SECONDS = 1_790_856_000.0
LABELS = {
    "resumable.dev/sweep": "lr",
    "resumable.dev/sweep-uid": "u",
    "resumable.dev/role": "attempt",
    "resumable.dev/shard": "3",
    "resumable.dev/attempt": "17",
    "resumable.dev/rank": "0",
}


def running(name: str) -> dict[str, Any]:
    return {"name": name, "ready": True, "restartCount": 0, "state": {"running": {"startedAt": T}}}


def terminated(name: str, code: int, message: str = "", reason: str = "Error") -> dict[str, Any]:
    ended = {"exitCode": code, "reason": reason, "message": message, "startedAt": T, "finishedAt": T}
    return {"name": name, "ready": False, "restartCount": 0, "state": {"terminated": ended}}


def waiting(name: str, reason: str) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": "why"}}
    return {"name": name, "ready": False, "restartCount": 0, "state": state}


def view(
    *,
    labels: dict[str, str] | None = None,
    metadata: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    **status: Any,
) -> PodView:
    projected = pod_view(
        {
            "metadata": {
                "namespace": "ns",
                "name": "lr-3-17",
                "uid": "p",
                "creationTimestamp": T,
                "labels": labels or LABELS,
                **(metadata or {}),
            },
            "spec": {
                "nodeName": "n",
                "initContainers": [
                    {"name": "sweep-restore"},
                    {"name": "sweep-mirror", "restartPolicy": "Always"},
                    {"name": "proxy", "restartPolicy": "Always"},
                    {"name": "prepare"},
                ],
                **(spec or {}),
            },
            "status": {"phase": "Running", **status},
        }
    )
    assert projected is not None
    return projected


def test_a_running_pod() -> None:
    pod = view(
        initContainerStatuses=[terminated("sweep-restore", 0, reason="Completed"), running("sweep-mirror")],
        containerStatuses=[running("main")],
    )
    assert (pod.sweep, pod.sweep_uid, pod.role, pod.shard, pod.attempt) == ("lr", "u", Role.ATTEMPT, 3, 17)
    assert (pod.node, pod.created_at, pod.deleted, pod.is_terminal) == ("n", SECONDS, False, False)
    assert pod.is_running
    assert pod.restore is not None
    assert pod.restore.exit_code == 0
    assert pod.mirror is not None
    assert pod.mirror.exit_code is None


def test_an_image_is_what_the_template_calls_it_and_what_the_runtime_ran() -> None:
    spec = {"containers": [{"name": "main", "image": "busybox:1"}, {"name": "late", "image": "busybox:2"}]}
    # The kubelet's own name of the image is the runtime's, which adds to it.
    started = {
        **running("main"),
        "image": "docker.io/library/busybox:1",
        "imageID": "docker.io/library/busybox@sha256:a",
    }
    main, late = view(spec=spec, containerStatuses=[started, waiting("late", "ContainerCreating")]).mains
    assert (main.image, main.image_id) == ("busybox:1", "docker.io/library/busybox@sha256:a")
    assert late.image_id == ""


def test_a_pod_that_was_just_created() -> None:
    pod = pod_view({"metadata": {"namespace": "ns", "name": "p", "uid": "u", "labels": LABELS}, "spec": {}})
    assert pod is not None
    assert (pod.phase, pod.node, pod.mains, pod.is_running) == ("Pending", "", (), False)


def test_a_pod_that_finds_no_node() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    assert view(spec={"nodeName": None}, conditions=[condition]).unschedulable == "0/3 nodes"


def test_a_pod_that_a_queue_holds_back() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "gates"}
    pod = view(spec={"nodeName": None}, conditions=[condition])
    assert (pod.gated, pod.unschedulable, pod.scheduled_at) == (True, "", 0.0)


def test_when_a_pod_has_got_its_node() -> None:
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": T}
    assert view(conditions=[scheduled]).scheduled_at == SECONDS
    waits = {**scheduled, "status": "False", "reason": "Unschedulable"}
    assert view(conditions=[waits]).scheduled_at == 0.0


def test_a_pod_that_its_kubelet_has_shut_down() -> None:
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": "m"}
    pod = view(
        phase="Failed",
        reason="Terminated",
        message="Pod was terminated in response to imminent node shutdown.",
        conditions=[condition],
        containerStatuses=[terminated("main", 143)],
    )
    assert (pod.disruption, pod.reason, pod.is_terminal) == ("TerminationByKubelet", "Terminated", True)


def test_a_disruption_that_was_taken_back_is_none() -> None:
    condition = {"type": "DisruptionTarget", "status": "False", "reason": "EvictionByEvictionAPI"}
    assert view(conditions=[condition]).disruption == ""


def test_a_pod_that_the_kubelet_has_rejected() -> None:
    pod = view(phase="Failed", reason="OutOfnvidia.com/gpu", message="Pod was rejected: Node didn't have enough")
    assert (pod.reason, pod.mains) == ("OutOfnvidia.com/gpu", ())


def test_a_pod_out_of_memory() -> None:
    (main,) = view(phase="Failed", containerStatuses=[terminated("main", 137, reason="OOMKilled")]).mains
    assert (main.exit_code, main.exit_reason, main.finished_at) == (137, "OOMKilled", SECONDS)


def test_a_container_that_the_kubelet_has_lost() -> None:
    lost = terminated("main", 137, reason="ContainerStatusUnknown")
    lost["state"]["terminated"].update(startedAt=None, finishedAt=None)
    assert container_view(lost).finished_at is None


def test_a_restore_that_has_failed_leaves_its_words() -> None:
    outcome = Outcome("CheckpointCorrupt", "blob is torn", {"head_attempt": 4})
    pod = view(
        phase="Failed",
        initContainerStatuses=[terminated("sweep-restore", 82, outcome.to_json())],
        containerStatuses=[waiting("main", "PodInitializing")],
    )
    assert pod.restore is not None
    assert pod.restore.exit_code == 82
    assert pod.restore_outcome == outcome
    assert pod.mains[0].exit_code is None


def test_the_user_s_init_containers_are_told_from_sidecars() -> None:
    pod = view(
        phase="Failed",
        initContainerStatuses=[
            terminated("sweep-restore", 0),
            running("sweep-mirror"),
            terminated("proxy", 143),
            terminated("prepare", 1),
        ],
    )
    assert [init.name for init in pod.inits] == ["prepare"]


def test_words_that_are_no_outcome_are_none() -> None:
    crashed = terminated("sweep-mirror", 1, "Traceback (most recent call last)")
    assert view(initContainerStatuses=[crashed]).mirror_outcome is None


def test_a_crash_looping_container_shows_how_it_ended_last() -> None:
    looping = {
        **waiting("sweep-resolve", "CrashLoopBackOff"),
        "lastState": {"terminated": {"exitCode": 65, "message": Outcome("ItemsInvalid", "m", {}).to_json()}},
    }
    pod = view(labels={**LABELS, "resumable.dev/role": "resolve"}, containerStatuses=[looping])
    assert pod.mirror is not None
    assert (pod.mirror.exit_code, pod.mirror.waiting_reason) == (65, "CrashLoopBackOff")
    assert pod.outcome == Outcome("ItemsInvalid", "m", {})
    assert pod.mains == ()


def test_a_restarted_container_that_runs_has_no_exit_code() -> None:
    again = {**running("sweep-mirror"), "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
    assert container_view(again).exit_code is None


def test_a_pod_that_is_being_deleted() -> None:
    assert view(metadata={"deletionTimestamp": T}).deleted


@pytest.mark.parametrize(
    "change",
    [
        {"resumable.dev/role": "king"},
        {"resumable.dev/shard": "three"},
        {"resumable.dev/attempt": ""},
        {"resumable.dev/attempt": "9" * 63},
        {"resumable.dev/attempt": "-1"},
    ],
    ids=["an unknown role", "a shard that is no number", "no attempt", "one that nobody can follow", "one below"],
)
def test_a_pod_with_other_labels_is_none_of_ours(change: dict[str, str]) -> None:
    metadata = {"namespace": "ns", "name": "p", "uid": "u", "labels": {**LABELS, **change}}
    assert pod_view({"metadata": metadata}) is None
    assert pod_view({"metadata": {"namespace": "ns", "name": "p", "uid": "u"}}) is None


def node(ready: dict[str, Any] | None = None, taints: Any = None) -> Any:
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": T, "message": "ok", **(ready or {})}
    return {
        "metadata": {"name": "n", "uid": "u"},
        "spec": {"taints": taints},
        "status": {"conditions": [{"type": "MemoryPressure", "status": "False"}, condition]},
    }


def test_a_ready_node() -> None:
    view = node_view(node())
    assert (view.ready, view.ready_since, view.shutting_down, view.terminating) == ("True", SECONDS, False, "")


@pytest.mark.parametrize(
    ("ready", "shutting_down"),
    [
        ({"status": "False", "message": "[node is shutting down, CSINode is not yet initialized]"}, True),
        ({"status": "False", "message": "container runtime is down"}, False),
        ({"status": "Unknown", "message": "Kubelet stopped posting node status."}, False),
    ],
    ids=["shutting down", "merely not ready", "silent"],
)
def test_an_unready_node(ready: dict[str, Any], shutting_down: bool) -> None:
    view = node_view(node(ready))
    assert (view.ready, view.shutting_down) == (ready["status"], shutting_down)


@pytest.mark.parametrize(
    ("key", "terminating"),
    [
        ("karpenter.sh/disrupted", True),
        ("ToBeDeletedByClusterAutoscaler", True),
        ("node.kubernetes.io/out-of-service", True),
        ("nvidia.com/gpu", False),
    ],
)
def test_taints_announce_the_end(key: str, terminating: bool) -> None:
    assert node_view(node(taints=[{"key": key, "effect": "NoSchedule"}])).terminating == (key if terminating else "")


def test_of_several_taints_that_counts_which_says_that_the_machine_is_off() -> None:
    keys = ("karpenter.sh/disrupted", "node.kubernetes.io/out-of-service")
    view = node_view(node(taints=[{"key": key, "effect": "NoSchedule"} for key in keys]))
    assert view.terminating == "node.kubernetes.io/out-of-service"


def test_a_node_that_has_only_registered_is_not_known_to_be_ready() -> None:
    assert node_view({"metadata": {"name": "n", "uid": "u"}}).ready == "Unknown"


def test_an_incarnation_is_known_by_its_uid() -> None:
    other = {**node(), "metadata": {"name": "n", "uid": "v"}}
    assert node_view(node()).incarnation == node_view(node({"status": "False"})).incarnation
    assert node_view(node()).incarnation != node_view(other).incarnation


def test_an_incarnation_is_known_by_its_boot() -> None:
    first, second = ({**node(), "status": {"nodeInfo": {"bootID": boot}}} for boot in ("a", "b"))
    before = node_view(first).incarnation
    assert node_view(second).is_object_of(before)
    assert node_view(second).has_rebooted_since(before)
    assert not node_view(first).has_rebooted_since(before)
    assert not node_view(second).has_rebooted_since(node_view(node()).incarnation)


def test_the_deletion_was_asked_for_before_the_grace() -> None:
    assert view(metadata={"deletionTimestamp": T, "deletionGracePeriodSeconds": 30}).deleted_at == SECONDS - 30
    assert view(metadata={"deletionTimestamp": T}).deleted_at == SECONDS
    assert view().deleted_at == 0


def test_a_node_that_a_finalizer_keeps_is_being_deleted() -> None:
    kept = {**node(), "metadata": {"name": "n", "uid": "u", "deletionTimestamp": T}}
    assert node_view(kept).deleted
    assert not node_view(node()).deleted


def test_times_are_unix_seconds() -> None:
    assert seconds_of(T) == SECONDS
    assert seconds_of("2026-10-01T12:00:00.500000Z") == SECONDS + 0.5
    assert seconds_of(None) == 0

"""Nodes without machines: kwok plays their kubelets, so that one machine has a cluster of thousands of pods.

What a pod's containers say and how they end is written down beforehand, as kwok's stages: nothing runs. So this shows
what the operator and the API server do, and never what a kubelet does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rig.binaries import binary
from rig.control_plane import ControlPlane, client_kubeconfig, running
from rig.daemons import Daemon
from rig.progress import Say, keep_quiet

_STAGES = "kwok.x-k8s.io/v1alpha1"
_CONFIGURATION = "config.kwok.x-k8s.io/v1alpha1"
_AT_ONCE = 16
"""How many stages kwok plays at once: with its four, thousands of pods that become due together wait for each other."""

_READY = """
{{ $now := Now }}
conditions:
{{ range NodeConditions }}
- lastHeartbeatTime: {{ $now | Quote }}
  lastTransitionTime: {{ $now | Quote }}
  message: {{ .message | Quote }}
  reason: {{ .reason | Quote }}
  status: {{ .status | Quote }}
  type: {{ .type | Quote }}
{{ end }}
phase: Running
"""

_POD_RUNS = """
phase: Running
startTime: {{ $now | Quote }}
podIP: 127.0.0.1
conditions:
- {type: Initialized, status: "True", lastTransitionTime: {{ $now | Quote }}}
- {type: Ready, status: "True", lastTransitionTime: {{ $now | Quote }}}
- {type: ContainersReady, status: "True", lastTransitionTime: {{ $now | Quote }}}
"""
_POD_HAS_SUCCEEDED = """
phase: Succeeded
"""
# Init containers that Kubernetes keeps running are the sidecars.
_CONTAINERS = """
initContainerStatuses:
{{ range .spec.initContainers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: @ready
  restartCount: 0
  {{ if eq (or .restartPolicy "") "Always" }}
  @sidecar
  {{ else }}
  @init
  {{ end }}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: @ready
  restartCount: 0
  @main
{{ end }}
"""
_RUNS = """started: true
  state: {running: {startedAt: {{ $now | Quote }}}}"""


def node_manifest(name: str, *, pods: int) -> dict[str, Any]:
    """Return a node with room for so many pods, as its kubelet would register it."""
    room = {"cpu": "1k", "memory": "4Ti", "ephemeral-storage": "4Ti", "pods": str(pods)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
        "status": {"allocatable": room, "capacity": room},
    }


def nodes_stage() -> dict[str, Any]:
    """Return the stage by which a node is ready as soon as it is there; kwok renews its Lease besides."""
    is_ready = '.status.conditions.[] | select( .type == "Ready" ) | .status'
    return _stage("node-ready", "Node", selector=[_in(is_ready, "NotIn", "True")], status=_READY)


def running_stage(name: str, *, labels: Mapping[str, str] | None = None, init: str = "") -> dict[str, Any]:
    """Return the stage by which pods with these labels run once they have a node; ``init``: what the others have said.

    The others are those init containers that are no sidecars. Words are those of a Go template.
    """
    status = _pod_status(_POD_RUNS, ready=True, sidecar=_RUNS, init=_ended(init), main=_RUNS)
    return _pod_stage(name, labels=labels, phase="Pending", status=status)


def ending_stage(
    name: str,
    *,
    labels: Mapping[str, str],
    phase: str,
    after_s: float = 0.0,
    init: str = "",
    sidecar: str = "",
    main: str = "",
) -> dict[str, Any]:
    """Return the stage by which pods with these labels have succeeded so long after they have come to ``phase``.

    What their containers have said at the end are Go templates (`$` is the pod): init containers, sidecars, others.
    """
    status = _pod_status(_POD_HAS_SUCCEEDED, ready=False, sidecar=_ended(sidecar), init=_ended(init), main=_ended(main))
    return _pod_stage(name, labels=labels, phase=phase, status=status, after_s=after_s)


def deleting_stage() -> dict[str, Any]:
    """Return the stage by which a pod that somebody has deleted is gone, whatever its grace."""
    is_deleted = {"key": ".metadata.deletionTimestamp", "operator": "Exists"}
    return _stage("pod-deleted", "Pod", selector=[is_deleted], delete=True)


@contextmanager
def kwok(
    control_plane: ControlPlane, stages: Sequence[Mapping[str, Any]], *, report: Say = keep_quiet
) -> Iterator[None]:
    """Play the kubelets of all nodes, by these stages, for as long as the block."""
    layout = control_plane.layout
    config = layout.directory / "kwok.yaml"
    # kwok takes nothing for granted that this object could have said.
    parallel = ("podPlayStage", "nodePlayStage", "nodeLease", "podsOnNodeSync")
    options = {f"{what}Parallelism": _AT_ONCE for what in parallel}
    whole = [{"kind": "KwokConfiguration", "apiVersion": _CONFIGURATION, "options": options}, *stages]
    config.write_text("\n---\n".join(json.dumps(each) for each in whole))
    credentials = client_kubeconfig(layout, name="kwok", common_name="kwok", groups=["system:masters"])
    argv = [
        str(binary("kwok", report=report)),
        f"--kubeconfig={credentials}",
        f"--config={config}",
        "--manage-all-nodes=true",
        "--node-lease-duration-seconds=40",
        "--v=WARN",
    ]
    with running(Daemon(name="kwok", argv=argv, after=[f"{layout.server}/readyz"]), layout.directory):
        yield


def _pod_status(pod: str, *, ready: bool, sidecar: str, init: str, main: str) -> str:
    containers = _CONTAINERS.replace("@ready", "true" if ready else "false")
    for what, status in (("@sidecar", sidecar), ("@init", init), ("@main", main)):
        containers = containers.replace(what, status)
    return "{{ $now := Now }}" + pod + containers


def _ended(words: str) -> str:
    times = "startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}"
    return f"state: {{terminated: {{exitCode: 0, {times}, message: {_quoted(words)}}}}}"


def _pod_stage(
    name: str, *, labels: Mapping[str, str] | None, phase: str, status: str, after_s: float = 0.0
) -> dict[str, Any]:
    alive = {"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"}
    found = _stage(name, "Pod", selector=[alive, _in(".status.phase", "In", phase)], status=status)
    if labels:
        found["spec"]["selector"]["matchLabels"] = dict(labels)
    if after_s:
        found["spec"]["delay"] = {"durationMilliseconds": round(after_s * 1000)}
    return found


def _stage(
    name: str, kind: str, *, selector: Sequence[Mapping[str, Any]], status: str = "", delete: bool = False
) -> dict[str, Any]:
    following: dict[str, Any] = {"delete": True} if delete else {"statusTemplate": status}
    return {
        "kind": "Stage",
        "apiVersion": _STAGES,
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": kind},
            "selector": {"matchExpressions": list(selector)},
            "next": following,
        },
    }


def _in(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


def _quoted(words: str) -> str:
    """Return a YAML string, in which a Go template is still filled in: single quotes leave its double ones alone."""
    return "'" + words.replace("'", "''") + "'"

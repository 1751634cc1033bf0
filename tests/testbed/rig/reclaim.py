"""Take nodes and pods away, in the ways in which clouds and people do."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from rig import cleanup, launch, network, processes
from rig.api import Api, ApiError, wait_until
from rig.errors import RigError
from rig.progress import Say, say
from rig.state import NodeSpec, State

How = Literal["kill", "shutdown", "drain", "delete", "partition"]
HOWS: tuple[How, ...] = get_args(How)
Done = How | Literal["notice"]
NODE_DELETE_AFTER_SECONDS = 10.0
_DRAIN_SECONDS = 120.0


@dataclass(frozen=True)
class Reclaim:
    """What was done, to which incarnation of a node, and when (seconds since the epoch, just before it was done)."""

    node: str
    uid: str
    how: Done
    at: float


def reclaim_node(
    state: State, name: str, *, how: How, node_delete_after: float = NODE_DELETE_AFTER_SECONDS, report: Say = say
) -> Reclaim:
    """Take a node away; raises ``RigError`` where there is no such node, or where it is off already.

    - kill: the machine loses power and network; ``node_delete_after`` seconds later its Node object is deleted.
    - shutdown: the machine is asked to power off, and the kubelet ends the pods first; the Node object as above.
    - drain: the node is cordoned and its pods are evicted; it stays. Returns when they are gone.
    - delete: the Node object is deleted under the running machine, which then loses power.
    - partition: the machine loses its network alone; its containers go on, and its Node object stays, until it is
      healed (see ``rig.comeback``).
    """
    node, first = machine_that_is_on(state, name)
    if how == "partition" and not network.is_plugged_in(state.addresses, node):
        raise RigError(f"node {name!r} is cut off already; `testbed heal {name}` reconnects it")
    api = Api.of(state.kubeconfig)
    uid = node_uid(api, name)
    done = Reclaim(node=name, uid=uid, how=how, at=time.time())
    if how == "kill":
        _cut_power(state, node)
        _hand_to_cloud(state, node, uid, node_delete_after)
    elif how == "shutdown":
        os.kill(first, signal.SIGTERM)
        _hand_to_cloud(state, node, uid, node_delete_after)
    elif how == "delete":
        api.delete(f"/api/v1/nodes/{name}")
        _cut_power(state, node)
        cleanup.remove_machine(state, node)
    elif how == "partition":
        network.unplug(state.addresses, node)
    else:
        _drain(api, name, report)
    return done


def machine_that_is_on(state: State, name: str) -> tuple[NodeSpec, int]:
    """Return a node and its first process; raises ``RigError`` where there is no such node, or where it is off."""
    node = next((spec for spec in state.nodes() if spec.name == name), None)
    if node is None:
        names = ", ".join(spec.name for spec in state.nodes())
        raise RigError(f"there is no node {name!r}; nodes are: {names or 'none'}")
    first = processes.first_of(state.directory, name)
    if first is None:
        raise RigError(f"node {name!r} is off already; `testbed replace {name}` puts another machine in its place")
    return node, first


def reclaim_pod(state: State, name: str, *, namespace: str = "default") -> float:
    """Delete a pod raw, as cloud controllers and impatient people do; return when, in seconds since the epoch."""
    at = time.time()
    if not Api.of(state.kubeconfig).delete(f"/api/v1/namespaces/{namespace}/pods/{name}"):
        raise RigError(f"there is no pod {name!r} in namespace {namespace!r}")
    return at


def _cut_power(state: State, node: NodeSpec) -> None:
    network.unplug(state.addresses, node)
    processes.end_machine(state.directory, node.name)


def _hand_to_cloud(state: State, node: NodeSpec, uid: str, after: float) -> None:
    launch.start_apart(
        state,
        "rig.cloud",
        *("--state", str(state.directory), "--node", json.dumps(asdict(node)), "--uid", uid, "--after", str(after)),
        log=state.control_plane / "logs" / "cloud.log",
    )


def _drain(api: Api, name: str, report: Say) -> None:
    api.patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}})

    def is_empty() -> bool:
        pods = _evictable(api, name)
        for pod in pods:
            _evict(api, pod)
        return not pods

    wait_until(is_empty, what=f"the pods of {name} to be evicted", seconds=_DRAIN_SECONDS, every=0.5)
    report(f"  {name} is drained; `kubectl uncordon {name}` takes it back")


def _evictable(api: Api, name: str) -> list[dict[str, Any]]:
    pods = api.get(f"/api/v1/pods?fieldSelector=spec.nodeName={name}")["items"]
    return [pod for pod in pods if _keeps_a_drain_waiting(pod)]


def _keeps_a_drain_waiting(pod: dict[str, Any]) -> bool:
    metadata = pod["metadata"]
    if any(owner["kind"] == "DaemonSet" for owner in metadata.get("ownerReferences", [])):
        return False
    # One that has ended but is still being deleted goes within a moment, and was perhaps evicted by this very drain.
    return "deletionTimestamp" in metadata or pod["status"].get("phase") not in ("Succeeded", "Failed")


def _evict(api: Api, pod: dict[str, Any]) -> None:
    metadata = pod["metadata"]
    if "deletionTimestamp" in metadata:
        return
    target = {"name": metadata["name"], "namespace": metadata["namespace"]}
    try:
        api.create(
            f"/api/v1/namespaces/{target['namespace']}/pods/{target['name']}/eviction",
            {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": target},
        )
    except ApiError as error:
        if error.status not in (404, 429):  # gone, or a disruption budget that allows none just now
            raise


def node_uid(api: Api, name: str) -> str:
    """Return the uid of a Node object, empty where there is none."""
    try:
        return str(api.get(f"/api/v1/nodes/{name}")["metadata"]["uid"])
    except ApiError as error:
        if error.status == 404:
            return ""
        raise

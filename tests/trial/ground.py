"""Where a trial takes place: a cluster, images that it can pull, a bucket, and ways to take nodes away."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rig import Testbed
from rig.binaries import binary
from trial.cluster import Cluster, wait_until


class Faults(Protocol):
    """Takes nodes away; each call returns at once or soon, with the name of what was really done."""

    def tidy(self) -> None:
        """Give back what can be given back."""
        ...

    def kill(self, node: str) -> str:
        """End a node without any warning."""
        ...

    def shutdown(self, node: str) -> str:
        """End a node with the notice that its kubelet gets."""
        ...

    @property
    def can_announce(self) -> bool:
        """Whether `announce` is possible here."""
        ...

    def announce(self, node: str) -> str:
        """Have the cloud announce the end of a node, which follows."""
        ...


@dataclass(frozen=True, kw_only=True)
class Ground:
    """All that a trial needs to know of its place.

    `images` are references by name: `operator`, `sidecar`, and the experiment's. `store` is what sweeps take as
    `checkpoint.url`, `store_env` what their sidecars need to reach it, and `local_env` what this process needs.
    """

    kubeconfig: Path
    images: Mapping[str, str]
    store: str
    store_env: list[dict[str, Any]]
    faults: Faults
    local_env: Mapping[str, str] = field(default_factory=dict)
    testbed: Testbed | None = None

    def cluster(self) -> Cluster:
        """Return a new client of the cluster."""
        return Cluster(self.kubeconfig)

    def helm(self, *words: str) -> str:
        """Run helm against the cluster and return what it printed."""
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run(
            [str(binary("helm")), *words], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"helm {shlex.join(words)} failed:\n{done.stderr}{done.stdout}")
        return done.stdout


class TestbedFaults:
    """Real reclaims of the testbed's machines."""

    __test__ = False

    def __init__(self, testbed: Testbed, *, node_delete_after: float) -> None:
        self._testbed = testbed
        self._node_delete_after = node_delete_after

    def tidy(self) -> None:
        """Leave the lost machines lost: `up` replaces them."""

    def kill(self, node: str) -> str:
        """Cut the machine's power; the Node object goes some seconds later."""
        self._testbed.reclaim(node, how="kill", node_delete_after=self._node_delete_after)
        return "kill"

    def shutdown(self, node: str) -> str:
        """Ask the machine to power off; its kubelet ends the pods first."""
        self._testbed.reclaim(node, how="shutdown", node_delete_after=self._node_delete_after)
        return "shutdown"

    @property
    def can_announce(self) -> bool:
        """Every machine has a metadata server."""
        return True

    def announce(self, node: str) -> str:
        """Have the machine's metadata server announce its end, and shut it down when the cloud's time is over."""
        self._testbed.announce(node, then="shutdown", node_delete_after=self._node_delete_after)
        return "notice"


class GivenFaults:
    """What any cluster allows, or the commands that the user gives, with `{node}` for the node's name."""

    def __init__(
        self, cluster: Cluster, *, kill_command: str = "", shutdown_command: str = "", notice_command: str = ""
    ) -> None:
        self._cluster = cluster
        self._notice_command = notice_command
        self._kill_command = kill_command
        self._shutdown_command = shutdown_command
        self._cordoned: list[str] = []

    def tidy(self) -> None:
        """Let pods onto the drained nodes again."""
        for node in self._cordoned:
            self._cluster.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": False}})

    def kill(self, node: str) -> str:
        """Run the user's command, or delete the Node object."""
        if self._kill_command:
            _run(self._kill_command, node)
            return "kill"
        self._cluster.delete(f"/api/v1/nodes/{node}")
        return "delete-node"

    def shutdown(self, node: str) -> str:
        """Run the user's command, or drain the node of its sweep pods."""
        if self._shutdown_command:
            _run(self._shutdown_command, node)
            return "shutdown"
        self._drain(node)
        return "drain"

    @property
    def can_announce(self) -> bool:
        """Only the cloud can, by the user's command."""
        return bool(self._notice_command)

    def announce(self, node: str) -> str:
        """Run the user's command."""
        _run(self._notice_command, node)
        return "notice"

    def _drain(self, node: str) -> None:
        self._cordoned.append(node)
        self._cluster.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}})
        query = {"fieldSelector": f"spec.nodeName={node}", "labelSelector": "resumable.dev/sweep"}
        for pod in self._cluster.get("/api/v1/pods", **query)["items"]:
            namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
            eviction = {
                "apiVersion": "policy/v1",
                "kind": "Eviction",
                "metadata": {"name": name, "namespace": namespace},
            }
            self._cluster.create(f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", eviction)


def _run(command: str, node: str) -> None:
    subprocess.run(shlex.split(command.replace("{node}", node)), check=True)


def local_ground(
    *,
    nodes: int,
    spot: int,
    experiment: str,
    gpus: int = 1,
    node_delete_after: float = 5.0,
    state: Path | None = None,
) -> Ground:
    """Bring the local cluster up, or what is missing of it, and push the project's images to its registry."""
    testbed = Testbed(state)
    testbed.up(nodes=nodes, spot=spot, gpus=gpus)
    images = testbed.push_images("operator", "sidecar", experiment)
    endpoint = testbed.gcs_endpoint
    return Ground(
        kubeconfig=testbed.kubeconfig,
        images=images,
        store=f"gs://{testbed.bucket}/trial-{int(time.time())}",
        store_env=[{"name": "STORAGE_EMULATOR_HOST", "value": endpoint}],
        local_env={"STORAGE_EMULATOR_HOST": endpoint},
        faults=TestbedFaults(testbed, node_delete_after=node_delete_after),
        testbed=testbed,
    )


def given_ground(
    *,
    kubeconfig: Path,
    registry: str,
    tag: str,
    store: str,
    kill_command: str = "",
    shutdown_command: str = "",
    notice_command: str = "",
) -> Ground:
    """Use a cluster that is there, with the project's images pushed to a registry that it can pull from."""
    names = {"operator": "resumable-sweep-operator", "sidecar": "resumable-sweep-sidecar", "digits": "digits"}
    faults = GivenFaults(
        Cluster(kubeconfig),
        kill_command=kill_command,
        shutdown_command=shutdown_command,
        notice_command=notice_command,
    )
    endpoint = os.environ.get("STORAGE_EMULATOR_HOST", "")
    return Ground(
        kubeconfig=kubeconfig,
        images={part: f"{registry}/{name}:{tag}" for part, name in names.items()},
        store=f"{store.rstrip('/')}/trial-{int(time.time())}",
        store_env=[{"name": "STORAGE_EMULATOR_HOST", "value": endpoint}] if endpoint else [],
        faults=faults,
    )


def install_operator(
    ground: Ground, *, namespace: str = "resumable-sweep", release: str = "resumable-sweep", replicas: int = 1
) -> None:
    """Install the chart, or upgrade it, and wait until so many operators are ready, and no others are left."""
    values = ["--set", f"operator.replicas={replicas}"]
    for part in ("operator", "sidecar"):
        registry, repository, tag = split_reference(ground.images[part])
        values += ["--set-string", f"{part}.image.registry={registry}"]
        values += ["--set-string", f"{part}.image.repository={repository}"]
        values += ["--set-string", f"{part}.image.tag={tag}"]
    chart = Path(__file__).resolve().parents[2] / "charts" / "resumable-sweep"
    ground.helm("upgrade", "--install", release, str(chart), "--namespace", namespace, "--create-namespace", *values)
    cluster = ground.cluster()

    def is_ready() -> bool:
        found = cluster.get(f"/apis/apps/v1/namespaces/{namespace}/deployments")["items"]
        return bool(found) and all(
            each["status"].get("readyReplicas", 0) == each["spec"]["replicas"]
            and each["status"].get("observedGeneration") == each["metadata"]["generation"]
            and each["status"].get("updatedReplicas", 0) == each["status"].get("replicas", 0)
            for each in found
        )

    def clue() -> str:
        pods = cluster.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
        return "; ".join(f"{pod['metadata']['name']}: {pod['status'].get('containerStatuses')}" for pod in pods)

    wait_until(is_ready, what="the operator to be ready", seconds=120, clue=clue)


def split_reference(reference: str) -> tuple[str, str, str]:
    """Return registry, repository and tag of an image reference; absent parts are empty."""
    name, _, tag = reference.rpartition(":") if ":" in reference.rpartition("/")[2] else (reference, "", "")
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first, rest, tag
    return "", name, tag

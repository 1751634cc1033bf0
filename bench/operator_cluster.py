"""A cluster for the operator's benchmark: a real control plane, and kwok in the place of kubelets and sidecars."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.operator_client import Client, all_of
from integration.conftest import establish_definition
from resumable_sweep.contract.outcome import Outcome
from resumable_sweep.contract.report import Report, Stage
from rig.api import wait_until
from rig.control_plane import ControlPlane
from rig.kwok import deleting_stage, ending_stage, kwok, node_manifest, nodes_stage, running_stage
from sweep_operator.pods import names

NAMESPACE = "bench"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
SWEEPS = f"/apis/resumable.dev/v1alpha1/namespaces/{NAMESPACE}/resumablesweeps"
ITEMS = 10_000
ENDS = "bench/ends"
"""Label of pods that complete after a while; others run until something takes them."""
ENDS_AFTER_S = 2.0
PODS_A_NODE = 100
_ROOM_A_NODE = 150
_DIGEST = "0" * 64
# The scheduler asks for 50 bindings a second unless it is told otherwise, and would be all that is measured.
_SCHEDULER = ("--kube-api-qps=2000", "--kube-api-burst=2000")


@dataclass(frozen=True)
class Cluster:
    """A running one."""

    control_plane: ControlPlane
    client: Client
    nodes: int

    @property
    def directory(self) -> Path:
        """Where its logs are."""
        return self.control_plane.layout.directory


@asynccontextmanager
async def cluster_for(pods: int, *, controllers: Sequence[str] = ()) -> AsyncIterator[Cluster]:
    """Bring a cluster up with nodes for so many pods, and a tenth of them to spare; flags of the controller manager."""
    flags = {"kube-scheduler": _SCHEDULER, "kube-controller-manager": tuple(controllers)}
    nodes = max(10, pods // PODS_A_NODE)
    async with AsyncExitStack() as stack:
        # In memory, as a disk that others use too would be measured otherwise; etcd does not sync here anyway.
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="rsw-bench-", dir="/dev/shm"))
        control_plane = stack.enter_context(
            ControlPlane(controllers=True, scheduling=True, flags=flags, directory=Path(directory) / "cluster")
        )
        establish_definition(control_plane.api)
        stack.enter_context(kwok(control_plane, stages()))
        client = await stack.enter_async_context(Client(control_plane.kubeconfig))
        await client.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        await add_nodes(client, range(nodes))
        wait_until(lambda: _are_ready(control_plane, nodes), what=f"{nodes} nodes to be ready", seconds=120)
        yield Cluster(control_plane, client, nodes)


async def add_nodes(client: Client, numbers: Sequence[int]) -> None:
    """Register nodes."""
    manifests = [node_manifest(f"node-{number}", pods=_ROOM_A_NODE) for number in numbers]
    await all_of(partial(client.create, "/api/v1/nodes", manifest) for manifest in manifests)


def sweep_manifest(name: str, *, shards: int, parallelism: int, ends: bool = False) -> dict[str, Any]:
    """Return a sweep whose program does nothing; `ends`: each attempt completes its shard after a while."""
    labels = {ENDS: "true"} if ends else {}
    return {
        "apiVersion": "resumable.dev/v1alpha1",
        "kind": "ResumableSweep",
        "metadata": {"name": name},
        "spec": {
            "shards": shards,
            "parallelism": parallelism,
            "items": {"matrix": {"a": list(range(100)), "b": list(range(ITEMS // 100))}},
            "checkpoint": {"url": "gs://bucket/sweeps", "file": "results.jsonl"},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "main", "image": "main:bench"}]},
            },
        },
    }


def stages() -> list[dict[str, Any]]:
    """Return what kubelets, sidecars and housekeeping pods do, as kwok is told it."""
    restored = Outcome("Restored", "", {}).to_json()
    resolved = Outcome("Resolved", f"{ITEMS} items", {"items": ITEMS, "items_sha256": _DIGEST}).to_json()
    details = {"url": "gs://bucket/m", "sha256": _DIGEST, "items": ITEMS, "provenance_url": "gs://bucket/p"}
    merged = Outcome("Merged", "done", details).to_json()
    return [
        nodes_stage(),
        ending_stage("resolve", labels={names.ROLE: "resolve"}, phase="Pending", main=resolved),
        ending_stage("merge", labels={names.ROLE: "merge"}, phase="Pending", main=merged),
        running_stage("attempt", labels={names.ROLE: "attempt"}, init=restored),
        running_stage("job", labels={"app": "job"}),
        ending_stage(
            "complete",
            labels={ENDS: "true"},
            phase="Running",
            after_s=ENDS_AFTER_S,
            init=restored,
            sidecar=_completed(),
        ),
        deleting_stage(),
    ]


def _completed() -> str:
    """Return the last word of a mirror whose shard is complete, as a template that its pod's labels fill in."""
    report = Report(run_id="r", shard=-1, attempt=-2, sequence=1, stage=Stage.COMPLETE, items_done=1, items_recorded=1)
    text = Outcome("Ended", "", json.loads(report.to_json())).to_json()
    for number, label in ((-1, names.SHARD), (-2, names.ATTEMPT)):
        text = text.replace(f": {number}", f': {{{{ index $.metadata.labels "{label}" }}}}')
    return text


def _are_ready(control_plane: ControlPlane, nodes: int) -> bool:
    listed = control_plane.api.get("/api/v1/nodes")["items"]
    ready = [node for node in listed if not node["spec"].get("taints") and node["status"].get("conditions")]
    return len(ready) >= nodes

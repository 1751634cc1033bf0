"""The same work as an Indexed Job: what a sweep is held against, written as Kubernetes' documentation advises."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from resumable_sweep.contract.items import items_of_matrix, lines_of, shard_of
from trial.cluster import Cluster

Json = dict[str, Any]

INDEX_LABEL = "batch.kubernetes.io/job-completion-index"
RETRIES_PER_INDEX = 1
"""As in the documentation's example of `backoffLimitPerIndex`."""
_KEEP = Path(__file__).with_name("keep_in_bucket.py")
_SPOT = {"key": "cloud.google.com/gke-spot", "operator": "Exists", "effect": "NoSchedule"}
_RESULTS = "/results/results.jsonl"


@dataclass(frozen=True)
class Bucket:
    """A bucket behind an endpoint that asks for no credentials, and a folder in it."""

    endpoint: str
    name: str
    folder: str

    def url_to_read(self, file: str) -> str:
        """Return where an object can be had."""
        return f"{self.endpoint}/{self.name}/{self.folder}/{file}"

    def url_to_write(self, file: str) -> str:
        """Return where an object can be put, whole, by a POST."""
        # Not quoted where Kubernetes is to put the index in: $(NAME).
        name = quote(f"{self.folder}/{file}", safe="$()")
        return f"{self.endpoint}/upload/storage/v1/b/{self.name}/o?uploadType=media&name={name}"


def job_like(sweep: Mapping[str, Any], *, name: str, command: list[str], bucket: Bucket | None = None) -> list[Json]:
    """Return a ConfigMap and an Indexed Job that do the work of a sweep whose items are a matrix.

    Each index has the items of the shard of that number, in a file. `command` is what the image runs. Its results lie
    in an emptyDir; with a `bucket` they are put there whenever a pod ends, and a pod begins with what is there.
    """
    spec = sweep["spec"]
    shards = spec["shards"]
    items = items_of_matrix(spec["items"]["matrix"])
    files = {
        f"shard-{shard}.jsonl": "".join(lines_of(shard_of(items, shard=shard, shards=shards)))
        for shard in range(shards)
    }
    template: Json = copy.deepcopy(spec["template"])
    pod = template["spec"]
    (pool,) = spec["placement"]["pools"]
    pod |= {"restartPolicy": "Never", "nodeSelector": pool["nodeSelector"], "tolerations": [_SPOT]}
    pod["volumes"] = [
        *pod.get("volumes", []),
        {"name": "results", "emptyDir": {}},
        {"name": "job", "configMap": {"name": name}},
    ]
    (container,) = pod["containers"]
    container["volumeMounts"] = [
        *container.get("volumeMounts", []),
        {"name": "results", "mountPath": "/results"},
        {"name": "job", "mountPath": "/job"},
    ]
    container["env"] = [
        # By itself the Job would put it last, where those below could not name it.
        {
            "name": "JOB_COMPLETION_INDEX",
            "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX_LABEL}']"}},
        },
        {"name": "SWEEP_SHARD", "value": "$(JOB_COMPLETION_INDEX)"},
        {"name": "SWEEP_SHARDS", "value": str(shards)},
        {"name": "SWEEP_ITEMS", "value": "/job/shard-$(JOB_COMPLETION_INDEX).jsonl"},
        {"name": "SWEEP_SNAPSHOT_DIR", "value": "/results"},
    ]
    if bucket is not None:
        files[_KEEP.name] = _KEEP.read_text()
        command = ["python3", f"/job/{_KEEP.name}", *command]
        file = "$(JOB_COMPLETION_INDEX).jsonl"
        container["env"] += [
            {"name": "RESULTS", "value": _RESULTS},
            {"name": "KEEP_AT", "value": bucket.url_to_write(file)},
            {"name": "SWEEP_RESUME_FROM", "value": bucket.url_to_read(file)},
        ]
    container["command"] = command
    namespace = sweep["metadata"]["namespace"]
    metadata = {"name": name, "namespace": namespace}
    job_spec = {
        "completionMode": "Indexed",
        "completions": shards,
        "parallelism": spec["parallelism"],
        "backoffLimitPerIndex": RETRIES_PER_INDEX,
        "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]},
        "template": template,
    }
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files},
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": job_spec},
    ]


class Job:
    """An Indexed Job by namespace and name."""

    def __init__(self, cluster: Cluster, *, namespace: str, name: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.name = name

    @property
    def path(self) -> str:
        """Path of the object."""
        return f"/apis/batch/v1/namespaces/{self.namespace}/jobs/{self.name}"

    def apply(self, manifests: list[Json]) -> None:
        """Create the ConfigMap and the Job."""
        config_map, job = manifests
        self.cluster.create(f"/api/v1/namespaces/{self.namespace}/configmaps", config_map)
        self.cluster.create(self.path.rpartition("/")[0], job)

    def status(self) -> Json:
        """Return its status."""
        status: Json = self.cluster.get(self.path).get("status") or {}
        return status

    def delete(self) -> None:
        """Delete the Job, its pods and the ConfigMap."""
        self.cluster.delete(self.path, {"propagationPolicy": "Background"})
        self.cluster.delete(f"/api/v1/namespaces/{self.namespace}/configmaps/{self.name}")


def verdict_of(status: Mapping[str, Any]) -> str:
    """Return `Complete` or `Failed` as a Job's status says it; empty while it says neither."""
    said = [each["type"] for each in status.get("conditions") or () if each["status"] == "True"]
    return next((each for each in said if each in ("Complete", "Failed")), "")


def completed_indexes(status: Mapping[str, Any]) -> set[int]:
    """Return the indexes that a Job calls done, from ranges such as `0,2-5`."""
    found: set[int] = set()
    for part in filter(None, str(status.get("completedIndexes") or "").split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found

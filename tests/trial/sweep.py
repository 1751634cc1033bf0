"""One ResumableSweep on trial: made from the example, applied, asked, removed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from trial.cluster import Cluster, wait_until
from trial.ground import Ground

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "digits" / "sweep.yaml"
_ROLE = "resumable.dev/role"
_SWEEP = "resumable.dev/sweep"


class Sweep:
    """A sweep by namespace and name."""

    def __init__(self, cluster: Cluster, *, namespace: str, name: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.name = name

    @property
    def path(self) -> str:
        """Path of the object."""
        return f"/apis/resumable.dev/v1alpha1/namespaces/{self.namespace}/resumablesweeps/{self.name}"

    def apply(self, manifest: dict[str, Any]) -> None:
        """Create the namespace and the sweep."""
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        if self.cluster.find(f"/api/v1/namespaces/{self.namespace}") is None:
            self.cluster.create("/api/v1/namespaces", namespace)
        wait_until(
            lambda: self.cluster.find(f"/api/v1/namespaces/{self.namespace}/serviceaccounts/default"),
            what="the namespace's service account",
            seconds=30,
        )
        self.cluster.create(self.path.rpartition("/")[0], manifest)

    def change(self, **spec: Any) -> None:
        """Change fields of the specification."""
        self.cluster.patch(self.path, {"spec": spec})

    def status(self) -> dict[str, Any]:
        """Return the status, empty before the operator has written one."""
        found = self.cluster.find(self.path) or {}
        status: dict[str, Any] = found.get("status") or {}
        return status

    def run_folder(self) -> str:
        """Return the run's folder in the store."""
        found = self.cluster.get(self.path)
        url = found["spec"]["checkpoint"]["url"].rstrip("/")
        run = found["spec"].get("runId") or found["metadata"]["uid"]
        return f"{url}/{self.namespace}/{self.name}/{run}"

    def pods(self) -> list[dict[str, Any]]:
        """Return the pods of its attempts that are not being deleted, oldest attempt first."""
        selector = f"{_SWEEP}={self.name},{_ROLE}=attempt"
        pods = self.cluster.get(f"/api/v1/namespaces/{self.namespace}/pods", labelSelector=selector)["items"]
        live = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        return sorted(live, key=lambda pod: int(pod["metadata"]["labels"]["resumable.dev/attempt"]))

    def working_pods(self) -> list[dict[str, Any]]:
        """Return the pods whose experiment runs."""
        return [pod for pod in self.pods() if _is_working(pod)]

    def wait_for_phase(self, *phases: str, seconds: float) -> dict[str, Any]:
        """Return the status once its phase is one of `phases`."""

        def reached() -> dict[str, Any] | None:
            status = self.status()
            return status if status.get("phase") in phases else None

        clue = lambda: f"status: {self.status()}"  # noqa: E731
        status: dict[str, Any] = wait_until(reached, what=" or ".join(phases), seconds=seconds, clue=clue)
        return status

    def events(self, reason: str = "") -> list[dict[str, Any]]:
        """Return its events, oldest first."""
        query = {"fieldSelector": f"involvedObject.name={self.name}"}
        events = self.cluster.get(f"/api/v1/namespaces/{self.namespace}/events", **query)["items"]
        chosen = [event for event in events if not reason or event["reason"] == reason]
        return sorted(chosen, key=lambda event: (event["lastTimestamp"] or "", event["metadata"]["creationTimestamp"]))

    def is_gone(self) -> bool:
        """Return whether neither the sweep nor a pod of it is left."""
        return self.cluster.find(self.path) is None and not self.pods()

    def delete(self) -> None:
        """Delete the sweep."""
        self.cluster.delete(self.path)


def _is_working(pod: dict[str, Any]) -> bool:
    statuses = pod["status"].get("containerStatuses") or ()
    return pod["status"].get("phase") == "Running" and any("running" in each["state"] for each in statuses)


def manifest_of(
    ground: Ground, *, name: str, namespace: str, experiment: str = "digits", **spec: Any
) -> dict[str, Any]:
    """Return the example's sweep with this ground's image and store, and with fields of `spec` replaced."""
    manifest: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    manifest["metadata"] = {"name": name, "namespace": namespace}
    manifest["spec"] = {**manifest["spec"], **copy.deepcopy(spec)}
    manifest["spec"]["checkpoint"] |= {"url": ground.store, "env": ground.store_env}
    manifest["spec"]["template"]["spec"]["containers"][0]["image"] = ground.images[experiment]
    return manifest

"""The operator as a process of its own against a real API server; the test plays scheduler, kubelet and sidecar."""

from __future__ import annotations

import itertools
import json
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from integration.sweeps.operator_process import OperatorProcess
from resumable_sweep.contract.environment import TOKEN_AUDIENCE
from resumable_sweep.contract.outcome import Outcome
from resumable_sweep.contract.report import Report, Stage
from rig.api import Api, ApiError, wait_until
from rig.control_plane import ControlPlane

ITEMS = 12
DIGEST = "0" * 64
_namespaces = itertools.count()


class Theatre:
    """One namespace with one sweep, and what plays around it."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api = api
        self.namespace = namespace
        self._sequence = itertools.count(1)

    @property
    def sweeps(self) -> str:
        return f"/apis/resumable.dev/v1alpha1/namespaces/{self.namespace}/resumablesweeps"

    @property
    def pods_path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods"

    def apply(self, **spec: Any) -> dict[str, Any]:
        body = {
            "apiVersion": "resumable.dev/v1alpha1",
            "kind": "ResumableSweep",
            "metadata": {"name": "lr"},
            "spec": {
                "shards": 2,
                "items": {"list": list(range(ITEMS))},
                "checkpoint": {"url": "gs://bucket/sweeps", "file": "results.jsonl"},
                "template": {"spec": {"containers": [{"name": "main", "image": "main:test"}]}},
                **spec,
            },
        }
        created: dict[str, Any] = self.api.create(self.sweeps, body)
        return created

    def change(self, **spec: Any) -> None:
        self.api.patch(f"{self.sweeps}/lr", {"spec": spec})

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.api.get(f"{self.sweeps}/lr").get("status", {})
        return status

    def condition(self, kind: str) -> dict[str, Any]:
        return next((each for each in self.status().get("conditions", []) if each["type"] == kind), {})

    def pods(self, role: str = "attempt") -> list[dict[str, Any]]:
        listed = self.api.get(f"{self.pods_path}?labelSelector=resumable.dev/role%3D{role}")["items"]
        return sorted(listed, key=lambda pod: int(pod["metadata"]["labels"].get("resumable.dev/attempt", 0)))

    def live(self) -> list[dict[str, Any]]:
        return [pod for pod in self.pods() if "deletionTimestamp" not in pod["metadata"]]

    def events(self, reason: str) -> list[str]:
        listed = self.api.get(f"/api/v1/namespaces/{self.namespace}/events")["items"]
        return [event["message"] for event in listed if event["reason"] == reason]

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = 20) -> Any:
        """Wait until `condition` holds, and return what it gave."""
        found: list[Any] = []

        def holds() -> bool:
            value = condition()
            if value:
                found.append(value)
            return bool(value)

        try:
            wait_until(holds, what=what, seconds=seconds)
        except Exception as error:
            raise AssertionError(f"{error}; {self._told()}") from error
        return found[-1]

    def _told(self) -> str:
        try:
            return f"status: {json.dumps(self.status(), indent=1)}"
        except ApiError as error:
            return f"no status: {error}"

    def wait_for_attempts(self, *shards: int) -> list[dict[str, Any]]:
        """Wait until just these shards have a live pod each."""

        def there() -> list[dict[str, Any]]:
            live = self.live()
            return live if sorted(shard_of(pod) for pod in live) == sorted(shards) else []

        found: list[dict[str, Any]] = self.wait(there, f"live pods of shards {shards}")
        return found

    def resolve(self) -> None:
        """Play the pod that resolves the items."""
        pod = self.wait(lambda: self.pods("resolve"), "the resolve pod")[0]
        outcome = Outcome("Resolved", "12 items", {"items": ITEMS, "items_sha256": DIGEST})
        self.set_status(pod, phase="Succeeded", mains=[ended("sweep-resolve", 0, outcome.to_json())])

    def merge(self) -> None:
        """Play the pod that merges the results."""
        pod = self.wait(lambda: self.pods("merge"), "the merge pod")[0]
        details = {"url": "gs://m", "sha256": DIGEST, "items": ITEMS, "provenance_url": "gs://p"}
        outcome = Outcome("Merged", "done", details)
        self.set_status(pod, phase="Succeeded", mains=[ended("sweep-merge", 0, outcome.to_json())])

    def place(self, pod: dict[str, Any], node: str, *, image_id: str = "") -> None:
        """Play the scheduler, and a kubelet that has started all containers, the main one from that very image."""
        self.bind(pod, node)
        restored = Outcome("Restored", "", {})
        own = [ended("sweep-restore", 0, restored.to_json()), running("sweep-mirror")]
        self.set_status(pod, phase="Running", own=own, mains=[running("main") | {"imageID": image_id}])

    def bind(self, pod: dict[str, Any], node: str) -> None:
        """Play the scheduler."""
        name = pod["metadata"]["name"]
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        self.api.create(f"{self.pods_path}/{name}/binding", body)

    def set_status(self, pod: dict[str, Any], **status: Any) -> None:
        body: dict[str, Any] = {name: value for name, value in status.items() if name not in ("own", "mains")}
        if "own" in status:
            body["initContainerStatuses"] = status["own"]
        if "mains" in status:
            body["containerStatuses"] = status["mains"]
        self.api.patch(f"{self.pods_path}/{pod['metadata']['name']}/status", {"status": body})

    def finish(self, pod: dict[str, Any], *, complete: bool = True, code: int = 0) -> None:
        """Play a pod whose main has ended and whose sidecar has said its last word."""
        stage = Stage.COMPLETE if complete else Stage.SEALED
        outcome = Outcome("Ended", "", json.loads(self.report(pod, stage=stage).to_json()))
        self.set_status(
            pod,
            phase="Failed" if code else "Succeeded",
            own=[ended("sweep-restore", 0, "{}"), ended("sweep-mirror", 0, outcome.to_json())],
            mains=[ended("main", code)],
        )

    def report(self, pod: dict[str, Any], **fields: Any) -> Report:
        defaults: dict[str, Any] = {"stage": Stage.MIRRORING, "run_id": "r", "sequence": next(self._sequence)}
        return Report(**{**defaults, "shard": shard_of(pod), "attempt": attempt_of(pod), **fields})

    def token_of(self, pod: dict[str, Any], audience: str = TOKEN_AUDIENCE) -> str:
        """Return a real token bound to the pod, as the kubelet would project it."""
        metadata = pod["metadata"]
        bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [audience], "boundObjectRef": bound},
        }
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/default/token"
        return str(self.api.create(path, request)["status"]["token"])


def shard_of(pod: dict[str, Any]) -> int:
    return int(pod["metadata"]["labels"]["resumable.dev/shard"])


def attempt_of(pod: dict[str, Any]) -> int:
    return int(pod["metadata"]["labels"]["resumable.dev/attempt"])


def running(name: str) -> dict[str, Any]:
    state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    return {"name": name, "image": "", "imageID": "", "ready": True, "restartCount": 0, "state": state}


def ended(name: str, code: int, message: str = "", reason: str = "") -> dict[str, Any]:
    terminated = {"exitCode": code, "message": message, "reason": reason or ("Error" if code else "Completed")}
    return {
        "name": name,
        "image": "",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": terminated},
    }


@pytest.fixture(scope="module")
def operator(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """The operator, for one module: other tests' sweeps, in the same API server, are none of its business."""
    process = OperatorProcess(control_plane.kubeconfig, tmp_path_factory.mktemp("operator") / "log")
    process.start()
    yield process
    assert process.end(signal.SIGTERM) == 0, "the operator must end cleanly when asked to"


@pytest.fixture
def stage(api: Api, operator: OperatorProcess) -> Iterator[Theatre]:
    """A fresh namespace, torn down afterwards."""
    namespace = f"team-{next(_namespaces)}"
    api.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    stage = Theatre(api, namespace)

    def has_account() -> bool:
        try:
            api.get(f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
        except ApiError:
            return False
        return True

    wait_until(has_account, what="the default service account", seconds=60)
    yield stage
    for sweep in api.get(stage.sweeps)["items"]:
        api.delete(f"{stage.sweeps}/{sweep['metadata']['name']}")
    for pod in api.get(stage.pods_path)["items"]:
        api.delete(f"{stage.pods_path}/{pod['metadata']['name']}", {"gracePeriodSeconds": 0})


@pytest.fixture
def node(api: Api) -> Iterator[Callable[[str], dict[str, Any]]]:
    """Makes nodes that are ready; removes them afterwards."""
    made = []

    def make(name: str) -> dict[str, Any]:
        body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
        created: dict[str, Any] = api.create("/api/v1/nodes", body)
        made.append(name)
        set_ready(api, name, "True", "kubelet is ready")
        return created

    yield make
    for name in made:
        api.delete(f"/api/v1/nodes/{name}")


def set_ready(api: Api, node: str, status: str, message: str) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    ready = {"type": "Ready", "status": status, "reason": "x", "message": message, "lastTransitionTime": now}
    api.patch(f"/api/v1/nodes/{node}/status", {"status": {"conditions": [ready]}})

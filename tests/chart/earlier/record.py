"""Record what an earlier version leaves in a cluster: its chart, and its sweeps, pods and nodes in the API server.

PYTHONPATH=tests/testbed:tests python -m chart.earlier.record TREE

TREE holds that version's sources. Its operator runs on a real API server; this program plays scheduler, kubelet and
sidecar. The test of the upgrade puts the objects back as they were, into the etcd of another API server.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from chart.helm import CHART, NAMESPACE, Helm
from chart.running import owned_by, running_operator
from rig.api import Api, wait_until
from rig.binaries import binaries
from rig.control_plane import ControlPlane
from rig.progress import keep_quiet

HERE = Path(__file__).resolve().parent
CHART_FILE = HERE / "chart.tgz"
OBJECTS = HERE / "objects.yaml"
REPORT = HERE / "report.json"
"""What the sidecar of the third shard of the sweep under way goes on to say."""
TEAM = "earlier"
NODES = ("earlier-1", "earlier-2")
SWEEPS = f"/apis/resumable.dev/v1alpha1/namespaces/{TEAM}/resumablesweeps"
ITEMS = 12

_DIGEST = "0" * 64
_SPOKEN_WITH = """
import json, sys
from resumable_sweep.contract.outcome import Outcome
from resumable_sweep.contract.report import Report, Stage
word = json.load(sys.stdin)
report = Report(run_id="r", sequence=9, stage=Stage(word["stage"]), **word["report"]) if "report" in word else None
if "reason" in word:
    details = json.loads(report.to_json()) if report else word["details"]
    print(Outcome(word["reason"], "", details).to_json())
else:
    print(report.to_json())
"""


class Stage:
    """The cluster around the earlier operator."""

    def __init__(self, api: Api, tree: Path) -> None:
        self.api = api
        self._tree = tree

    def apply(self, name: str, **spec: Any) -> dict[str, Any]:
        body = {
            "apiVersion": "resumable.dev/v1alpha1",
            "kind": "ResumableSweep",
            "metadata": {"name": name},
            "spec": {
                "shards": 1,
                "items": {"list": list(range(ITEMS))},
                "checkpoint": {"url": "gs://bucket/sweeps", "file": "results.jsonl"},
                "template": {"spec": {"containers": [{"name": "main", "image": "main:test"}]}},
                **spec,
            },
        }
        created: dict[str, Any] = self.api.create(SWEEPS, body)
        resolved = {"reason": "Resolved", "details": {"items": ITEMS, "items_sha256": _DIGEST}}
        self.end(self.pod_of(created, "resolve"), "sweep-resolve", resolved)
        return created

    def pod_of(self, sweep: dict[str, Any], role: str, *, shard: int = 0, after: int = 0) -> dict[str, Any]:
        """Wait for a live pod of a sweep, of an attempt later than `after`."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            for pod in owned_by(self.api, sweep):
                labels = pod["metadata"]["labels"]
                fits = labels["resumable.dev/role"] == role and "deletionTimestamp" not in pod["metadata"]
                if role == "attempt":
                    fits = fits and int(labels["resumable.dev/shard"]) == shard
                    fits = fits and int(labels["resumable.dev/attempt"]) > after
                if fits:
                    found.append(pod)
            return bool(found)

        wait_until(is_there, what=f"a pod: {role} of shard {shard}", seconds=60)
        return found[0]

    def place(self, pod: dict[str, Any], node: str) -> None:
        name = pod["metadata"]["name"]
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        self.api.create(f"/api/v1/namespaces/{TEAM}/pods/{name}/binding", binding)
        own = [self._ended("sweep-restore", {"reason": "Restored", "details": {}}), _running("sweep-mirror")]
        self._set(pod, phase="Running", initContainerStatuses=own, containerStatuses=[_running("main")])

    def end(self, pod: dict[str, Any], container: str, word: dict[str, Any]) -> None:
        """End a housekeeping pod."""
        self._set(pod, phase="Succeeded", containerStatuses=[self._ended(container, word)])

    def complete(self, pod: dict[str, Any]) -> None:
        """End the pod of an attempt whose shard is complete."""
        labels = pod["metadata"]["labels"]
        report = {"shard": int(labels["resumable.dev/shard"]), "attempt": int(labels["resumable.dev/attempt"])}
        last = {"reason": "Complete", "report": report, "stage": "complete"}
        own = [self._ended("sweep-restore", {"reason": "Restored", "details": {}}), self._ended("sweep-mirror", last)]
        main = self._ended("main", {"reason": "Completed", "details": {}})
        self._set(pod, phase="Succeeded", initContainerStatuses=own, containerStatuses=[main])

    def fail(self, pod: dict[str, Any]) -> None:
        """End the pod of an attempt by its program's own failure."""
        failed = {**_running("main"), "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}
        self._set(pod, phase="Failed", containerStatuses=[failed])

    def status(self, sweep: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get(f"{SWEEPS}/{sweep['metadata']['name']}").get("status", {})
        return found

    def _set(self, pod: dict[str, Any], **status: Any) -> None:
        self.api.patch(f"/api/v1/namespaces/{TEAM}/pods/{pod['metadata']['name']}/status", {"status": status})

    def _ended(self, container: str, word: dict[str, Any]) -> dict[str, Any]:
        terminated = {"exitCode": 0, "reason": "Completed", "message": spoken(self._tree, word)}
        return {**_running(container), "ready": False, "state": {"terminated": terminated}}


def spoken(tree: Path, word: dict[str, Any]) -> str:
    """Return what that version's own sidecar would say: a report, or the last words of a container."""
    done = subprocess.run(
        [sys.executable, "-c", _SPOKEN_WITH],
        env={"PYTHONPATH": str(tree / "library")},
        input=json.dumps(word),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def _running(name: str) -> dict[str, Any]:
    state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    return {"name": name, "image": "", "imageID": "", "ready": True, "restartCount": 0, "state": state}


def play(stage: Stage) -> None:
    """Bring sweeps into the states in which an upgrade may find them."""
    under_way = stage.apply("under-way", shards=4)
    first = [stage.pod_of(under_way, "attempt", shard=shard) for shard in range(4)]
    for shard, pod in enumerate(first):
        stage.place(pod, NODES[shard % 2])
    wait_until(lambda: stage.status(under_way).get("running") == 4, what="all to run", seconds=60)
    # One has been taken away, one has failed once: both run again. One is complete, one is still in its first attempt.
    stage.api.delete(f"/api/v1/namespaces/{TEAM}/pods/{first[0]['metadata']['name']}", {"gracePeriodSeconds": 0})
    stage.fail(first[3])
    stage.complete(first[1])
    for shard in (0, 3):
        again = stage.pod_of(under_way, "attempt", shard=shard, after=4)
        stage.place(again, NODES[1])
    wait_until(
        lambda: stage.status(under_way).get("running") == 3 and stage.status(under_way).get("reclaims") == 1,
        what="the successors to run",
        seconds=60,
    )

    suspended = stage.apply("suspended", shards=2, suspend=False)
    stage.place(stage.pod_of(suspended, "attempt", shard=0), NODES[0])
    stage.complete(stage.pod_of(suspended, "attempt", shard=0))
    stage.api.patch(f"{SWEEPS}/suspended", {"spec": {"suspend": True}})
    wait_until(
        lambda: stage.status(suspended).get("phase") == "Suspended", what="the sweep to be suspended", seconds=60
    )

    complete = stage.apply("complete")
    stage.place(stage.pod_of(complete, "attempt"), NODES[0])
    stage.complete(stage.pod_of(complete, "attempt"))
    details = {"url": "gs://m", "sha256": _DIGEST, "items": ITEMS, "provenance_url": "gs://p"}
    stage.end(stage.pod_of(complete, "merge"), "sweep-merge", {"reason": "Merged", "details": details})
    wait_until(lambda: stage.status(complete).get("phase") == "Complete", what="the sweep to be complete", seconds=60)


def kept(document: dict[str, Any], *, version: str, kind: str) -> dict[str, Any]:
    """Return an object as etcd holds it, without what the API server makes up anew."""
    metadata = {name: value for name, value in document["metadata"].items() if name != "resourceVersion"}
    metadata.pop("managedFields", None)
    return {"apiVersion": version, "kind": kind, **document, "metadata": metadata}


def main(tree: Path) -> None:
    """Record what the version in `tree` leaves."""
    with tempfile.TemporaryDirectory() as scratch, ControlPlane(controllers=True) as control_plane:
        folder, api = Path(scratch), control_plane.api
        helm = Helm(program=binaries(["helm"], report=keep_quiet)["helm"], home=folder)
        packed = helm.run("package", str(tree / "charts" / CHART.name), "--destination", scratch)
        assert packed.returncode == 0, packed.stderr
        (chart,) = folder.glob("*.tgz")
        for name in (NAMESPACE, TEAM):
            api.create("/api/v1/namespaces", {"metadata": {"name": name}})
        release = ["--namespace", NAMESPACE, "--kubeconfig", str(control_plane.kubeconfig)]
        installed = helm.run("install", "demo", str(chart), *release)
        assert installed.returncode == 0, installed.stderr
        for name in NODES:
            api.create("/api/v1/nodes", {"metadata": {"name": name}})
            ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
            api.patch(f"/api/v1/nodes/{name}/status", {"status": {"conditions": [ready]}})
        account = f"/api/v1/namespaces/{TEAM}/serviceaccounts"
        wait_until(lambda: bool(api.get(account)["items"]), what="the default service account", seconds=30)
        with running_operator(control_plane, api, folder=folder, tree=tree) as operator:
            try:
                play(Stage(api, tree))
            except Exception:
                print(operator.log.read_text()[-4000:], file=sys.stderr)
                raise
        objects = [kept(api.get(f"/api/v1/nodes/{name}"), version="v1", kind="Node") for name in NODES]
        for each in api.get(SWEEPS)["items"]:
            objects.append(kept(each, version="resumable.dev/v1alpha1", kind="ResumableSweep"))
            for kind, name in (("ConfigMap", "configmaps"), ("Pod", "pods")):
                objects += [kept(one, version="v1", kind=kind) for one in owned_by(api, each, kind=name)]
        OBJECTS.write_text(yaml.safe_dump_all(objects, sort_keys=False, width=120))
        CHART_FILE.write_bytes(chart.read_bytes())
        report = {"shard": 2, "attempt": 3, "items_done": 2, "items_recorded": 2, "items_total": 3}
        REPORT.write_text(spoken(tree, {"report": report, "stage": "mirroring"}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())

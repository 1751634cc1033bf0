"""The ways in which a sweep is deleted: no pod is made for one that is going, whoever removes its pods."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.integration


@pytest.fixture
def pods(stage: Any, node: Any) -> list[dict[str, Any]]:
    """Two attempts that run."""
    name = f"deletion-{stage.namespace}"
    node(name)
    stage.apply(items=None)
    found: list[dict[str, Any]] = stage.wait_for_attempts(0, 1)
    for pod in found:
        stage.place(pod, name)
    stage.wait(lambda: stage.status().get("running") == 2, "both to run")
    return found


def delete(stage: Any, policy: str) -> None:
    body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy}
    assert stage.api.delete(f"{stage.sweeps}/lr", body)


def names(pods: list[dict[str, Any]]) -> list[str]:
    return [pod["metadata"]["name"] for pod in pods]


def gone(stage: Any) -> bool:
    return stage.api.get(stage.sweeps)["items"] == []


def remove(stage: Any, pod: dict[str, Any]) -> None:
    """Play the kubelet that has ended a pod."""
    stage.api.delete(f"{stage.pods_path}/{pod['metadata']['name']}", {"gracePeriodSeconds": 0})


def test_a_sweep_that_is_going_gets_no_pods_for_those_that_go(stage: Any, pods: Any) -> None:
    # Somebody keeps the sweep, so that it is still there while its pods go one after the other.
    stage.api.patch(f"{stage.sweeps}/lr", {"metadata": {"finalizers": ["example.org/kept"]}})
    delete(stage, "Foreground")
    stage.wait(lambda: not stage.live(), "the garbage collector to delete the pods", seconds=90)
    for pod in pods:
        remove(stage, pod)
    # A sweep that comes later shows that the operator has seen all this.
    body = stage.api.get(f"{stage.sweeps}/lr")
    other = stage.api.create(stage.sweeps, {**body, "metadata": {"name": "other"}, "status": {}})
    stage.wait(lambda: len(stage.live()) == 2, "the other sweep's pods")
    owners = [pod["metadata"]["ownerReferences"][0]["uid"] for pod in stage.pods()]
    assert set(owners) == {other["metadata"]["uid"]}
    assert stage.status().get("reclaims", 0) == 0
    stage.api.patch(f"{stage.sweeps}/lr", {"metadata": {"finalizers": None}})
    stage.wait(lambda: len(stage.api.get(stage.sweeps)["items"]) == 1, "the sweep to go")
    assert len(stage.events("AttemptCreated")) == 4
    assert not stage.events("Reclaimed")


def test_orphaned_pods_run_on_without_anybody(stage: Any, pods: Any) -> None:
    delete(stage, "Orphan")
    stage.wait(lambda: gone(stage), "the sweep to go", seconds=90)
    assert names(stage.live()) == names(pods)
    assert all("ownerReferences" not in pod["metadata"] for pod in stage.live())
    remove(stage, pods[0])
    # A sweep of the same name is another one: what it makes shows that the operator has seen all this.
    stage.apply(items=None, shards=1)
    stage.wait(lambda: len(stage.live()) == 2, "the other sweep's pod")
    assert pods[1]["metadata"]["name"] in names(stage.live())
    assert stage.status()["attempts"] == 1
    assert not stage.events("Reclaimed")

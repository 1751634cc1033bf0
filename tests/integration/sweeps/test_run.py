"""From `apply` to Complete, and what a user may do in between."""

from __future__ import annotations

from typing import Any

import pytest

from resumable_sweep.contract.outcome import Exit, Outcome

pytestmark = pytest.mark.integration


def test_a_sweep_runs_to_its_end(stage: Any, node: Any) -> None:
    node("run-n1")
    stage.apply()
    stage.resolve()
    pods = stage.wait_for_attempts(0, 1)
    status = stage.wait(lambda: stage.status() if stage.status().get("phase") == "Running" else None, "Running")
    assert status["total"] == 12
    for pod in pods:
        stage.place(pod, "run-n1")
    stage.wait(lambda: stage.status().get("running") == 2, "two running pods")
    for pod in pods:
        stage.finish(pod)
    stage.merge()
    status = stage.wait(lambda: stage.status() if stage.status().get("phase") == "Complete" else None, "Complete")
    assert status["done"] == 12
    assert status["merged"]["url"] == "gs://m"
    assert status["shards"] == {"complete": "0-1"}
    assert status.get("reclaims", 0) == 0
    assert stage.condition("Complete")["status"] == "True"
    stage.wait(lambda: not stage.pods() and not stage.pods("merge") and not stage.pods("resolve"), "pods removed")


def test_no_more_pods_than_parallelism(stage: Any) -> None:
    stage.apply(shards=4, parallelism=2)
    stage.resolve()
    first = stage.wait_for_attempts(0, 1)
    stage.finish(first[0])
    stage.wait_for_attempts(1, 2)
    stage.change(parallelism=4)
    stage.wait_for_attempts(1, 2, 3)
    stage.change(parallelism=1)
    stage.wait(lambda: len(stage.live()) == 1, "the excess pods to be stopped")
    assert stage.status().get("reclaims", 0) == 0, "the operator's own deletions are no reclaims"


def test_suspend_and_resume(stage: Any) -> None:
    stage.apply()
    stage.resolve()
    stage.wait_for_attempts(0, 1)
    stage.change(suspend=True)
    stage.wait(lambda: stage.status().get("phase") == "Suspended", "Suspended")
    assert not stage.pods()
    assert stage.condition("Suspended")["status"] == "True"
    stage.change(suspend=False)
    pods = stage.wait_for_attempts(0, 1)
    variables = {each["name"]: each.get("value") for each in pods[0]["spec"]["containers"][0]["env"]}
    assert variables["SWEEP_RESUME_FROM"] == "file:///sweep/snapshot/results.jsonl"
    assert stage.status().get("reclaims", 0) == 0


def test_deleting_the_sweep_removes_its_pods(stage: Any) -> None:
    stage.apply()
    stage.resolve()
    stage.wait_for_attempts(0, 1)
    stage.api.delete(f"{stage.sweeps}/lr")
    # The garbage collector learns of a definition that is new only every 30 s.
    stage.wait(lambda: not stage.live(), "the pods to be collected", seconds=60)


def test_a_program_that_knows_its_items_itself(stage: Any) -> None:
    stage.apply(items=None, shards=1)
    pod = stage.wait_for_attempts(0)[0]
    assert not stage.pods("resolve")
    names = [each["name"] for each in pod["spec"]["containers"][0]["env"]]
    assert "SWEEP_ITEMS" not in names


def test_items_in_a_config_map_that_comes_late(stage: Any) -> None:
    stage.apply(items={"configMapKeyRef": {"name": "items", "key": "items.jsonl"}})
    stage.wait(
        lambda: stage.condition("Healthy").get("reason") == "ItemsMissing", "the condition to say what is missing"
    )
    assert "items" in stage.condition("Healthy")["message"]
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "items"}, "data": {"items.jsonl": "1\n2\n"}}
    stage.api.create(f"/api/v1/namespaces/{stage.namespace}/configmaps", body)
    stage.resolve()
    stage.wait_for_attempts(0, 1)
    stage.wait(lambda: stage.condition("Healthy")["reason"] != "ItemsMissing", "the condition to heal")


def test_items_that_cannot_be_resolved_fail_the_sweep(stage: Any) -> None:
    stage.apply()
    pod = stage.wait(lambda: stage.pods("resolve"), "the resolve pod")[0]
    outcome = Outcome("ItemsInvalid", "items 0 and 3 have the same key 1", {})
    terminated = {"exitCode": int(Exit.ITEMS_INVALID), "message": outcome.to_json()}
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    container = {"name": "sweep-resolve", "image": "", "imageID": "", "ready": False, "restartCount": 1}
    stage.set_status(
        pod, phase="Running", mains=[{**container, "state": waiting, "lastState": {"terminated": terminated}}]
    )
    stage.wait(lambda: stage.status().get("phase") == "Failed", "Failed")
    assert stage.condition("Failed")["reason"] == "ItemsInvalid"
    assert "same key" in stage.condition("Failed")["message"]

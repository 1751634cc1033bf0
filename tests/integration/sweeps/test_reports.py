"""Reports of sidecars: believed only from the very pod they speak of."""

from __future__ import annotations

from typing import Any

import pytest

from resumable_sweep.contract.report import Stage

pytestmark = pytest.mark.integration


@pytest.fixture
def pods(stage: Any, node: Any) -> list[dict[str, Any]]:
    name = f"reports-{stage.namespace}"
    node(name)
    stage.apply()
    stage.resolve()
    pods: list[dict[str, Any]] = stage.wait_for_attempts(0, 1)
    for pod in pods:
        stage.place(pod, name)
    stage.wait(lambda: stage.status().get("running") == 2, "both to run")
    return pods


def test_a_report_moves_the_count(stage: Any, operator: Any, pods: Any) -> None:
    token = stage.token_of(pods[0])
    code, answer = operator.push(token, stage.report(pods[0], items_done=3, items_recorded=4))
    assert code == 200
    assert answer == {"superseded": False, "notice_noted": False, "may_take": True, "experiment": "running"}
    stage.wait(lambda: stage.status().get("done") == 3, "DONE to be 3")
    assert stage.status()["eta"]


def test_an_old_report_is_passed_over(stage: Any, operator: Any, pods: Any) -> None:
    token = stage.token_of(pods[0])
    old = stage.report(pods[0], items_done=5)
    operator.push(token, stage.report(pods[0], items_done=2))
    operator.push(token, old)
    operator.push(token, stage.report(pods[0], items_done=3))
    stage.wait(lambda: stage.status().get("done") == 3, "DONE to be 3, never 5")


def test_a_pod_speaks_for_itself_alone(stage: Any, operator: Any, pods: Any) -> None:
    code, _ = operator.push(stage.token_of(pods[0]), stage.report(pods[1], items_done=3))
    assert code == 403


def test_a_token_of_another_audience_is_refused(stage: Any, operator: Any, pods: Any) -> None:
    token = stage.token_of(pods[0], audience="https://kubernetes.default.svc.cluster.local")
    assert operator.push(token, stage.report(pods[0]))[0] == 403


def test_no_token_no_answer(stage: Any, operator: Any, pods: Any) -> None:
    assert operator.push("", stage.report(pods[0]))[0] == 401
    assert operator.push("forged", stage.report(pods[0]))[0] == 403


def test_a_leaving_attempt_that_has_sealed_is_replaced_at_once(stage: Any, operator: Any, pods: Any) -> None:
    stage.api.delete(f"{stage.pods_path}/{pods[0]['metadata']['name']}")
    stage.wait(lambda: "L1" in stage.status()["shardTable"], "the shard to be leaving")
    operator.push(stage.token_of(pods[0]), stage.report(pods[0], stage=Stage.SEALED, items_done=2))
    stage.wait_for_attempts(0, 1)
    assert stage.status()["lastReclaim"]["signal"] == "PodDeleted"
    assert stage.status()["lastReclaim"]["itemsSafe"] == 2
    code, answer = operator.push(stage.token_of(pods[0]), stage.report(pods[0]))
    assert (code, answer["superseded"]) == (200, True)


def test_items_lost_with_a_node_are_counted(stage: Any, operator: Any, pods: Any) -> None:
    operator.push(stage.token_of(pods[0]), stage.report(pods[0], items_done=3, items_recorded=5))
    stage.wait(lambda: stage.status().get("done") == 3, "DONE to be 3")
    name = pods[0]["metadata"]["name"]
    stage.api.delete(f"{stage.pods_path}/{name}", {"gracePeriodSeconds": 0})
    successor = next(
        pod for pod in stage.wait_for_attempts(0, 1) if pod["metadata"]["labels"]["resumable.dev/shard"] == "0"
    )
    report = stage.report(successor, items_restored=3, items_done=3, items_recorded=3)
    operator.push(stage.token_of(successor), report)
    stage.wait(lambda: stage.status().get("lost") == 2, "LOST to be 2")


def test_a_store_that_a_restore_waits_for_is_said_and_taken_back(stage: Any, operator: Any, pods: Any) -> None:
    token = stage.token_of(pods[0])
    waits = {"stage": Stage.RESTORING, "problem": "StoreUnreachable", "message": "connection refused"}
    operator.push(token, stage.report(pods[0], **waits))
    stage.wait(lambda: stage.condition("Healthy")["reason"] == "StoreUnreachable", "it to be said")
    assert "connection refused" in stage.condition("Healthy")["message"]
    operator.push(token, stage.report(pods[0], stage=Stage.RESTORING))
    stage.wait(lambda: stage.condition("Healthy")["status"] == "True", "it to be taken back")


def test_how_far_a_restore_has_come_is_said(stage: Any, operator: Any, node: Any) -> None:
    name = f"restoring-{stage.namespace}"
    node(name)
    stage.apply(shards=1)
    stage.resolve()
    pod = stage.wait_for_attempts(0)[0]
    stage.bind(pod, name)
    token = stage.token_of(pod)

    def has_told(restored: int) -> bool:
        report = stage.report(pod, stage=Stage.RESTORING, restored_bytes=restored, restore_bytes=12 * 10**9)
        return operator.push(token, report)[0] == 200

    stage.wait(lambda: has_told(3_100_000_000), "the report to be taken")
    stage.wait(lambda: "shard 0 restoring 3.1 of 12 GB" in stage.condition("Complete")["message"], "3.1")
    has_told(9 * 10**9)
    stage.wait(lambda: "shard 0 restoring 9 of 12 GB" in stage.condition("Complete")["message"], "9")
    assert stage.condition("Healthy")["status"] == "True"
    assert stage.status()["phase"] == "Running"


def test_a_mirror_that_is_down_is_said(stage: Any, pods: Any) -> None:
    status = stage.api.get(f"{stage.pods_path}/{pods[0]['metadata']['name']}")["status"]
    restore, mirror = status["initContainerStatuses"]
    crashing = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    stage.set_status(pods[0], own=[restore, {**mirror, "ready": False, "restartCount": 3, "state": crashing}])
    stage.wait(lambda: stage.condition("Healthy")["reason"] == "MirrorDown", "it to be said")
    stage.set_status(pods[0], own=[restore, {**mirror, "restartCount": 4}])
    # Where the operator has listened for longer than this test takes, it says next that nobody reports.
    stage.wait(lambda: stage.condition("Healthy")["reason"] != "MirrorDown", "it to be taken back")

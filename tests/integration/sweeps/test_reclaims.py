"""Each way an attempt can be taken away, and what is not a reclaim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.integration


def disrupt(stage: Any, pod: dict[str, Any], node: str) -> None:
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": "shutdown"}
    stage.set_status(pod, phase="Failed", reason="Terminated", conditions=[condition])


def delete_node(stage: Any, pod: dict[str, Any], node: str) -> None:
    stage.api.delete(f"/api/v1/nodes/{node}")


def replace_node(stage: Any, pod: dict[str, Any], node: str) -> None:
    stage.api.delete(f"/api/v1/nodes/{node}")
    stage.api.create("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})


def force_delete(stage: Any, pod: dict[str, Any], node: str) -> None:
    stage.api.delete(f"{stage.pods_path}/{pod['metadata']['name']}", {"gracePeriodSeconds": 0})


def exit_zero_unproven(stage: Any, pod: dict[str, Any], node: str) -> None:
    stage.finish(pod, complete=False)


WAYS: dict[str, tuple[Callable[..., None], set[str]]] = {
    "graceful shutdown": (disrupt, {"TerminationByKubelet"}),
    "node deleted": (delete_node, {"NodeGone"}),
    "node replaced under its name": (replace_node, {"NodeGone", "NodeReplaced"}),
    "pod force-deleted": (force_delete, {"PodVanished"}),
}


@pytest.mark.parametrize(("take_away", "signals"), WAYS.values(), ids=WAYS.keys())
def test_a_reclaimed_shard_is_relaunched(stage: Any, node: Any, take_away: Any, signals: set[str]) -> None:
    name = f"n-{stage.namespace}"
    node(name)
    stage.apply(shards=1)
    stage.resolve()
    pod = stage.wait_for_attempts(0)[0]
    stage.place(pod, name)
    stage.wait(lambda: stage.status().get("running") == 1, "the pod to run")
    take_away(stage, pod, name)

    def successor() -> Any:
        return [each for each in stage.live() if each["metadata"]["uid"] != pod["metadata"]["uid"]]

    relaunched = stage.wait(successor, "a replacement")
    assert len(relaunched) == 1
    variables = {each["name"]: each.get("value") for each in relaunched[0]["spec"]["containers"][0]["env"]}
    assert variables["SWEEP_ATTEMPT"] == "2"
    assert variables["SWEEP_RESUME_FROM"] == "file:///sweep/snapshot/results.jsonl"
    status = stage.wait(
        lambda: stage.status() if "relaunchSeconds" in stage.status()["lastReclaim"] else None, "figure"
    )
    assert status["reclaims"] == 1
    assert status["lastReclaim"]["signal"] in signals
    assert status["lastReclaim"]["node"] == name
    events = stage.wait(lambda: stage.events("Reclaimed"), "the event")
    assert len(events) == 1
    assert f"node {name}" in events[0]
    assert "items safe" in events[0]


def test_exit_zero_without_proof_is_run_again(stage: Any, node: Any) -> None:
    node("unproven")
    stage.apply(shards=1)
    stage.resolve()
    pod = stage.wait_for_attempts(0)[0]
    stage.place(pod, "unproven")
    stage.finish(pod, complete=False)
    stage.wait(lambda: stage.events("SucceededWithoutProof"), "the event")
    stage.wait(lambda: stage.status()["attempts"] == 2, "another attempt")
    assert stage.status()["phase"] == "Running"
    stage.wait(lambda: stage.condition("Healthy")["reason"] == "SucceededWithoutProof", "the condition to say so")


def test_failures_of_the_program_use_up_their_budget(stage: Any, node: Any) -> None:
    node("user-failure")
    stage.apply(shards=1, budgets={"userFailures": 1})
    stage.resolve()
    pod = stage.wait_for_attempts(0)[0]
    stage.place(pod, "user-failure")
    stage.finish(pod, complete=False, code=1)
    stage.wait(lambda: stage.events("ContainerFailed"), "the event")
    again = stage.wait(
        lambda: [each for each in stage.live() if each["metadata"]["uid"] != pod["metadata"]["uid"]], "2"
    )
    stage.place(again[0], "user-failure")
    stage.finish(again[0], complete=False, code=1)
    stage.wait(lambda: stage.status()["phase"] == "Failed", "Failed")
    assert stage.status().get("reclaims", 0) == 0
    assert stage.condition("Failed")["reason"] == "ShardsFailed"
    assert len(stage.pods()) == 2, "failed pods stay for a look at their logs"

"""The operator dies and comes back: no attempt has two pods, none is forgotten."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from sweep_operator.model.shard_record import ShardTable, records_of, table_of

pytestmark = pytest.mark.integration


def test_a_killed_operator_goes_on_without_a_twin(stage: Any, node: Any, operator: Any) -> None:
    node("restart")
    stage.apply()
    stage.resolve()
    pods = stage.wait_for_attempts(0, 1)
    for pod in pods:
        stage.place(pod, "restart")
    stage.wait(lambda: stage.status().get("running") == 2, "both to run")
    operator.end(signal.SIGKILL)
    stage.finish(pods[0])
    operator.start()
    stage.wait(lambda: stage.status()["shards"].get("complete") == "0", "shard 0 to be complete")
    stage.wait(
        lambda: pods[0]["metadata"]["uid"] not in [pod["metadata"]["uid"] for pod in stage.live()],
        "the finished pod to be removed",
    )
    assert [pod["metadata"]["uid"] for pod in stage.live()] == [pods[1]["metadata"]["uid"]]
    assert stage.status()["attempts"] == 2


def test_an_attempt_whose_pod_was_never_made_is_burnt(stage: Any, operator: Any) -> None:
    stage.apply(shards=1)
    stage.resolve()
    pod = stage.wait_for_attempts(0)[0]
    operator.end(signal.SIGKILL)
    # As if the operator had died between the status and the pod: attempt 2 is allocated, and nobody has made it.
    status = stage.status()
    record = records_of(ShardTable(status["shardTable"], tuple(status.get("nodes", ()))), shards=1)[0]
    table = table_of([record.changed(attempt=2, node="")])
    stage.api.patch(f"{stage.sweeps}/lr/status", {"status": {"attempts": 2, "shardTable": table.text}})
    stage.api.delete(f"{stage.pods_path}/{pod['metadata']['name']}", {"gracePeriodSeconds": 0})
    operator.start()
    relaunched = stage.wait_for_attempts(0)[0]
    assert relaunched["metadata"]["labels"]["resumable.dev/attempt"] == "3"
    assert stage.status().get("reclaims", 0) == 0


def test_a_pod_lost_while_the_operator_was_away_is_a_reclaim(stage: Any, node: Any, operator: Any) -> None:
    node("away")
    stage.apply(shards=1)
    stage.resolve()
    pod = stage.wait_for_attempts(0)[0]
    stage.place(pod, "away")
    stage.wait(lambda: stage.status().get("running") == 1 and stage.status().get("nodes"), "the pod to run")
    operator.end(signal.SIGKILL)
    stage.api.delete(f"{stage.pods_path}/{pod['metadata']['name']}", {"gracePeriodSeconds": 0})
    operator.start()
    stage.wait_for_attempts(0)
    assert stage.status()["reclaims"] == 1
    assert stage.status()["lastReclaim"]["signal"] == "PodVanished"

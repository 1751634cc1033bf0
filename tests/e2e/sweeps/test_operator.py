"""The operator dies, a user suspends, a sweep is deleted: on real kubelets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from trial.cluster import wait_until
from trial.ground import install_operator
from trial.script import after_items, strike

pytestmark = pytest.mark.e2e

OPERATOR = "/api/v1/namespaces/resumable-sweep/pods"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/resumable-sweep/leases/resumable-sweep"


def test_the_operator_is_killed_while_a_node_goes(start: Any, judge: Any, ground: Any) -> None:
    trial = start()
    wait_until(after_items(trial.sweep, 5), what="five durable items", seconds=120)
    cluster = ground.cluster()
    before = {pod["metadata"]["uid"] for pod in cluster.get(OPERATOR)["items"]}
    for pod in cluster.get(OPERATOR)["items"]:
        cluster.delete(f"{OPERATOR}/{pod['metadata']['name']}", {"gracePeriodSeconds": 0})
    struck = strike(trial.sweep, ground, trial.observer, how="kill")
    judge(trial, [struck])
    after = {pod["metadata"]["uid"] for pod in cluster.get(OPERATOR)["items"]}
    assert not before & after
    numbers = [seen.attempt for seen in trial.observer.attempts()]
    assert len(numbers) == len(set(numbers))


@pytest.fixture
def two_operators(ground: Any) -> Iterator[None]:
    install_operator(ground, replicas=2)
    yield
    install_operator(ground)


def test_the_one_that_decides_is_killed_while_a_node_goes(
    two_operators: None, start: Any, judge: Any, ground: Any
) -> None:
    trial = start()
    wait_until(after_items(trial.sweep, 5), what="five durable items", seconds=120)
    cluster = ground.cluster()
    holder = cluster.get(LEASE)["spec"]["holderIdentity"]
    cluster.delete(f"{OPERATOR}/{holder}", {"gracePeriodSeconds": 0})
    struck = strike(trial.sweep, ground, trial.observer, how="kill")
    judge(trial, [struck])
    assert cluster.get(LEASE)["spec"]["holderIdentity"] not in ("", holder)
    assert len(cluster.get(OPERATOR)["items"]) == 2
    numbers = [seen.attempt for seen in trial.observer.attempts()]
    assert len(numbers) == len(set(numbers))


def test_suspend_and_resume(start: Any, judge: Any) -> None:
    trial = start()
    wait_until(after_items(trial.sweep, 5), what="five durable items", seconds=120)
    trial.sweep.change(suspend=True)
    status = trial.sweep.wait_for_phase("Suspended", seconds=60)
    assert not trial.sweep.pods()
    trial.sweep.change(suspend=False)
    verdict = judge(trial)
    assert trial.sweep.status().get("reclaims", 0) == 0
    assert trial.sweep.status().get("lost", 0) == 0
    assert status["done"] >= 5
    # A pod that is asked to end finishes its item and flushes: nothing is run twice.
    assert verdict.items_rerun == 0


def test_deleting_a_sweep_removes_its_pods(start: Any) -> None:
    trial = start()
    wait_until(trial.sweep.working_pods, what="a working pod", seconds=120)
    trial.sweep.delete()
    path = f"/api/v1/namespaces/{trial.sweep.namespace}/pods"
    selector = f"resumable.dev/sweep={trial.sweep.name}"
    wait_until(
        lambda: not trial.sweep.cluster.get(path, labelSelector=selector)["items"],
        what="the pods to go",
        seconds=120,
    )

"""The release is upgraded while a sweep runs: on real kubelets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trial.cluster import wait_until
from trial.ground import install_operator
from trial.script import after_items

pytestmark = pytest.mark.e2e

PODS = "/api/v1/namespaces/resumable-sweep/pods"
CHART = Path(__file__).resolve().parents[3] / "charts" / "resumable-sweep"


def test_a_sweep_outlives_an_upgrade(start: Any, judge: Any, ground: Any) -> None:
    trial = start()
    wait_until(after_items(trial.sweep, 3), what="three durable items", seconds=120)
    cluster = ground.cluster()
    (before,) = (pod["metadata"]["uid"] for pod in cluster.get(PODS)["items"])
    running = {pod["metadata"]["uid"] for pod in trial.sweep.pods()}
    assert len(running) == 3
    changed = ["--set", "operator.logLevel=debug", "--set", "sidecar.image.pullPolicy=Always"]
    words = ["--namespace", "resumable-sweep", "--reset-then-reuse-values", *changed]
    ground.helm("upgrade", "resumable-sweep", str(CHART), *words)
    try:

        def is_new() -> bool:
            pods = cluster.get(PODS)["items"]
            ready = [
                pod["metadata"]["uid"]
                for pod in pods
                if any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"]["conditions"])
            ]
            return len(pods) == 1 and len(ready) == 1 and ready != [before]

        wait_until(is_new, what="the new operator to be ready", seconds=120)
        # Its pods are those of before: what they are made of has changed for the next attempts alone.
        assert {pod["metadata"]["uid"] for pod in trial.sweep.pods()} <= running
        judge(trial)
    finally:
        install_operator(ground)
    status = trial.sweep.status()
    assert status["attempts"] == 3
    assert status.get("reclaims", 0) == 0

"""What real kubelets cannot start is told, costs nothing, and goes on when it is mended."""

from __future__ import annotations

from typing import Any

import pytest

from trial.cluster import wait_until
from trial.sweep import Sweep

pytestmark = pytest.mark.e2e


def healthy(sweep: Sweep) -> dict[str, Any]:
    conditions = sweep.status().get("conditions") or ()
    return next((each for each in conditions if each["type"] == "Healthy"), {})


def told(sweep: Sweep, reason: str) -> str:
    """Wait until the condition gives this reason, and return its message."""
    clue = lambda: f"status: {sweep.status()}"  # noqa: E731
    wait_until(lambda: healthy(sweep).get("reason") == reason, what=f"{reason} to be told", seconds=90, clue=clue)
    return str(healthy(sweep)["message"])


def test_a_wrong_image_and_a_missing_secret_are_mended_while_the_sweep_stands(ground: Any, reference: Sweep) -> None:
    sweep = Sweep(ground.cluster(), namespace="trials", name="mended")
    manifest = reference.cluster.get(reference.path)
    manifest = {name: manifest[name] for name in ("apiVersion", "kind", "spec")}
    manifest["metadata"] = {"name": sweep.name, "namespace": sweep.namespace}
    manifest["spec"]["budgets"] = {"userFailures": 0}
    template = manifest["spec"]["template"]
    (container,) = template["spec"]["containers"]
    right = container["image"]
    container["image"] = f"{right.rpartition(':')[0]}:mistyped"
    sweep.apply(manifest)
    secrets = f"/api/v1/namespaces/{sweep.namespace}/secrets"
    try:
        assert ":mistyped" in told(sweep, "ImagePullBackOff")
        wrong = {pod["metadata"]["uid"] for pod in sweep.pods()}
        container["image"] = right
        key = {"secretKeyRef": {"name": "late", "key": "key"}}
        container["env"] = [*(container.get("env") or []), {"name": "API_KEY", "valueFrom": key}]
        sweep.change(template=template)
        assert 'secret "late" not found' in told(sweep, "CreateContainerConfigError")
        waiting = {pod["metadata"]["uid"] for pod in sweep.pods()}
        assert not waiting & wrong, "no pod of the wrong image is left"
        sweep.cluster.create(secrets, {"metadata": {"name": "late"}, "stringData": {"key": "x"}})
        wait_until(lambda: bool(sweep.working_pods()), what="the program to start", seconds=120)
        assert {pod["metadata"]["uid"] for pod in sweep.working_pods()} <= waiting, "the same pods go on"
        status = sweep.wait_for_phase("Complete", "Failed", seconds=240)
        assert status["phase"] == "Complete", status
        assert status["merged"]["sha256"] == reference.status()["merged"]["sha256"]
        assert status.get("reclaims", 0) == 0
        assert not sweep.events("Drift")
    finally:
        sweep.delete()

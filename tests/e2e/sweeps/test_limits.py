"""A sweep in a namespace with all of Kubernetes' limits on it: real kubelets start what the API server let in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from e2e.sweeps.conftest import SPEC, Trial, all_nodes_of
from trial.cluster import wait_until
from trial.ground import Ground
from trial.observer import Observer
from trial.script import after_items, strike
from trial.sweep import Sweep, manifest_of

pytestmark = pytest.mark.e2e

NAMESPACE = "limited"
HERE = f"/api/v1/namespaces/{NAMESPACE}"
HARD = {"pods": "5", "requests.cpu": "8", "requests.memory": "8Gi", "limits.cpu": "16", "limits.memory": "8Gi"}
LIMITS = {
    "type": "Container",
    "default": {"cpu": "1", "memory": "512Mi"},
    "defaultRequest": {"cpu": "100m", "memory": "128Mi"},
    "max": {"cpu": "2", "memory": "2Gi"},
}
# What Pod Security's `restricted` asks of a program; it says nothing of the sidecar, which has to fit by itself.
CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
# Without a GPU nothing else keeps the program off the machine on which the operator runs, and which would be struck.
POOL = {"name": "spot", "nodeSelector": {"cloud.google.com/gke-spot": "true"}}
POD = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}


@pytest.fixture
def limited(ground: Ground) -> Iterator[Trial]:
    all_nodes_of(ground)
    cluster = ground.cluster()
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": labels}})
    cluster.create(f"{HERE}/resourcequotas", {"metadata": {"name": "all"}, "spec": {"hard": HARD}})
    cluster.create(f"{HERE}/limitranges", {"metadata": {"name": "all"}, "spec": {"limits": [LIMITS]}})
    wait_until(
        lambda: (cluster.get(f"{HERE}/resourcequotas/all").get("status") or {}).get("used"),
        what="the quota to be counted",
        seconds=30,
    )
    manifest = manifest_of(ground, name="limited", namespace=NAMESPACE, placement={"pools": [POOL]}, **SPEC)
    pod = manifest["spec"]["template"]["spec"]
    pod["securityContext"] = POD
    for container in pod["containers"]:
        container["securityContext"] = CONTAINER
        # The LimitRange gives the program its resources, as it does where nobody thinks of them.
        container.pop("resources", None)
    sweep = Sweep(cluster, namespace=NAMESPACE, name="limited")
    started = time.monotonic()
    sweep.apply(manifest)
    trial = Trial(sweep=sweep, observer=Observer(sweep), started=started)
    yield trial
    trial.observer.close()
    trial.sweep.delete()
    cluster.delete(f"/api/v1/namespaces/{NAMESPACE}")


def test_a_struck_sweep_ends_like_an_undisturbed_one(limited: Trial, judge: Callable[..., Any], ground: Ground) -> None:
    wait_until(after_items(limited.sweep, 5), what="five durable items", seconds=120)
    pod = limited.sweep.working_pods()[0]
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "1", "memory": "512Mi"}
    struck = strike(limited.sweep, ground, limited.observer, how="shutdown")
    verdict = judge(limited, [struck])
    assert verdict.reclaims
    assert limited.sweep.status()["merged"]["items"] == limited.sweep.status()["total"]

"""Pods of whom nothing is heard, on nodes that Kubernetes calls ready: the Lease decides."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.integration

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_microseconds = itertools.count(1)


def renew(stage: Any, name: str) -> None:
    """Renew the Lease of a node as a kubelet does whose clock is years behind."""
    renewed = {"spec": {"renewTime": f"2001-01-01T00:00:00.{next(_microseconds):06d}Z"}}
    stage.api.patch(f"{LEASES}/{name}", renewed)


def stay_ready(stage: Any, name: str) -> None:
    """Have Kubernetes go on calling a node ready, whatever its Lease says: its status has a heartbeat too."""
    path = f"/api/v1/nodes/{name}"
    (ready,) = (each for each in stage.api.get(path)["status"]["conditions"] if each["type"] == "Ready")
    beats = {**ready, "lastHeartbeatTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    stage.api.patch(f"{path}/status", {"status": {"conditions": [beats]}})


def test_a_machine_is_dead_when_its_lease_is_silent_too(stage: Any, operator: Any, node: Any) -> None:
    names = [f"silent-{stage.namespace}", f"busy-{stage.namespace}"]
    for name in names:
        node(name)
        # Renewed every second, as it says.
        spec = {"leaseDurationSeconds": 4, "holderIdentity": name}
        stage.api.create(LEASES, {"metadata": {"name": name}, "spec": spec})
        renew(stage, name)
    stage.apply(reclaim={"silentAfter": "15s"})
    stage.resolve()
    pods = sorted(stage.wait_for_attempts(0, 1), key=lambda pod: pod["metadata"]["labels"]["resumable.dev/shard"])
    tokens = [stage.token_of(pod) for pod in pods]
    for pod, name, token in zip(pods, names, tokens, strict=True):
        stage.place(pod, name)
        stage.wait(
            lambda pod=pod, token=token: operator.push(token, stage.report(pod))[0] == 200, "a report to be taken"
        )
    heard_at = time.monotonic()

    def beating(condition: Callable[[], Any]) -> Callable[[], Any]:
        # On a slow machine both nodes would fall silent for good meanwhile.
        def beats() -> Any:
            renew(stage, names[1])
            stay_ready(stage, names[0])
            return condition()

        return beats

    stage.wait(beating(lambda: stage.status().get("reclaims")), "the silent one to be replaced", seconds=40)
    # Not before its time, and long before anybody has called the node Unknown.
    assert 15 <= time.monotonic() - heard_at < 30
    assert stage.status()["reclaimsBySignal"] == {"NodeSilent": 1}
    assert stage.status()["lastReclaim"]["node"] == names[0]
    before = {pod["metadata"]["uid"] for pod in pods}
    renew(stage, names[1])
    live = stage.wait_for_attempts(0, 1)
    assert {pod["metadata"]["uid"] for pod in live} & before == {pods[1]["metadata"]["uid"]}
    (dead,) = [pod for pod in stage.pods() if pod["metadata"]["uid"] == pods[0]["metadata"]["uid"]]
    assert dead["metadata"]["deletionGracePeriodSeconds"] > 0

    # It was alive after all: it is told that its time is over, and its shard is waited for longer.
    code, answer = operator.push(tokens[0], stage.report(pods[0]))
    assert (code, answer["superseded"]) == (200, True)
    (alarm,) = stage.wait(beating(lambda: stage.events("FalseAlarm")), "the false alarm to be told")
    assert f"shard 0, attempt {pods[0]['metadata']['labels']['resumable.dev/attempt']} on {names[0]}" in alarm
    assert alarm.endswith("after 30 s of silence")
    assert "resumable_sweep_false_alarms_total 1.0" in operator.metrics()

from __future__ import annotations

from typing import Any

import pytest

from sweep_operator.model.claims import Grasp, Reach
from sweep_operator.pods.overreach import Allowance, claims_of, overreaches_of

PLAIN: dict[str, Any] = {"containers": [{"name": "main", "image": "main:1"}]}


def found(allowance: Allowance | None = None, **spec: Any) -> list[str]:
    pod = {"metadata": {"namespace": "team"}, "spec": {**PLAIN, **spec}}
    return [str(each) for each in overreaches_of(pod, allowance=allowance or Allowance())]


def container(**fields: Any) -> list[dict[str, Any]]:
    return [{"name": "main", "image": "main:1", **fields}]


REACHES: list[tuple[Reach, dict[str, Any], str]] = [
    (Reach.HOST_NETWORK, {"hostNetwork": True}, "hostNetwork is true"),
    (Reach.HOST_PID, {"hostPID": True}, "hostPID is true"),
    (Reach.HOST_IPC, {"hostIPC": True}, "hostIPC is true"),
    (Reach.NODE_NAME, {"nodeName": "node-a"}, "nodeName is node-a"),
    (Reach.HOST_PATH, {"volumes": [{"name": "d", "hostPath": {"path": "/etc"}}]}, "volumes d is the hostPath /etc"),
    (Reach.HOST_PATH, {"volumes": [{"name": "d", "hostPath": {}}]}, "volumes d is the hostPath None"),
    (Reach.PRIVILEGED, {"containers": container(securityContext={"privileged": True})}, "containers main is priv"),
    (Reach.PRIVILEGED, {"initContainers": container(securityContext={"privileged": True})}, "initContainers main is"),
    (Reach.PRIVILEGED, {"securityContext": {"windowsOptions": {"hostProcess": True}}}, "has hostProcess"),
    (
        Reach.PRIVILEGED,
        {"containers": container(securityContext={"windowsOptions": {"hostProcess": True}})},
        "containers main has hostProcess",
    ),
    (Reach.HOST_PORTS, {"containers": container(ports=[{"hostPort": 80}])}, "containers main has the hostPort 80"),
]


@pytest.mark.parametrize(("reach", "spec", "said"), REACHES)
def test_each_reach_is_refused_unless_it_is_allowed(reach: Reach, spec: dict[str, Any], said: str) -> None:
    (refused,) = found(**spec)
    assert said in refused
    assert f"have {reach} allowed" in refused
    assert found(Allowance(reaches=frozenset({reach})), **spec) == []
    assert found(Allowance(reaches=frozenset(set(Reach) - {reach})), **spec) == [refused], "no other leave will do"


def test_a_node_that_the_scheduler_has_chosen_is_no_reach() -> None:
    def claimed(**condition: str) -> tuple[Grasp, ...]:
        status = {"conditions": [{"type": "PodScheduled", **condition}]}
        return claims_of({"metadata": {}, "spec": {**PLAIN, "nodeName": "n"}, "status": status}).grasps

    assert claimed(status="True") == ()
    assert claimed(status="False") == (Grasp(Reach.NODE_NAME, "nodeName", "is n"),)


def test_pods_that_ask_for_the_same_share_what_is_kept_of_it() -> None:
    made = [{"metadata": {"name": name}, "spec": {**PLAIN, "hostPID": True}} for name in "ab"]
    first, second = map(claims_of, made)
    assert first is second


def test_every_reach_is_looked_for() -> None:
    assert {reach for reach, _, _ in REACHES} == set(Reach)


def test_a_plain_pod_reaches_nowhere() -> None:
    volumes = [{"name": "a", "emptyDir": {}}, {"name": "b", "hostPath": None}]
    ports = [{"containerPort": 80}]
    context = {"privileged": False, "windowsOptions": None}
    assert found(hostNetwork=False, nodeName="", volumes=volumes) == []
    assert found(containers=container(ports=ports, securityContext=context), initContainers=None) == []


def test_ports_on_the_hosts_network_are_the_network_s() -> None:
    spec = {"hostNetwork": True, "containers": container(ports=[{"containerPort": 80, "hostPort": 80}])}
    assert found(Allowance(reaches=frozenset({Reach.HOST_NETWORK})), **spec) == []


@pytest.mark.parametrize("field", ["serviceAccountName", "serviceAccount"])
def test_a_service_account_must_be_allowed_for_the_namespace(field: str) -> None:
    (refused,) = found(**{field: "trainer"})
    assert refused.startswith("serviceAccountName is trainer: name a service account that sweeps may use, or")
    assert "team/trainer allowed" in refused
    for patterns in (("*/*",), ("team/trainer",), ("*/default", "te*/train*")):
        assert found(Allowance(service_accounts=patterns), **{field: "trainer"}) == []
    for patterns in (("other/trainer",), ("team/train",), ("*/default",), ("team/*-trainer",)):
        assert found(Allowance(service_accounts=patterns), **{field: "trainer"}) == [refused]


def test_no_service_account_is_the_default_one() -> None:
    assert found(serviceAccountName="") == []
    (refused,) = found(Allowance(service_accounts=("team/sweeps",)))
    assert "serviceAccountName is default" in refused


def test_a_priority_class_must_be_allowed() -> None:
    (refused,) = found(priorityClassName="system-node-critical")
    assert "priority class system-node-critical allowed" in refused
    assert found(Allowance(priority_classes=("batch-*",)), priorityClassName="batch-low") == []
    assert found(Allowance(priority_classes=("batch-*",)), priorityClassName="system-node-critical") == [refused]


@pytest.mark.parametrize("junk", [None, "x", 7, ["x", 7, None], {"a": 1}])
def test_what_is_no_pod_is_left_for_the_api_server(junk: Any) -> None:
    assert overreaches_of({"metadata": {"namespace": "team"}, "spec": junk}, allowance=Allowance()) == ()
    assert found(volumes=junk, containers=junk, securityContext=junk) == []
    assert found(containers=container(securityContext=junk, ports=junk)) == []


def test_all_is_said_at_once() -> None:
    assert len(found(hostPID=True, nodeName="n", priorityClassName="p", serviceAccountName="s")) == 4

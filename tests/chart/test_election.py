"""What the chart makes of more than one operator, and that it makes nothing of it where there is one."""

from __future__ import annotations

from typing import Any

import pytest

from chart.helm import NAME, NAMESPACE, Helm
from chart.namespaced import IN_NAMESPACES
from sweep_operator.pods import names
from sweep_operator.runtime.election import Candidacy
from sweep_operator.runtime.settings import LEASE, POD_IP, POD_NAME, settings_from

pytestmark = pytest.mark.integration

THREE: dict[str, Any] = {"operator": {"replicas": 3}}
ELECTION = f"{NAME}-election"
OPERATORS = {
    "matchLabels": {
        "app.kubernetes.io/name": "resumable-sweep",
        "app.kubernetes.io/instance": "demo",
        "app.kubernetes.io/component": "operator",
    }
}


def environment(deployment: dict[str, Any]) -> dict[str, Any]:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def test_one_operator_elects_nobody(helm: Helm) -> None:
    objects = helm.objects({})
    assert not [each for each in objects if each["kind"] == "PodDisruptionBudget" or "election" in str(each)]
    deployment = helm.object({}, "Deployment")
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (1, {"type": "Recreate"})
    assert environment(deployment)[LEASE] == ""
    assert "podAntiAffinity" not in deployment["spec"]["template"]["spec"]["affinity"]


def test_several_operators_stand_for_one_lease(helm: Helm) -> None:
    deployment = helm.object(THREE, "Deployment")
    assert deployment["spec"]["replicas"] == 3
    assert deployment["spec"]["strategy"]["type"] == "RollingUpdate"
    told = environment(deployment)
    assert told[POD_NAME] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert told[POD_IP] == {"fieldRef": {"fieldPath": "status.podIP"}}
    settings = settings_from({**told, POD_NAME: "operator-0", POD_IP: "fd00::7"})
    assert settings.candidacy == Candidacy(
        namespace=NAMESPACE, lease=NAME, name="operator-0", address="http://[fd00::7]:8080"
    )


@pytest.mark.parametrize(
    "values",
    [THREE, {**IN_NAMESPACES, "operator": {**IN_NAMESPACES["operator"], **THREE["operator"]}}],
    ids=["in the whole cluster", "in its namespaces alone"],
)
def test_they_may_write_that_lease_and_no_other(helm: Helm, values: dict[str, Any]) -> None:
    role, binding = helm.object(values, "Role", ELECTION), helm.object(values, "RoleBinding", ELECTION)
    assert role["metadata"]["namespace"] == binding["metadata"]["namespace"] == NAMESPACE
    leases = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    assert role["rules"] == [
        {**leases, "verbs": ["create"]},
        {**leases, "resourceNames": [NAME], "verbs": ["get", "update"]},
    ]
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ELECTION}
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}]


def test_they_keep_apart_and_are_drained_one_by_one(helm: Helm) -> None:
    affinity = helm.object(THREE, "Deployment")["spec"]["template"]["spec"]["affinity"]
    (term,) = affinity["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert term["podAffinityTerm"] == {"topologyKey": "kubernetes.io/hostname", "labelSelector": OPERATORS}
    assert "nodeAffinity" in affinity
    budget = helm.object(THREE, "PodDisruptionBudget")
    assert (budget["spec"]["maxUnavailable"], budget["spec"]["selector"]) == (1, OPERATORS)


def test_what_the_values_say_of_keeping_apart_counts(helm: Helm) -> None:
    own = {"requiredDuringSchedulingIgnoredDuringExecution": []}
    values = {"operator": {"replicas": 2, "affinity": {"podAntiAffinity": own}}}
    assert helm.object(values, "Deployment")["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"] == own


def test_a_network_that_is_closed_lets_them_bring_each_other_reports(helm: Helm) -> None:
    closed = {"networkPolicy": {"enabled": True}}
    (rule,) = helm.object({**THREE, **closed}, "NetworkPolicy")["spec"]["ingress"]
    assert {"podSelector": OPERATORS} in rule["from"]
    (rule,) = helm.object(closed, "NetworkPolicy")["spec"]["ingress"]
    assert [peer["podSelector"] for peer in rule["from"]] == [{"matchLabels": {names.ROLE: "attempt"}}]

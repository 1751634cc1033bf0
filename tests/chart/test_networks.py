"""Whom the chart's NetworkPolicies let through.

Nothing here enforces them; that the policies mean the pods that there are is looked at with the real pods, in
test_rights_suffice.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from chart.helm import NAME, NAMESPACE, Helm
from chart.namespaced import IN_NAMESPACES
from sweep_operator.pods import names

pytestmark = pytest.mark.integration

PROMETHEUS = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}


def ingress(helm: Helm, values: dict[str, Any]) -> list[dict[str, Any]]:
    policy = helm.object({**values, "networkPolicy": {"enabled": True, **values.get("networkPolicy", {})}}, *POLICY)
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    found: list[dict[str, Any]] = policy["spec"]["ingress"]
    return found


POLICY = ("NetworkPolicy", NAME)
HTTP = [{"port": "http", "protocol": "TCP"}]
REPORTS = {"matchLabels": {names.ROLE: "attempt"}}


def test_pods_of_sweeps_report_and_nobody_else_connects(helm: Helm) -> None:
    assert ingress(helm, {}) == [{"from": [{"namespaceSelector": {}, "podSelector": REPORTS}], "ports": HTTP}]


def test_pods_report_from_the_watched_namespaces_alone(helm: Helm) -> None:
    (rule,) = ingress(helm, {"operator": {"watchNamespaces": ["team-a", "team-b"]}})
    (peer,) = rule["from"]
    watched = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["team-a", "team-b"]}
    assert peer == {"namespaceSelector": {"matchExpressions": [watched]}, "podSelector": REPORTS}


def test_whoever_scrapes_is_named(helm: Helm) -> None:
    (rule,) = ingress(helm, {"networkPolicy": {"from": [PROMETHEUS]}})
    assert rule["from"] == [{"namespaceSelector": {}, "podSelector": REPORTS}, PROMETHEUS]
    assert rule["ports"] == HTTP


def test_nobody_reports_to_an_operator_that_takes_no_reports(helm: Helm) -> None:
    assert ingress(helm, IN_NAMESPACES) == []
    (rule,) = ingress(helm, {**IN_NAMESPACES, "networkPolicy": {"from": [PROMETHEUS]}})
    assert rule["from"] == [PROMETHEUS]


def egress(helm: Helm, values: dict[str, Any], namespace: str = "team-a") -> list[dict[str, Any]]:
    objects = helm.objects(values)
    policies = [each for each in objects if each["kind"] == "NetworkPolicy"]
    assert {each["metadata"]["name"] for each in policies} == {f"{NAME}-sweeps"}
    (policy,) = (each["spec"] for each in policies if each["metadata"]["namespace"] == namespace)
    assert policy["podSelector"] == {"matchExpressions": [{"key": names.SWEEP, "operator": "Exists"}]}
    assert policy["policyTypes"] == ["Egress"]
    rules: list[dict[str, Any]] = policy["egress"]
    return rules


def ports(rules: list[dict[str, Any]]) -> list[tuple[str, int | None]]:
    return [(port["protocol"], port.get("port")) for rule in rules for port in rule["ports"]]


def test_sidecars_reach_what_they_need(helm: Helm) -> None:
    further = {"to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}], "ports": [{"port": 9000, "protocol": "TCP"}]}
    values = {"networkPolicy": {"egress": {"namespaces": ["team-a", "team-b"], "to": [further]}}}
    rules = egress(helm, values)
    assert rules == egress(helm, values, "team-b")
    assert ports(rules) == [("UDP", 53), ("TCP", 53), ("TCP", 8080), ("TCP", None), ("TCP", 443), ("TCP", 9000)]
    _, reports, node, _, own = rules
    assert own == further
    # SWEEP_METADATA_URL's address is in it.
    assert node["to"] == [{"ipBlock": {"cidr": "169.254.0.0/16"}}]
    (operator,) = reports["to"]
    pod = helm.object(values, "Deployment")["spec"]["template"]
    assert operator["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": NAMESPACE}
    assert operator["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    # A Service's port is another one: the policy sees the connection behind it.
    assert reports["ports"][0]["port"] == pod["spec"]["containers"][0]["ports"][0]["containerPort"]


def test_the_port_of_the_service_is_not_that_of_the_pod(helm: Helm) -> None:
    values = {"service": {"port": 9999}, "networkPolicy": {"egress": {"namespaces": ["team-a"]}}}
    assert ("TCP", 8080) in ports(egress(helm, values))
    assert ("TCP", 9999) not in ports(egress(helm, values))


def test_sidecars_do_not_call_an_operator_that_takes_no_reports(helm: Helm) -> None:
    rules = egress(helm, {**IN_NAMESPACES, "networkPolicy": {"egress": {"namespaces": ["team-a"]}}})
    assert ports(rules) == [("UDP", 53), ("TCP", 53), ("TCP", None), ("TCP", 443)]

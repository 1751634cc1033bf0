"""The operator itself, with the rights and the settings that the chart gives it, on a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chart.helm import CHART, NAMESPACE, Helm
from chart.running import Operator, running_operator
from resumable_sweep.contract.report import REPORT_PATH
from rig.api import Api, wait_until
from rig.control_plane import ControlPlane
from sweep_operator.api import API_VERSION, KIND, PLURAL

pytestmark = pytest.mark.integration

TEAM = "/api/v1/namespaces/team-a"
SWEEPS = f"/apis/{API_VERSION}/namespaces/team-a/{PLURAL}"


@pytest.fixture(params=[(), ("team-a", "team-b")], ids=["all namespaces", "two namespaces"])
def operator(
    request: pytest.FixtureRequest, helm: Helm, control_plane: ControlPlane, api: Api, tmp_path: Path
) -> Iterator[Operator]:
    """The operator with the rights and the settings that the chart gives it."""
    values = {"operator": {"watchNamespaces": list(request.param), "logLevel": "debug"}}
    release = ["--namespace", NAMESPACE, "--kubeconfig", str(control_plane.kubeconfig)]
    installed = helm.run("upgrade", "--install", "demo", str(CHART), *release, values=values)
    assert installed.returncode == 0, installed.stderr
    try:
        with running_operator(control_plane, api, folder=tmp_path) as running:
            yield running
    finally:
        done = helm.run("uninstall", "demo", *release)
        assert done.returncode == 0, done.stderr


def pods_of(api: Api, uid: str) -> list[str]:
    selector = f"?labelSelector=resumable.dev%2Fsweep-uid%3D{uid}"
    return [each["metadata"]["name"] for each in api.get(f"{TEAM}/pods{selector}")["items"]]


def selected_pods(helm: Helm, api: Api, *sweeps: str) -> tuple[set[str], set[str]]:
    """Names of the pods of sweeps that may report, and of those that the policy of their namespace lets out."""
    objects = helm.objects({"networkPolicy": {"enabled": True, "egress": {"namespaces": ["team-a"]}}})
    policies = {each["spec"]["policyTypes"][0]: each["spec"] for each in objects if each["kind"] == "NetworkPolicy"}
    (label,) = policies["Ingress"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"].items()
    (expression,) = policies["Egress"]["podSelector"]["matchExpressions"]
    assert expression["operator"] == "Exists"
    # An earlier test's pods may not be collected yet.
    among = f"%2Cresumable.dev%2Fsweep-uid%20in%20({'%2C'.join(sweeps)})"
    selectors = ("%3D".join(label) + among, expression["key"] + among)
    reporting, let_out = (
        {pod["metadata"]["name"] for pod in api.get(f"{TEAM}/pods?labelSelector={selector}")["items"]}
        for selector in selectors
    )
    return reporting, let_out


def test_rights_suffice(operator: Operator, helm: Helm, api: Api) -> None:
    spec: dict[str, Any] = {
        "shards": 2,
        "checkpoint": {"url": "gs://bucket", "file": "results.jsonl"},
        "template": {"spec": {"containers": [{"name": "experiment", "image": "digits:1"}]}},
    }
    head = {"apiVersion": API_VERSION, "kind": KIND}
    listed_spec = {**spec, "items": {"list": [1, 2, 3]}}
    plain = api.create(SWEEPS, {**head, "metadata": {"name": "plain"}, "spec": spec})["metadata"]["uid"]
    listed = api.create(SWEEPS, {**head, "metadata": {"name": "listed"}, "spec": listed_spec})["metadata"]["uid"]
    try:
        # It creates pods, and ConfigMaps for items that stand in the sweep.
        wait_until(
            lambda: len(pods_of(api, plain)) == 2,
            what="a pod for each shard",
            seconds=30,
            clue=operator.log.read_text,
        )
        wait_until(
            lambda: bool(pods_of(api, listed)),
            what="the pod that resolves the items",
            seconds=30,
            clue=operator.log.read_text,
        )
        owners = [
            owner["uid"]
            for each in api.get(f"{TEAM}/configmaps")["items"]
            for owner in each["metadata"].get("ownerReferences", [])
        ]
        assert listed in owners
        assert plain not in owners
        # The pods are those that the NetworkPolicies mean: attempts report, and all of them reach the store.
        reporting, all_of_them = selected_pods(helm, api, plain, listed)
        assert reporting == set(pods_of(api, plain))
        assert all_of_them == {*pods_of(api, plain), *pods_of(api, listed)}
        # It writes the status and posts events.
        assert api.get(f"{SWEEPS}/plain")["status"]["attempts"] == 2
        wait_until(
            lambda: any(each["involvedObject"].get("uid") == plain for each in api.get(f"{TEAM}/events")["items"]),
            what="an event",
            seconds=30,
        )
        # It deletes pods.
        api.patch(f"{SWEEPS}/plain", {"spec": {"suspend": True}})
        wait_until(
            lambda: pods_of(api, plain) == [],
            what="the pods to be deleted",
            seconds=30,
            clue=operator.log.read_text,
        )
        # It reviews tokens: without that right the answer would be 503.
        assert operator.answers(REPORT_PATH, data=b"{}", headers={"Authorization": "Bearer nobody"}) == 403
        said = operator.log.read_text().lower()
        assert "forbidden" not in said
        assert "not allowed" not in said
    finally:
        for name in ("plain", "listed"):
            api.delete(f"{SWEEPS}/{name}")

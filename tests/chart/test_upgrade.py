"""`helm upgrade` from an earlier version, with sweeps under way: nothing is relaunched, and all goes on."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from chart.earlier.record import CHART_FILE, OBJECTS, REPORT, SWEEPS, TEAM
from chart.helm import CHART, NAMESPACE, Helm
from chart.running import Operator, owned_by, running_operator
from resumable_sweep.contract.environment import TOKEN_AUDIENCE
from resumable_sweep.contract.report import REPORT_PATH
from rig.api import Api, wait_until
from rig.control_plane import ControlPlane
from sweep_operator.model.shard_record import ShardTable, records_of
from sweep_operator.model.signals import Signal

pytestmark = pytest.mark.integration

DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/resumablesweeps.resumable.dev"
NAMES = ("under-way", "suspended", "complete")
# k8s.io/kubernetes, pkg/kubeapiserver and apiextensions-apiserver: where the API server keeps what.
_PLACES = {
    "Node": "/registry/minions/{name}",
    "Pod": "/registry/pods/{namespace}/{name}",
    "ConfigMap": "/registry/configmaps/{namespace}/{name}",
    "ResumableSweep": "/registry/resumable.dev/resumablesweeps/{namespace}/{name}",
}


def put_back(control_plane: ControlPlane, document: dict[str, Any]) -> None:
    """Write an object into etcd as it was: the API server would give it another UID, and sweeps are known by theirs."""
    where = _PLACES[document["kind"]].format(**document["metadata"])
    body = {"key": _text(where), "value": _text(json.dumps(document))}
    request = urllib.request.Request(
        f"{control_plane.layout.etcd_url}/v3/kv/put",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        assert answer.status == 200


def _text(plain: str) -> str:
    return base64.b64encode(plain.encode()).decode()


def established(api: Api) -> bool:
    conditions = api.get(DEFINITION).get("status", {}).get("conditions", [])
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def sweep(api: Api, name: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"{SWEEPS}/{name}")
    return found


def pods(api: Api) -> dict[str, str]:
    """UID and phase of each pod of the sweeps; of a pod that is being deleted, that."""
    listed = api.get(f"/api/v1/namespaces/{TEAM}/pods")["items"]
    return {
        each["metadata"]["uid"]: "Terminating" if "deletionTimestamp" in each["metadata"] else each["status"]["phase"]
        for each in listed
    }


@pytest.fixture(scope="module")
def earlier() -> list[dict[str, Any]]:
    return [*yaml.safe_load_all(OBJECTS.read_text())]


@pytest.fixture(scope="module")
def upgraded(
    helm: Helm,
    control_plane: ControlPlane,
    api: Api,
    earlier: list[dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Operator]:
    """The earlier release with its sweeps, upgraded to this one, whose operator runs."""
    api.create("/api/v1/namespaces", {"metadata": {"name": TEAM}})
    release = ["--namespace", NAMESPACE, "--kubeconfig", str(control_plane.kubeconfig)]
    asked = ["--set", "operator.logLevel=debug"]
    installed = helm.run("install", "demo", str(CHART_FILE), *release, *asked)
    assert installed.returncode == 0, installed.stderr
    try:
        wait_until(lambda: established(api), what="the earlier definition to be established", seconds=30)
        shipped = fields_of(helm.object({}, "CustomResourceDefinition"))
        assert fields_of(api.get(DEFINITION)) != shipped, "this is no upgrade"
        for document in earlier:
            put_back(control_plane, document)
        # As docs/tasks/install.md says.
        done = helm.run("upgrade", "demo", str(CHART), *release, "--reset-then-reuse-values")
        assert done.returncode == 0, done.stderr
        with running_operator(control_plane, api, folder=tmp_path_factory.mktemp("upgraded")) as operator:
            yield operator
    finally:
        helm.run("uninstall", "demo", *release)
        for name in NAMES:
            api.delete(f"{SWEEPS}/{name}")
        for document in earlier:
            if document["kind"] == "Node":
                api.delete(f"/api/v1/nodes/{document['metadata']['name']}")
        api.delete(f"/api/v1/namespaces/{TEAM}")


@pytest.fixture(scope="module")
def looked_at(upgraded: Operator) -> Operator:
    """The operator, when it has looked at all sweeps more often than it needs to relaunch something."""
    before = upgraded.looks()
    # A sweep under way is looked at every 2 s, and whenever something changes.
    wait_until(
        lambda: upgraded.looks() >= before + 10, what="looks at the sweeps", seconds=90, clue=upgraded.log.read_text
    )
    return upgraded


def fields_of(definition: dict[str, Any]) -> dict[str, set[str]]:
    served = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    return {part: set(served[part]["properties"]) for part in ("spec", "status")}


def test_the_definition_is_upgraded(helm: Helm, upgraded: Operator, api: Api) -> None:
    assert fields_of(api.get(DEFINITION)) == fields_of(helm.object({}, "CustomResourceDefinition"))
    # What the user had set is still set.
    assert "DEBUG" in upgraded.log.read_text()


def test_nothing_is_relaunched(looked_at: Operator, api: Api, earlier: list[dict[str, Any]]) -> None:
    recorded = {each["metadata"]["uid"]: each["status"]["phase"] for each in earlier if each["kind"] == "Pod"}
    assert pods(api) == recorded
    for document in earlier:
        if document["kind"] == "ResumableSweep":
            status = sweep(api, document["metadata"]["name"])["status"]
            for field in ("phase", "attempts", "reclaims", "running", "lost", "shards", "runId", "items", "merged"):
                assert status.get(field) == document["status"].get(field), field


def test_the_memory_of_the_earlier_operator_is_understood(earlier: list[dict[str, Any]]) -> None:
    (document,) = (each for each in earlier if each["metadata"]["name"] == "under-way")
    status = document["status"]
    records = records_of(ShardTable(status["shardTable"], tuple(status["nodes"])), shards=4)
    assert [each.attempt for each in records] == [5, 2, 3, 6]
    assert [each.signal for each in records] == [
        Signal.POD_VANISHED,
        Signal.NONE,
        Signal.NONE,
        Signal.CONTAINER_FAILED,
    ]
    assert records[3].user_failures == 1


def test_the_sidecars_of_the_earlier_version_are_heard(looked_at: Operator, api: Api) -> None:
    (pod,) = (
        each
        for each in owned_by(api, sweep(api, "under-way"))
        if each["metadata"]["labels"]["resumable.dev/attempt"] == "3"
    )
    bound = {"kind": "Pod", "apiVersion": "v1", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
    spec = {"audiences": [TOKEN_AUDIENCE], "boundObjectRef": bound}
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    account = f"/api/v1/namespaces/{TEAM}/serviceaccounts/default"
    token = api.create(f"{account}/token", request)["status"]["token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert looked_at.answers(REPORT_PATH, data=REPORT.read_bytes(), headers=headers) == 200
    wait_until(
        lambda: sweep(api, "under-way")["status"]["done"] == 2,
        what="the items to be counted",
        seconds=60,
        clue=looked_at.log.read_text,
    )


def test_the_pods_of_the_earlier_version_can_be_followed(looked_at: Operator, api: Api) -> None:
    """The last test of this module: from here on the sweep changes."""
    under_way = sweep(api, "under-way")
    current = {
        each["metadata"]["labels"]["resumable.dev/shard"]: each
        for each in owned_by(api, under_way)
        if each["status"]["phase"] == "Running"
    }
    assert current.keys() == {"0", "2", "3"}
    lost = current["2"]["metadata"]
    api.delete(f"/api/v1/namespaces/{TEAM}/pods/{lost['name']}", {"gracePeriodSeconds": 0})

    def successors() -> list[dict[str, Any]]:
        return [
            each
            for each in owned_by(api, under_way)
            if each["metadata"]["labels"]["resumable.dev/shard"] == "2" and each["metadata"]["uid"] != lost["uid"]
        ]

    wait_until(lambda: bool(successors()), what="a successor", seconds=60, clue=looked_at.log.read_text)
    (successor,) = successors()
    assert successor["metadata"]["labels"]["resumable.dev/attempt"] == "7"
    status = sweep(api, "under-way")["status"]
    assert (status["attempts"], status["reclaims"]) == (7, 2)
    # The others still run where they did.
    assert pods(api).items() >= {each["metadata"]["uid"]: "Running" for each in (current["0"], current["3"])}.items()

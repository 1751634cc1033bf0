"""An installation without rights in the whole cluster, on a real API server: made, run and used under such rights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from chart.helm import CHART, NAMESPACE, Helm
from chart.namespaced import IN_NAMESPACES
from chart.running import Operator, owned_by, running_operator
from resumable_sweep.contract.outcome import Outcome
from resumable_sweep.contract.report import REPORT_PATH, Report, Stage
from rig.api import Api, ApiError, wait_until
from rig.control_plane import ControlPlane
from sweep_operator.api import API_VERSION, GROUP, KIND, PLURAL
from sweep_operator.api.crd import custom_resource_definition

pytestmark = pytest.mark.integration

TEAM = "/api/v1/namespaces/team-a"
SWEEPS = f"/apis/{API_VERSION}/namespaces/team-a/{PLURAL}"
DEFINITION = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{PLURAL}.{GROUP}"
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
INSTALLER, NODE = "installer", "namespaced-1"
# Whoever makes a role must have what it grants. Beyond the role `admin` that is what docs/tasks/install.md names.
INSTALLERS = [
    {"apiGroups": ["resumable.dev"], "resources": [PLURAL], "verbs": ["get", "list", "watch", "delete"]},
    {"apiGroups": ["resumable.dev"], "resources": [f"{PLURAL}/status"], "verbs": ["update"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
]


def let_install(api: Api, namespace: str) -> None:
    """Give a person the rights of a namespace's administrator, and those that the chart hands on."""
    subject = {"kind": "User", "name": INSTALLER, "apiGroup": "rbac.authorization.k8s.io"}
    group = "rbac.authorization.k8s.io"
    api.create(f"{RBAC.format(namespace=namespace)}/roles", {"metadata": {"name": INSTALLER}, "rules": INSTALLERS})
    for kind, role in (("ClusterRole", "admin"), ("Role", INSTALLER)):
        binding = {"subjects": [subject], "roleRef": {"kind": kind, "name": role, "apiGroup": group}}
        name = {"metadata": {"name": f"{INSTALLER}-{role}"}}
        api.create(f"{RBAC.format(namespace=namespace)}/rolebindings", {**name, **binding})


def forbid_install(api: Api, namespace: str) -> None:
    api.delete(f"{RBAC.format(namespace=namespace)}/roles/{INSTALLER}")
    for role in ("admin", INSTALLER):
        api.delete(f"{RBAC.format(namespace=namespace)}/rolebindings/{INSTALLER}-{role}")


@pytest.fixture(scope="module")
def definition(api: Api) -> Iterator[None]:
    """The definition, as somebody with rights in the whole cluster applies it."""
    collection, _, _ = DEFINITION.rpartition("/")
    # An earlier module's release may have left its own.
    api.delete(DEFINITION)

    def create() -> bool:
        try:
            api.create(collection, custom_resource_definition())
        except ApiError as error:
            if error.status == 409:
                return False
            raise
        return True

    wait_until(create, what="the earlier definition to be gone", seconds=60)

    def serves() -> bool:
        try:
            api.get(SWEEPS)
        except ApiError:
            return False
        return True

    wait_until(serves, what="the API server to serve sweeps", seconds=60)
    yield
    api.delete(DEFINITION)


@pytest.fixture(scope="module")
def operator(
    helm: Helm, control_plane: ControlPlane, api: Api, definition: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    """The operator, installed by a person without rights in the whole cluster, and without such rights itself."""
    namespaces = (NAMESPACE, "team-a", "team-b")
    for namespace in namespaces:
        let_install(api, namespace)
    release = ["--namespace", NAMESPACE, "--kubeconfig", str(control_plane.kubeconfig), "--kube-as-user", INSTALLER]
    values = {**IN_NAMESPACES, "operator": {**IN_NAMESPACES["operator"], "replicas": 2}}
    installed = helm.run("install", "demo", str(CHART), *release, values=values)
    assert installed.returncode == 0, installed.stderr
    assert "it sees no nodes and takes no reports" in installed.stdout
    try:
        with running_operator(control_plane, api, folder=tmp_path_factory.mktemp("namespaced")) as running:
            yield running
    finally:
        done = helm.run("uninstall", "demo", *release)
        assert done.returncode == 0, done.stderr
        for namespace in namespaces:
            forbid_install(api, namespace)


@pytest.fixture(scope="module")
def sweep(operator: Operator, api: Api) -> Iterator[dict[str, Any]]:
    """A sweep of one shard, whose pod runs on a node."""
    api.create("/api/v1/nodes", {"metadata": {"name": NODE}})
    spec = {
        "shards": 1,
        "checkpoint": {"url": "gs://bucket", "file": "results.jsonl"},
        "template": {"spec": {"containers": [{"name": "experiment", "image": "digits:1"}]}},
    }
    created: dict[str, Any] = api.create(
        SWEEPS, {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "plain"}, "spec": spec}
    )
    yield created
    api.delete(f"{SWEEPS}/plain")
    api.delete(f"/api/v1/nodes/{NODE}")


def condition(api: Api, kind: str) -> dict[str, Any]:
    conditions = api.get(f"{SWEEPS}/plain").get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == kind), {})


def attempt(api: Api, sweep: dict[str, Any], number: int) -> dict[str, Any]:
    """Wait for the pod of an attempt."""
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        found[:] = [
            each
            for each in owned_by(api, sweep)
            if each["metadata"]["labels"].get("resumable.dev/attempt") == str(number)
        ]
        return bool(found)

    wait_until(is_there, what=f"the pod of attempt {number}", seconds=60)
    return found[0]


def bind(api: Api, pod: dict[str, Any]) -> None:
    target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod["metadata"]["name"]}, "target": target}
    api.create(f"{TEAM}/pods/{pod['metadata']['name']}/binding", binding)


def set_status(api: Api, pod: dict[str, Any], **status: Any) -> None:
    api.patch(f"{TEAM}/pods/{pod['metadata']['name']}/status", {"status": status})


def container(name: str, state: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "image": "", "imageID": "", "ready": False, "restartCount": 0, "state": state}


def test_what_it_cannot_see_is_said(operator: Operator, sweep: dict[str, Any], api: Api) -> None:
    for kind, reason in (("NodeAccess", "NodesForbidden"), ("ReportAccess", "ReportsNotTaken")):
        wait_until(lambda kind=kind: bool(condition(api, kind)), what=kind, seconds=60, clue=operator.log.read_text)
        said = condition(api, kind)
        assert (said["status"], said["reason"]) == ("False", reason)
    assert condition(api, "Healthy")["status"] == "True"
    log = operator.log.read_text()
    assert log.count("not allowed to read /api/v1/nodes, going on without") == 1
    assert log.count("not allowed to review tokens, so no reports are taken") == 1
    assert log.count("RSWEEP_REPORT_URL is empty: pods are told nobody to report to") == 1
    # Nothing else is denied to it.
    assert {line for line in log.splitlines() if "forbidden" in line.lower()} == {
        line for line in log.splitlines() if "not allowed to re" in line
    }


def test_pods_are_told_nobody_to_report_to(operator: Operator, sweep: dict[str, Any], api: Api) -> None:
    pod = attempt(api, sweep, 1)
    (mirror,) = (each for each in pod["spec"]["initContainers"] if each["name"] == "sweep-mirror")
    assert not {each["name"]: each.get("value", "") for each in mirror["env"]}.get("SWEEP_REPORT_URL")
    # Whoever reports all the same is asked to come back when the right may be there.
    assert operator.answers(REPORT_PATH, data=b"{}", headers={"Authorization": "Bearer nobody"}) == 503


def test_a_sweep_runs_to_its_end_on_what_pods_say(operator: Operator, sweep: dict[str, Any], api: Api) -> None:
    first = attempt(api, sweep, 1)
    bind(api, first)
    running = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    set_status(
        api,
        first,
        phase="Running",
        initContainerStatuses=[container("sweep-mirror", running)],
        containerStatuses=[container("experiment", running)],
    )
    wait_until(lambda: api.get(f"{SWEEPS}/plain")["status"].get("running") == 1, what="the attempt to run", seconds=60)
    # The cloud takes the machine; the kubelet's condition on the pod is all that is seen of it.
    taken = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": "node shutdown"}
    killed = {"terminated": {"exitCode": 137, "reason": "Error"}}
    set_status(api, first, phase="Failed", conditions=[taken], containerStatuses=[container("experiment", killed)])
    second = attempt(api, sweep, 2)
    assert api.get(f"{SWEEPS}/plain")["status"]["reclaims"] == 1
    bind(api, second)
    # Its sidecar's last word is all that is heard of its items.
    report = Report(run_id="r", sequence=1, shard=0, attempt=2, stage=Stage.COMPLETE, items_done=7, items_total=7)
    last = Outcome("Complete", "", json.loads(report.to_json())).to_json()
    done = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    set_status(
        api,
        second,
        phase="Succeeded",
        initContainerStatuses=[
            container("sweep-mirror", {"terminated": {"exitCode": 0, "reason": "Completed", "message": last}})
        ],
        containerStatuses=[container("experiment", done)],
    )
    wait_until(
        lambda: api.get(f"{SWEEPS}/plain")["status"].get("phase") == "Merging",
        what="the shard to be complete",
        seconds=60,
        clue=operator.log.read_text,
    )
    assert api.get(f"{SWEEPS}/plain")["status"]["done"] == 7


def test_the_installer_could_not_make_more(helm: Helm, operator: Operator, control_plane: ControlPlane) -> None:
    words = ["--namespace", NAMESPACE, "--kubeconfig", str(control_plane.kubeconfig), "--kube-as-user", INSTALLER]
    refused = helm.run("install", "wide", str(CHART), *words, "--dry-run=server")
    assert refused.returncode != 0
    assert "is forbidden" in refused.stderr

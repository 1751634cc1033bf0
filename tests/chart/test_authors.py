"""What the author of a sweep may do, asked of a real API server with real tokens."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chart.helm import CHART, NAME, NAMESPACE, Helm
from rig.api import Api, ApiError, wait_until
from rig.control_plane import ControlPlane
from sweep_operator.api import API_VERSION, KIND, PLURAL

pytestmark = pytest.mark.integration

TEAM = "team-a"
SWEEPS = f"/apis/{API_VERSION}/namespaces/{TEAM}/{PLURAL}"
RBAC = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{TEAM}"
_numbers = itertools.count()

WRITE_SWEEPS = {"apiGroups": ["resumable.dev"], "resources": [PLURAL], "verbs": ["get", "create", "update", "patch"]}
CREATE_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}


def may_use(account: str) -> dict[str, Any]:
    return {"apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": [account], "verbs": ["use"]}


def sweep(name: str, *, keep: str = "", **pod: Any) -> dict[str, Any]:
    checkpoint: dict[str, Any] = {"url": "gs://bucket", "file": "results.jsonl"}
    if keep:
        checkpoint["keep"] = {"generations": 1, "serviceAccountName": keep}
    template = {"spec": {"containers": [{"name": "experiment", "image": "digits:1"}], **pod}}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name},
        "spec": {"shards": 1, "suspend": True, "checkpoint": checkpoint, "template": template},
    }


@pytest.fixture(scope="module")
def installed(helm: Helm, control_plane: ControlPlane, api: Api) -> Iterator[Api]:
    """The chart, with its policy at work; the administrator's client."""
    release = ["--namespace", NAMESPACE, "--kubeconfig", str(control_plane.kubeconfig)]
    done = helm.run("upgrade", "--install", "demo", str(CHART), *release)
    assert done.returncode == 0, done.stderr
    nobody = author_of(api, WRITE_SWEEPS)

    # The API server takes definition, roles and policy in one after the other, some time after they were written.
    def is_asked_for() -> bool:
        try:
            nobody.create(f"{SWEEPS}?dryRun=All", sweep("probe"))
        except ApiError as error:
            return "may not create pods" in str(error)
        return False

    wait_until(is_asked_for, what="the policy to be at work", seconds=60)
    yield api
    for each in api.get(SWEEPS)["items"]:
        api.delete(f"{SWEEPS}/{each['metadata']['name']}")
    done = helm.run("uninstall", "demo", *release)
    assert done.returncode == 0, done.stderr


def author_of(api: Api, *rules: dict[str, Any], role: str = "") -> Api:
    """Return the client of somebody new in the namespace, with these rights or with that built-in role."""
    name = f"author-{next(_numbers)}"
    accounts = f"/api/v1/namespaces/{TEAM}/serviceaccounts"
    api.create(accounts, {"metadata": {"name": name}})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    if rules:
        api.create(f"{RBAC}/roles", {"metadata": {"name": name}, "rules": list(rules)})
        reference |= {"kind": "Role", "name": name}
    subject = {"kind": "ServiceAccount", "name": name, "namespace": TEAM}
    api.create(f"{RBAC}/rolebindings", {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]})
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = api.create(f"{accounts}/{name}/token", request)["status"]["token"]
    return as_bearer(api, token)


def as_bearer(api: Api, token: str) -> Api:
    client = Api.__new__(Api)
    client.__dict__.update(api.__dict__, _token=token)
    return client


def refusal(ask: Callable[[], Any]) -> str:
    """Return why the API server refuses, empty where it does not; rights that were just granted may take a moment."""
    try:
        ask()
    except ApiError as error:
        if error.status != 403:
            raise
        return str(error)
    return ""


def settled(ask: Callable[[], Any], *, until: str) -> None:
    """Wait until the API server refuses with those words, or, where they are empty, no longer refuses."""
    heard: list[str] = []

    def is_so() -> bool:
        heard[:] = [refusal(ask)]
        return until in heard[0] if until else not heard[0]

    wait_until(is_so, what=f"the answer {until or 'yes'!r}", seconds=20, clue=lambda: heard[0])


def test_an_install_says_where_nobody_is_asked(helm: Helm, control_plane: ControlPlane, installed: Api) -> None:
    release = ["--namespace", NAMESPACE, "--kubeconfig", str(control_plane.kubeconfig), "--dry-run"]

    def said(**tenancy: Any) -> str:
        return helm.run("upgrade", "demo", str(CHART), *release, values={"tenancy": tenancy}).stdout

    assert "`default` alone, until others are named" in said(authorPolicy=False)
    assert "kubectl get rsweep --watch\n\nWhat can be" in said(authorPolicy=True)
    assert "Nobody asks" not in said(authorPolicy=False, serviceAccounts=["a/b"])


def test_whoever_may_edit_the_namespace_notices_nothing(installed: Api) -> None:
    editor = author_of(installed, role="edit")
    settled(lambda: editor.create(f"{SWEEPS}?dryRun=All", sweep("by-editor", serviceAccountName="trainer")), until="")
    settled(lambda: editor.create(f"{SWEEPS}?dryRun=All", sweep("by-editor", keep="janitor")), until="")


def test_whoever_may_not_create_pods_writes_no_sweep(installed: Api) -> None:
    author = author_of(installed, WRITE_SWEEPS, may_use("trainer"))
    settled(
        lambda: author.create(f"{SWEEPS}?dryRun=All", sweep("podless", serviceAccountName="trainer")),
        until=f"may not create pods in the namespace {TEAM}, and so no sweep",
    )


@pytest.mark.parametrize(
    "named", [{"serviceAccountName": "trainer"}, {"serviceAccount": "trainer"}, {"keep": "trainer"}], ids=str
)
def test_a_service_account_is_for_those_who_may_use_it(installed: Api, named: dict[str, Any]) -> None:
    stranger = author_of(installed, WRITE_SWEEPS, CREATE_PODS, may_use("another"))
    said = f"may neither use nor impersonate the service account trainer of the namespace {TEAM}"
    settled(lambda: stranger.create(f"{SWEEPS}?dryRun=All", sweep("named", **named)), until=said)
    settled(lambda: stranger.create(f"{SWEEPS}?dryRun=All", sweep("unnamed")), until="")
    settled(lambda: stranger.create(f"{SWEEPS}?dryRun=All", sweep("d", serviceAccountName="default")), until="")
    user = author_of(installed, WRITE_SWEEPS, CREATE_PODS, may_use("trainer"))
    settled(lambda: user.create(f"{SWEEPS}?dryRun=All", sweep("named", **named)), until="")


def test_a_change_of_the_spec_is_asked_about_and_of_the_labels_is_not(installed: Api) -> None:
    installed.create(SWEEPS, sweep("changed"))
    author = author_of(installed, WRITE_SWEEPS)
    path = f"{SWEEPS}/changed?dryRun=All"
    settled(lambda: author.patch(path, {"spec": {"suspend": False}}), until="may not create pods")
    settled(lambda: author.patch(path, {"metadata": {"annotations": {"a": "b"}}}), until="")
    user = author_of(installed, WRITE_SWEEPS, CREATE_PODS)
    settled(lambda: user.patch(path, {"spec": {"suspend": False}}), until="")
    pod = {"serviceAccountName": "trainer"}
    settled(lambda: user.patch(path, {"spec": {"template": {"spec": pod}}}), until="service account trainer of")


def test_a_sweep_as_large_as_can_be_is_not_too_much_to_ask_about(installed: Api) -> None:
    editor = author_of(installed, role="edit")
    large = sweep("large")
    large["spec"]["items"] = {"list": [{"lr": number, "note": "x" * 100} for number in range(5000)]}
    settled(lambda: editor.create(SWEEPS, large), until="")
    # The comparison of old and new spec has a budget in the API server; beyond it the change would be refused.
    settled(lambda: editor.patch(f"{SWEEPS}/large", {"spec": {"parallelism": 1}}), until="")
    assert len(json.dumps(installed.get(f"{SWEEPS}/large"))) > 500_000


def test_nobody_but_the_operator_writes_the_status(installed: Api) -> None:
    installed.create(SWEEPS, sweep("stated"))
    for role in ("edit", "admin", "view"):
        person = author_of(installed, role=role)
        settled(lambda person=person: person.get(f"{SWEEPS}/stated"), until="")  # type: ignore[misc]
        assert "cannot patch" in refusal(
            lambda person=person: person.patch(f"{SWEEPS}/stated/status", {"status": {"phase": "Complete"}})  # type: ignore[misc]
        )
    viewer = author_of(installed, role="view")
    settled(lambda: viewer.get(f"{SWEEPS}/stated"), until="")
    assert "cannot create" in refusal(lambda: viewer.create(SWEEPS, sweep("by-viewer")))


@pytest.mark.parametrize(
    ("group", "resource", "verbs"),
    [
        ("", "secrets", ["get", "list", "watch"]),
        ("", "serviceaccounts", ["impersonate", "create", "get"]),
        ("", "serviceaccounts/token", ["create"]),
        ("", "pods/exec", ["create", "get"]),
        ("", "pods", ["update", "patch"]),
        ("", "namespaces", ["update", "patch"]),
        ("", "configmaps", ["list", "update", "patch", "delete"]),
        ("resumable.dev", PLURAL, ["create", "update", "patch"]),
        ("rbac.authorization.k8s.io", "roles", ["create", "escalate", "bind"]),
    ],
)
def test_the_operator_may_not(installed: Api, group: str, resource: str, verbs: list[str]) -> None:
    assert allowed(installed, "", "pods", "create"), "the operator's name is right"
    assert [verb for verb in verbs if allowed(installed, group, resource, verb)] == []


def allowed(api: Api, group: str, resource: str, verb: str) -> bool:
    kind, _, subresource = resource.partition("/")
    attributes = {"group": group, "resource": kind, "subresource": subresource, "verb": verb, "namespace": TEAM}
    user = f"system:serviceaccount:{NAMESPACE}:{NAME}"
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}", "system:authenticated"]
    review = {"spec": {"resourceAttributes": attributes, "user": user, "groups": groups}}
    return bool(api.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]["allowed"])

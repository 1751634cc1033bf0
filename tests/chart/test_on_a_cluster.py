"""The chart on a real API server: what it takes, what the rights amount to, and what an uninstall leaves."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.helm import CHART, NAME, NAMESPACE, Helm
from rig.api import Api, ApiError, wait_until
from rig.binaries import binaries
from rig.control_plane import ControlPlane
from rig.progress import keep_quiet

pytestmark = pytest.mark.integration

DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/resumablesweeps.resumable.dev"
SWEEPS = "/apis/resumable.dev/v1alpha1/namespaces/team-a/resumablesweeps"
SWEEP = {
    "apiVersion": "resumable.dev/v1alpha1",
    "kind": "ResumableSweep",
    "metadata": {"name": "digits"},
    "spec": {
        "shards": 1,
        "checkpoint": {"url": "gs://bucket", "file": "results.jsonl"},
        "template": {"spec": {"containers": [{"name": "experiment", "image": "digits:1"}]}},
    },
}
EXAMPLES = sorted((CHART.parents[1] / "examples" / "values").glob("*.yaml"))
# Their definitions are the Prometheus operator's: no API server here knows them.
FOREIGN = ("ServiceMonitor", "PrometheusRule")


def path_of(document: dict[str, Any]) -> str:
    """Return the collection that an object of the chart belongs to."""
    version, kind = document["apiVersion"], document["kind"].lower()
    plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
    namespace = document["metadata"].get("namespace")
    return (
        f"/{'api' if version == 'v1' else 'apis'}/{version}{f'/namespaces/{namespace}' if namespace else ''}/{plural}"
    )


def try_to_apply(api: Api, document: dict[str, Any]) -> None:
    """Have the server say whether it would take an object, whether or not there is one of that name.

    A field that the server does not know is an error.
    """
    path = f"{path_of(document)}/{document['metadata']['name']}"
    query = "?dryRun=All&fieldValidation=Strict&fieldManager=test&force=true"
    api.request("PATCH", path + query, body=document, content_type="application/apply-patch+yaml")


def test_the_server_takes_every_object(helm: Helm, values: dict[str, Any], api: Api) -> None:
    documents = [each for each in helm.objects(values) if each["kind"] not in FOREIGN]
    for document in documents:
        try_to_apply(api, document)


def test_the_server_would_refuse_a_wrong_object(helm: Helm, api: Api) -> None:
    deployment = helm.object({}, "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["comand"] = ["x"]
    with pytest.raises(ApiError, match="field not declared in schema"):
        try_to_apply(api, deployment)


@pytest.fixture(scope="session")
def schemas(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the JSON Schema of each kind: the API server's own OpenAPI document, closed to unknown fields."""
    folder = tmp_path_factory.mktemp("schemas")
    for path in api.get("/openapi/v3")["paths"]:
        if not path.startswith("api"):
            continue
        components = api.get(f"/openapi/v3/{path}").get("components", {})
        for schema in components.get("schemas", {}).values():
            if "properties" in schema and "x-kubernetes-preserve-unknown-fields" not in schema:
                schema.setdefault("additionalProperties", False)
        for name, schema in components.get("schemas", {}).items():
            for kind in schema.get("x-kubernetes-group-version-kind", []):
                group_and_version = "-".join(filter(None, [kind["group"].partition(".")[0], kind["version"]]))
                document = {"$ref": f"#/components/schemas/{name}", "components": components}
                (folder / f"{kind['kind'].lower()}-{group_and_version}.json").write_text(json.dumps(document))
    return folder


def kubeconform(schemas: Path, manifest: str) -> subprocess.CompletedProcess[str]:
    program = binaries(["kubeconform"], report=keep_quiet)["kubeconform"]
    location = f"{schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    words = [program, "-strict", "-summary", "-skip", ",".join(FOREIGN), "-schema-location", location, "-"]
    return subprocess.run([*map(str, words)], input=manifest, capture_output=True, text=True, check=False)


def test_kubeconform_finds_nothing(helm: Helm, values: dict[str, Any], schemas: Path) -> None:
    done = kubeconform(schemas, helm.manifest(values))
    assert done.returncode == 0, done.stdout
    assert "Invalid: 0, Errors: 0" in done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_values_of_the_examples_are_in_order(helm: Helm, path: Path, schemas: Path, api: Api) -> None:
    values = yaml.safe_load(path.read_text())
    linted = helm.run("lint", "--strict", str(CHART), values=values)
    assert linted.returncode == 0, linted.stdout
    done = kubeconform(schemas, helm.manifest(values))
    assert done.returncode == 0, done.stdout
    for document in helm.objects(values):
        if document["kind"] not in FOREIGN:
            try_to_apply(api, document)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("  replicas: 1", "  replicas: one"), ("      serviceAccountName:", "      serviceAcountName:")],
)
def test_kubeconform_would_find_a_mistake(helm: Helm, schemas: Path, right: str, wrong: str) -> None:
    manifest = helm.manifest({})
    assert right in manifest
    done = kubeconform(schemas, manifest.replace(right, wrong))
    assert done.returncode == 1
    assert "Invalid: 1, Errors: 0" in done.stdout


def test_the_pod_fits_into_a_restricted_namespace(helm: Helm, values: dict[str, Any], api: Api) -> None:
    enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
    if not any(each["metadata"]["name"] == "restricted" for each in api.get("/api/v1/namespaces")["items"]):
        api.create("/api/v1/namespaces", {"metadata": {"name": "restricted", "labels": enforced}})
        wait_until(
            lambda: bool(api.get("/api/v1/namespaces/restricted/serviceaccounts")["items"]),
            what="the default service account",
            seconds=30,
        )
    template = helm.object(values, "Deployment")["spec"]["template"]
    # Neither the service account nor the priority class is there: admission of both is not what is asked here.
    spec = {**template["spec"], "serviceAccountName": "default"} | ({"priorityClassName": ""})
    pods = "/api/v1/namespaces/restricted/pods?dryRun=All&fieldValidation=Strict"
    pod = {"metadata": {"name": "operator", "labels": template["metadata"]["labels"]}, "spec": spec}
    api.create(pods, pod)
    # The same pod with one precaution less is refused, so the admission is at work.
    del spec["containers"][0]["securityContext"]["capabilities"]
    with pytest.raises(ApiError, match="unrestricted capabilities"):
        api.create(pods, pod)


def install(helm: Helm, control_plane: ControlPlane, *, values: dict[str, Any] | None = None) -> str:
    words = ["--namespace", NAMESPACE, "--kubeconfig", str(control_plane.kubeconfig)]
    done = helm.run("upgrade", "--install", "demo", str(CHART), *words, values=values)
    assert done.returncode == 0, done.stderr
    return done.stdout


def uninstall(helm: Helm, control_plane: ControlPlane) -> str:
    words = ["--namespace", NAMESPACE, "--kubeconfig", str(control_plane.kubeconfig), "--wait", "--timeout", "60s"]
    done = helm.run("uninstall", "demo", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def exists(api: Api, path: str) -> bool:
    try:
        api.get(path)
    except ApiError as error:
        # 429: the API server is setting up, or taking down, the storage of a definition that has just changed.
        if error.status in (404, 429):
            return False
        raise
    return True


def left_over(helm: Helm, api: Api, *, values: dict[str, Any] | None = None) -> list[str]:
    """Return which of the chart's objects are there."""
    documents = [each for each in helm.objects(values or {}) if each["kind"] not in FOREIGN]
    return [each["kind"] for each in documents if exists(api, f"{path_of(each)}/{each['metadata']['name']}")]


def serve_sweeps(api: Api) -> None:
    def is_established() -> bool:
        conditions = api.get(DEFINITION).get("status", {}).get("conditions", [])
        return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)

    wait_until(is_established, what="the definition to be established", seconds=30)
    wait_until(lambda: exists(api, SWEEPS), what="the API server to serve sweeps", seconds=30)


def test_install_says_the_next_command(helm: Helm, control_plane: ControlPlane) -> None:
    said = install(helm, control_plane)
    assert f"kubectl -n {NAMESPACE} rollout status deployment/{NAME}" in said
    assert "kubectl get rsweep" in said
    uninstall(helm, control_plane)


def test_uninstall_keeps_definition_and_sweeps(helm: Helm, control_plane: ControlPlane, api: Api) -> None:
    install(helm, control_plane)
    serve_sweeps(api)
    api.create(SWEEPS, SWEEP)
    uid = api.get(f"{SWEEPS}/digits")["metadata"]["uid"]
    said = uninstall(helm, control_plane)
    assert "CustomResourceDefinition" in said  # Helm names what it kept
    assert left_over(helm, api) == ["CustomResourceDefinition"]
    # The next install finds them again.
    install(helm, control_plane)
    assert api.get(f"{SWEEPS}/digits")["metadata"]["uid"] == uid
    api.delete(f"{SWEEPS}/digits")
    uninstall(helm, control_plane)


def own_something(api: Api, sweep: dict[str, Any]) -> list[str]:
    """Create a pod and a ConfigMap that `sweep` owns, as the operator does; return their paths."""
    wait_until(
        lambda: exists(api, "/api/v1/namespaces/team-a/serviceaccounts/default"),
        what="the default service account",
        seconds=30,
    )
    name = sweep["metadata"]["name"]
    owner = {"apiVersion": sweep["apiVersion"], "kind": sweep["kind"], "controller": True}
    owner |= {"name": name, "uid": sweep["metadata"]["uid"]}
    metadata = {"name": f"owned-by-{name}", "ownerReferences": [owner]}
    api.create("/api/v1/namespaces/team-a/pods", {"metadata": metadata, "spec": sweep["spec"]["template"]["spec"]})
    api.create("/api/v1/namespaces/team-a/configmaps", {"metadata": metadata})
    return [f"/api/v1/namespaces/team-a/{kind}/owned-by-{name}" for kind in ("pods", "configmaps")]


def wait_for_the_garbage_collector(api: Api) -> None:
    """Wait until the garbage collector knows of sweeps: it asks for new kinds every 30 s only.

    What is owned by an object of a kind that comes and goes in between stays for ever.
    """
    owned = own_something(api, api.create(SWEEPS, {**SWEEP, "metadata": {"name": "first"}}))
    api.delete(f"{SWEEPS}/first")
    wait_until(lambda: not any(exists(api, path) for path in owned), what="the garbage collector to know", seconds=90)


def test_uninstall_takes_all_when_told_so(helm: Helm, control_plane: ControlPlane, api: Api) -> None:
    values = {
        "crds": {"keep": False},
        "operator": {"watchNamespaces": ["team-a", "team-b"]},
        "networkPolicy": {"enabled": True},
    }
    install(helm, control_plane, values=values)
    serve_sweeps(api)
    wait_for_the_garbage_collector(api)
    owned = own_something(api, api.create(SWEEPS, SWEEP))
    assert len(left_over(helm, api, values=values)) == len(helm.objects(values))
    uninstall(helm, control_plane)
    wait_until(lambda: left_over(helm, api, values=values) == [], what="all objects to be gone", seconds=60)
    wait_until(lambda: not any(exists(api, path) for path in owned), what="what the sweep owned to be gone", seconds=60)
    # Nothing of it keeps a namespace from going.
    wait_until(lambda: not exists(api, SWEEPS), what="sweeps to be unknown", seconds=30)
    api.delete("/api/v1/namespaces/team-b")
    wait_until(lambda: not exists(api, "/api/v1/namespaces/team-b"), what="the namespace to be gone", seconds=60)
    api.create("/api/v1/namespaces", {"metadata": {"name": "team-b"}})


def test_a_release_takes_its_rights_away(helm: Helm, control_plane: ControlPlane, api: Api) -> None:
    install(helm, control_plane)
    serve_sweeps(api)
    operator = f"system:serviceaccount:{NAMESPACE}:{NAME}"
    assert may(api, operator, "create", "pods")
    assert may(api, operator, "list", "nodes", namespace="")
    assert may(api, operator, "update", "resumablesweeps", group="resumable.dev", subresource="status")
    assert may(api, operator, "create", "tokenreviews", group="authentication.k8s.io", namespace="")
    assert may(api, operator, "get", "leases", group="coordination.k8s.io", namespace="kube-node-lease")
    # For ttlSecondsAfterFinished.
    assert may(api, operator, "delete", "resumablesweeps", group="resumable.dev")
    # It cannot read a Secret, change a sweep's spec, or put anything into a pod that runs.
    for verb, resource, group in (
        ("get", "secrets", ""),
        ("list", "secrets", ""),
        ("update", "resumablesweeps", "resumable.dev"),
        ("patch", "resumablesweeps", "resumable.dev"),
        ("patch", "pods", ""),
        ("list", "configmaps", ""),
        ("delete", "nodes", ""),
        ("get", "leases", "coordination.k8s.io"),
    ):
        assert not may(api, operator, verb, resource, group=group), f"{verb} {resource}"
    uninstall(helm, control_plane)
    assert not may(api, operator, "create", "pods")


def may(
    api: Api, user: str, verb: str, resource: str, *, group: str = "", subresource: str = "", namespace: str = "team-a"
) -> bool:
    attributes = {
        "verb": verb,
        "resource": resource,
        "group": group,
        "subresource": subresource,
        "namespace": namespace,
    }
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
    spec = {"user": user, "resourceAttributes": attributes}
    answer = api.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", {**review, "spec": spec})
    return bool(answer["status"]["allowed"])


def test_only_who_may_create_pods_may_create_sweeps(helm: Helm, control_plane: ControlPlane, api: Api) -> None:
    install(helm, control_plane)
    bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/team-a/rolebindings"
    for role in ("view", "edit", "admin"):
        subject = {"kind": "User", "name": role, "apiGroup": "rbac.authorization.k8s.io"}
        reference = {"kind": "ClusterRole", "name": role, "apiGroup": "rbac.authorization.k8s.io"}
        api.create(bindings, {"metadata": {"name": role}, "subjects": [subject], "roleRef": reference})

    def sweeps(user: str, verb: str, **more: str) -> bool:
        return may(api, user, verb, "resumablesweeps", group="resumable.dev", **more)

    # The controller manager puts the chart's roles into Kubernetes' own.
    wait_until(lambda: sweeps("admin", "create") and sweeps("view", "get"), what="the roles to be one", seconds=30)
    for user in ("view", "edit", "admin"):
        assert all(sweeps(user, verb) for verb in ("get", "list", "watch"))
        assert sweeps(user, "create") == sweeps(user, "delete") == may(api, user, "create", "pods") == (user != "view")
        assert not sweeps(user, "update", subresource="status")
    uninstall(helm, control_plane)


def test_examples_are_in_order(helm: Helm, control_plane: ControlPlane, api: Api) -> None:
    install(helm, control_plane)
    serve_sweeps(api)
    examples = [*(CHART.parents[1] / "examples").rglob("*.yaml")]
    documents = (each for path in examples for each in yaml.safe_load_all(path.read_text()))
    sweeps = [each for each in documents if each.get("kind") == SWEEP["kind"]]
    assert sweeps
    for sweep in sweeps:
        api.create(f"{SWEEPS}?dryRun=All&fieldValidation=Strict", sweep)
    uninstall(helm, control_plane)

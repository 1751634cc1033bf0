"""What the chart makes of its values, and which values it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chart.helm import CHART, NAME, Helm
from chart.namespaced import IN_NAMESPACES
from resumable_sweep.contract.report import REPORT_PATH
from sweep_operator.api.crd import custom_resource_definition
from sweep_operator.model.claims import Reach
from sweep_operator.runtime import settings

# The programs are built by the testbed, as those of the other integration tests are.
pytestmark = pytest.mark.integration


def test_lint_finds_nothing(helm: Helm, values: dict[str, Any]) -> None:
    done = helm.run("lint", "--strict", str(CHART), values=values)
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


# What the operator may do: nothing is in the chart that is not here, so that every right is a decision.
NAMESPACED = {
    ("resumable.dev", "resumablesweeps"): {"get", "list", "watch", "delete"},
    ("resumable.dev", "resumablesweeps/status"): {"update"},
    ("", "pods"): {"get", "list", "watch", "create", "delete"},
    ("", "configmaps"): {"get", "create"},
    ("", "events"): {"create"},
}
CLUSTER_WIDE = {
    ("", "nodes"): {"get", "list", "watch"},
    ("authentication.k8s.io", "tokenreviews"): {"create"},
    ("scheduling.k8s.io", "priorityclasses"): {"get"},
}


OF_NODES = {("coordination.k8s.io", "leases"): {"get"}}
LEASES = "kube-node-lease"


def rights(role: dict[str, Any]) -> dict[tuple[str, str], set[str]]:
    assert all(rule.keys() == {"apiGroups", "resources", "verbs"} for rule in role["rules"])
    return {
        (group, resource): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def test_the_operator_has_these_rights_and_no_others(helm: Helm) -> None:
    assert rights(helm.object({}, "ClusterRole", NAME)) == NAMESPACED | CLUSTER_WIDE
    role, binding = helm.object({}, "Role"), helm.object({}, "RoleBinding")
    assert rights(role) == OF_NODES
    assert role["metadata"]["namespace"] == binding["metadata"]["namespace"] == LEASES
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": NAME, "namespace": "sweeps"}]


def test_rights_end_at_the_watched_namespaces(helm: Helm) -> None:
    objects = helm.objects({"operator": {"watchNamespaces": ["team-a", "team-b"]}})
    roles = {each["metadata"]["namespace"]: each for each in objects if each["kind"] == "Role"}
    bindings = {each["metadata"]["namespace"]: each for each in objects if each["kind"] == "RoleBinding"}
    assert roles.keys() == bindings.keys() == {"team-a", "team-b", LEASES}
    for namespace, role in roles.items():
        assert rights(role) == (OF_NODES if namespace == LEASES else NAMESPACED)
        assert bindings[namespace]["roleRef"]["name"] == role["metadata"]["name"]
        assert bindings[namespace]["subjects"] == [{"kind": "ServiceAccount", "name": NAME, "namespace": "sweeps"}]
    cluster_role = next(each for each in objects if each["kind"] == "ClusterRole" and each["metadata"]["name"] == NAME)
    assert rights(cluster_role) == CLUSTER_WIDE


def test_no_right_is_a_wildcard(helm: Helm, values: dict[str, Any]) -> None:
    for role in helm.objects(values):
        if role["kind"] in ("Role", "ClusterRole"):
            for rule in role["rules"]:
                assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]


def test_users_who_view_do_not_edit(helm: Helm) -> None:
    view = helm.object({}, "ClusterRole", f"{NAME}-view")
    assert rights(view) == {("resumable.dev", "resumablesweeps"): {"get", "list", "watch"}}
    edit = helm.object({}, "ClusterRole", f"{NAME}-edit")
    assert rights(edit) == {
        ("resumable.dev", "resumablesweeps"): {"create", "update", "patch", "delete", "deletecollection"}
    }
    assert "rbac.authorization.k8s.io/aggregate-to-view" not in edit["metadata"]["labels"]


def test_nothing_lies_outside_namespaces_when_told_so(helm: Helm) -> None:
    objects = helm.objects(IN_NAMESPACES)
    assert all("namespace" in each["metadata"] for each in objects)
    roles = {each["metadata"]["namespace"]: rights(each) for each in objects if each["kind"] == "Role"}
    assert roles == {"team-a": NAMESPACED, "team-b": NAMESPACED}


@pytest.mark.parametrize(
    ("change", "mend"),
    [
        ({"operator": {"watchNamespaces": []}}, "name the namespaces of the sweeps in operator.watchNamespaces"),
        ({"crds": {"enabled": True}}, "set crds.enabled=false"),
        ({"rbac": {"scope": "namespace", "aggregate": True}}, "set rbac.aggregate=false"),
        ({"tenancy": {"authorPolicy": True}}, "set tenancy.authorPolicy=false"),
    ],
)
def test_what_lies_outside_namespaces_is_refused_when_told_so(helm: Helm, change: dict[str, Any], mend: str) -> None:
    said = helm.refusal({**IN_NAMESPACES, **change})
    assert "rbac.scope is namespace, so that nothing lies outside namespaces" in said
    mends = ("operator.watchNamespaces", "crds.enabled", "rbac.aggregate", "tenancy.authorPolicy")
    assert mend in said
    assert sum(each in said for each in mends) == 1


def test_rights_from_elsewhere(helm: Helm) -> None:
    objects = helm.objects({"rbac": {"create": False, "aggregate": False}, "serviceAccount": {"create": False}})
    kinds = {each["kind"] for each in objects}
    assert not {"ServiceAccount", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"} & kinds
    deployment = next(each for each in objects if each["kind"] == "Deployment")
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == "default"


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({}, "resumable-sweep-{role}:0.1.0"),
        ({"tag": "1.2.3"}, "resumable-sweep-{role}:1.2.3"),
        ({"registry": "r.example:5000", "repository": "a/b"}, "r.example:5000/a/b:0.1.0"),
        ({"tag": "1.2.3", "digest": f"sha256:{'a' * 64}"}, f"resumable-sweep-{{role}}@sha256:{'a' * 64}"),
    ],
)
def test_images(helm: Helm, image: dict[str, str], reference: str) -> None:
    container = operator_container(helm, {"operator": {"image": image}, "sidecar": {"image": image}})
    assert container["image"] == reference.format(role="operator")
    assert environment(container)["RSWEEP_SIDECAR_IMAGE"] == reference.format(role="sidecar")


def operator_container(helm: Helm, values: dict[str, Any]) -> dict[str, Any]:
    (container,) = helm.object(values, "Deployment")["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = container
    return found


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {
        each["name"]: each["valueFrom"]["fieldRef"]["fieldPath"] if "valueFrom" in each else each["value"]
        for each in container["env"]
    }


def test_pods_report_to_the_service(helm: Helm, values: dict[str, Any]) -> None:
    deployment, service = helm.object(values, "Deployment"), helm.object(values, "Service")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (port,) = service["spec"]["ports"]
    url = f"http://{service['metadata']['name']}.{service['metadata']['namespace']}.svc:{port['port']}"
    takes_reports = values.get("rbac", {}).get("scope") != "namespace"
    assert environment(container)["RSWEEP_REPORT_URL"] == (url if takes_reports else "")
    assert not environment(container)["RSWEEP_REPORT_URL"].endswith(REPORT_PATH)
    # The port that the operator is told is the one that Service, probes and NetworkPolicy know by its name.
    (container_port,) = container["ports"]
    assert container_port == {
        "name": port["targetPort"],
        "containerPort": int(environment(container)["RSWEEP_PORT"]),
        "protocol": "TCP",
    }
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": "http"}


def test_one_set_of_labels_finds_the_pod(helm: Helm, values: dict[str, Any]) -> None:
    deployment = helm.object(values, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    service = helm.object(values, "Service")
    assert service["spec"]["selector"].items() <= labels.items()
    if values.get("networkPolicy"):
        policy = helm.object(values, "NetworkPolicy", service["metadata"]["name"])["spec"]
        assert policy["podSelector"]["matchLabels"].items() <= labels.items()
        assert policy["ingress"][0]["ports"] == [{"port": "http", "protocol": "TCP"}]
    if values.get("serviceMonitor"):
        monitor = helm.object(values, "ServiceMonitor")
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert monitor["spec"]["endpoints"] == [{"port": "http", "path": "/metrics", "interval": "30s"}]
        assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_what_is_optional_is_off(helm: Helm) -> None:
    assert not {"NetworkPolicy", "ServiceMonitor", "PrometheusRule"} & {each["kind"] for each in helm.objects({})}


def test_settings_reach_the_operator(helm: Helm) -> None:
    values = {
        "imagePullSecrets": [{"name": "registry"}],
        "operator": {
            "logLevel": "debug",
            "watchNamespaces": ["team-a", "team-b"],
            "extraEnv": [{"name": "TZ", "value": "UTC"}],
            "image": {"pullPolicy": "Never"},
            "resources": {"requests": {"cpu": "1"}},
            "podAnnotations": {"note": "hello"},
            "nodeSelector": {"pool": "system"},
            "tolerations": [{"operator": "Exists"}],
            "affinity": {"nodeAffinity": None},
            "priorityClassName": "high",
        },
        "sidecar": {"image": {"pullPolicy": "Always"}, "resources": {"requests": None, "limits": {"cpu": "2"}}},
        "tenancy": {
            "serviceAccounts": ["team-a/sweeps", "*/default"],
            "allow": ["hostPath", "nodeName"],
            "priorityClasses": ["batch-*"],
        },
    }
    pod = helm.object(values, "Deployment")["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert environment(container) == {
        "RSWEEP_PORT": "8080",
        "RSWEEP_REPORT_URL": f"http://{NAME}.sweeps.svc:8080",
        "RSWEEP_LOG_LEVEL": "debug",
        "RSWEEP_WATCH_NAMESPACES": "team-a,team-b",
        "RSWEEP_LEASE": "",
        "RSWEEP_POD_NAME": "metadata.name",
        "RSWEEP_POD_IP": "status.podIP",
        "RSWEEP_SIDECAR_IMAGE": "resumable-sweep-sidecar:0.1.0",
        "RSWEEP_IMAGE_PULL_POLICY": "Always",
        "RSWEEP_SIDECAR_RESOURCES": '{"limits":{"cpu":"2","memory":"256Mi"}}',
        "RSWEEP_SERVICE_ACCOUNTS": "team-a/sweeps,*/default",
        "RSWEEP_ALLOWED": "hostPath,nodeName",
        "RSWEEP_PRIORITY_CLASSES": "batch-*",
        "TZ": "UTC",
    }
    assert container["imagePullPolicy"] == "Never"
    assert container["resources"]["requests"] == {"cpu": "1", "memory": "128Mi"}
    assert pod["metadata"]["annotations"] == {"note": "hello"}
    assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["spec"]["nodeSelector"] == {"pool": "system"}
    assert pod["spec"]["tolerations"] == [{"operator": "Exists"}]
    assert pod["spec"]["priorityClassName"] == "high"
    assert "affinity" not in pod["spec"]


def test_the_operator_reads_all_that_it_is_told(helm: Helm, values: dict[str, Any]) -> None:
    told = environment(operator_container(helm, values))
    read = {value for name, value in vars(settings).items() if name.isupper() and str(value).startswith("RSWEEP_")}
    assert {name for name in told if name.startswith("RSWEEP_")} == read
    understood = settings.settings_from(told)
    assert understood.pods.sidecar_image == told["RSWEEP_SIDECAR_IMAGE"]
    assert understood.pods.resources["limits"] == {"cpu": "1", "memory": "256Mi"}
    assert understood.namespaces == tuple(values.get("operator", {}).get("watchNamespaces", ()))


def test_the_chart_offers_all_that_the_operator_can_allow(helm: Helm) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["tenancy"]["properties"]
    assert schema["allow"]["items"]["enum"] == list(Reach)
    told = environment(operator_container(helm, {"tenancy": {"allow": list(Reach)}}))
    assert settings.settings_from(told).allowance.reaches == set(Reach)


@pytest.mark.parametrize(
    ("values", "kubernetes", "accounts", "asks"),
    [
        ({}, "1.35.4", "*/*", True),
        ({}, "1.30.0-gke.100", "*/*", True),
        ({}, "1.29.9", "*/default", False),
        ({"tenancy": {"authorPolicy": False}}, "1.35.4", "*/default", False),
        ({"tenancy": {"serviceAccounts": ["a/b"]}}, "1.35.4", "a/b", True),
        ({"tenancy": {"serviceAccounts": ["a/b"]}}, "1.29.9", "a/b", False),
    ],
)
def test_all_service_accounts_are_open_only_to_authors_who_are_asked(
    helm: Helm, values: dict[str, Any], kubernetes: str, accounts: str, asks: bool
) -> None:
    objects = helm.objects(values, kubernetes=kubernetes)
    (deployment,) = [each for each in objects if each["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert environment(container)["RSWEEP_SERVICE_ACCOUNTS"] == accounts
    policies = {each["kind"] for each in objects if each["kind"].startswith("ValidatingAdmissionPolicy")}
    assert policies == ({"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"} if asks else set())


def test_authors_are_asked_only_where_the_operator_works(helm: Helm) -> None:
    binding = helm.object({"operator": {"watchNamespaces": ["team-a"]}}, "ValidatingAdmissionPolicyBinding")
    (expression,) = binding["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
    assert (expression["key"], expression["values"]) == ("kubernetes.io/metadata.name", ["team-a"])
    assert "matchResources" not in helm.object({}, "ValidatingAdmissionPolicyBinding")["spec"]


def test_the_definition_is_that_of_the_models(helm: Helm) -> None:
    definition = helm.object({}, "CustomResourceDefinition")
    assert definition["spec"] == custom_resource_definition()["spec"]
    assert definition["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_the_definition_goes_when_told_so(helm: Helm) -> None:
    definition = helm.object({"crds": {"keep": False}}, "CustomResourceDefinition")
    assert "annotations" not in definition["metadata"]


def test_the_definition_stays_out_when_told_so(helm: Helm) -> None:
    kinds = {each["kind"] for each in helm.objects({"crds": {"enabled": False}})}
    assert "CustomResourceDefinition" not in kinds


def test_a_numeric_release_stays_text(helm: Helm) -> None:
    done = helm.run("template", "123", str(CHART), "--kube-version", "1.35.4", "--show-only", "templates/service.yaml")
    assert 'app.kubernetes.io/instance: "123"' in done.stdout


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"operatr": {}}, ["additional properties 'operatr' not allowed"]),
        ({"operator": {"replica": 2}}, ["at '/operator'", "additional properties 'replica' not allowed"]),
        ({"operator": {"replicas": 0}}, ["at '/operator/replicas'", "minimum"]),
        ({"operator": {"image": {"name": "x"}}}, ["at '/operator/image'", "'name' not allowed"]),
        ({"operator": {"logLevel": "loud"}}, ["at '/operator/logLevel'", "must be one of 'debug', 'info'"]),
        ({"operator": {"watchNamespaces": "team-a"}}, ["at '/operator/watchNamespaces'", "got string, want array"]),
        ({"operator": {"watchNamespaces": ["Team_A"]}}, ["at '/operator/watchNamespaces/0'", "does not match pattern"]),
        ({"operator": {"podAnnotations": {"a": 1}}}, ["at '/operator/podAnnotations/a'", "got number, want string"]),
        ({"operator": {"image": {"digest": "sha256:abc"}}}, ["at '/operator/image/digest'", "does not match pattern"]),
        ({"sidecar": {"image": {"pullPolicy": "Sometimes"}}}, ["at '/sidecar/image/pullPolicy'", "must be one of"]),
        ({"crds": {"keep": "yes"}}, ["at '/crds/keep'", "got string, want boolean"]),
        ({"service": {"port": 70000}}, ["at '/service/port'", "maximum"]),
        ({"imagePullSecrets": ["registry"]}, ["at '/imagePullSecrets/0'", "got string, want object"]),
        ({"networkPolicy": {"from": [{}]}}, ["at '/networkPolicy/from/0'", "minProperties"]),
        ({"networkPolicy": {"egress": {"namespaces": [""]}}}, ["at '/networkPolicy/egress/namespaces/0'", "pattern"]),
        ({"networkPolicy": {"egress": {"to": ["all"]}}}, ["at '/networkPolicy/egress/to/0'", "want object"]),
        ({"rbac": {"scope": "none"}}, ["at '/rbac/scope'", "must be one of 'cluster', 'namespace'"]),
        ({"tenancy": {"allow": ["root"]}}, ["at '/tenancy/allow/0'", "must be one of 'hostPath'"]),
        ({"tenancy": {"serviceAccounts": ["sweeps"]}}, ["at '/tenancy/serviceAccounts/0'", "does not match pattern"]),
        ({"tenancy": {"priorityClasses": ["A"]}}, ["at '/tenancy/priorityClasses/0'", "does not match pattern"]),
    ],
)
def test_refuses(helm: Helm, values: dict[str, Any], words: list[str]) -> None:
    said = helm.refusal(values)
    for word in words:
        assert word in said

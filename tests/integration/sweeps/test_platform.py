"""What a real API server refuses pods for: said in a condition within seconds, and healed with the cause."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rig.api import ApiError
from sweep_operator.runtime.settings import PRIORITY_CLASSES, SERVICE_ACCOUNTS

pytestmark = pytest.mark.integration

BATCH = "sweeps-batch"
OWN = {"items": None, "shards": 2}
"""A sweep whose first pods are those of attempts."""


@pytest.fixture(scope="module", autouse=True)
def leave() -> Iterator[None]:
    """Let sweeps use any ServiceAccount, and one priority class: whether they exist is the API server's to say."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SERVICE_ACCOUNTS, "*/*")
        patch.setenv(PRIORITY_CLASSES, BATCH)
        yield


def template(*, container: dict[str, Any] | None = None, **pod: Any) -> dict[str, Any]:
    return {"spec": {**pod, "containers": [{"name": "main", "image": "main:test", **(container or {})}]}}


def told(stage: Any, reason: str) -> str:
    """Wait until the condition gives this reason, and return its message."""
    message: str = stage.wait(
        lambda: stage.condition("Healthy") if stage.condition("Healthy").get("reason") == reason else None,
        f"the condition to say {reason}",
    )["message"]
    return message


def heals(stage: Any, seconds: float = 30) -> None:
    stage.wait(lambda: stage.condition("Healthy").get("status") == "True", "the condition to heal", seconds=seconds)


def core(stage: Any, plural: str, name: str, kind: str, spec: dict[str, Any]) -> str:
    """Make an object of the namespace, and return its path."""
    collection = f"/api/v1/namespaces/{stage.namespace}/{plural}"
    stage.api.create(collection, {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
    return f"{collection}/{name}"


def wait_for_refusal(stage: Any, **resources: dict[str, str]) -> None:
    """Wait until such a container is refused: admission knows new rules only a moment after they are made."""
    container = {"name": "a", "image": "a", "resources": resources}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": {"containers": [container]}}

    def is_refused() -> bool:
        try:
            stage.api.create(f"{stage.pods_path}?dryRun=All", body)
        except ApiError:
            return True
        return False

    stage.wait(is_refused, "pods to be refused")


def quota(stage: Any, **hard: str) -> None:
    path = core(stage, "resourcequotas", "compute", "ResourceQuota", {"hard": hard})
    stage.wait(lambda: stage.api.get(path).get("status", {}).get("hard"), "the quota to be reckoned with")


def test_a_used_up_quota_is_named_and_used_as_soon_as_a_pod_ends(stage: Any, node: Any) -> None:
    node("quota-n1")
    quota(stage, **{"pods": "1", "requests.example.com/fpga": "0"})
    fpga = {"example.com/fpga": "1"}
    wait_for_refusal(stage, requests=fpga, limits=fpga)
    stage.apply(**OWN)
    message = told(stage, "QuotaExceeded")
    (first,) = stage.live()
    other = 1 - int(first["metadata"]["labels"]["resumable.dev/shard"])
    assert message.startswith(f"no pod for shard {other}: exceeded quota: compute, requested: pods=1, used: pods=1")
    stage.place(first, "quota-n1")
    stage.finish(first)
    stage.wait_for_attempts(other)
    heals(stage)
    assert stage.status().get("reclaims", 0) == 0


def test_a_quota_that_counts_what_nobody_asks_for_is_the_template_s_matter(stage: Any) -> None:
    quota(stage, **{"requests.memory": "64Gi"})
    wait_for_refusal(stage)
    stage.apply(**OWN)
    assert "must specify requests.memory for: main" in told(stage, "QuotaUnspecified")
    assert not stage.pods()
    stage.change(template=template(container={"resources": {"requests": {"memory": "1Gi"}}}))
    stage.wait_for_attempts(0, 1)
    heals(stage)


def test_a_limit_range(stage: Any) -> None:
    limits = [{"type": "Container", "max": {"cpu": "2"}}]
    core(stage, "limitranges", "caps", "LimitRange", {"limits": limits})
    wait_for_refusal(stage, limits={"cpu": "4"})
    stage.apply(**OWN, template=template(container={"resources": {"limits": {"cpu": "4"}}}))
    assert "maximum cpu usage per Container is 2, but limit is 4" in told(stage, "LimitRangeViolated")
    stage.change(template=template(container={"resources": {"limits": {"cpu": "2"}}}))
    stage.wait_for_attempts(0, 1)
    heals(stage)


def test_a_service_account_that_comes_late(stage: Any) -> None:
    stage.apply(**OWN, template=template(serviceAccountName="runner"))
    message = told(stage, "ServiceAccountMissing")
    assert f"service account {stage.namespace}/runner" in message
    assert message.startswith("no pod for shards 0-1: ")
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "runner"}}
    stage.api.create(f"/api/v1/namespaces/{stage.namespace}/serviceaccounts", body)
    stage.wait_for_attempts(0, 1)
    heals(stage)
    assert [pod["metadata"]["labels"]["resumable.dev/attempt"] for pod in stage.live()] == ["1", "2"]


def test_a_priority_class_that_comes_late(stage: Any) -> None:
    stage.apply(**OWN, template=template(priorityClassName=BATCH))
    assert f"no PriorityClass with name {BATCH} was found" in told(stage, "PriorityClassMissing")
    assert not stage.pods()
    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    stage.api.create(classes, {"metadata": {"name": BATCH}, "value": 7})
    try:
        pods = stage.wait_for_attempts(0, 1)
        assert {pod["spec"]["priority"] for pod in pods} == {7}
        heals(stage)
        assert stage.status()["attempts"] == 2
    finally:
        stage.api.delete(f"{classes}/{BATCH}")


def test_a_priority_class_without_leave_is_refused_although_it_exists(stage: Any) -> None:
    stage.apply(**OWN, template=template(priorityClassName="system-cluster-critical"))
    message = told(stage, "TemplateForbidden")
    assert "priorityClassName is system-cluster-critical" in message
    assert not stage.pods()
    stage.change(template={"spec": {"priorityClassName": None}})
    stage.wait_for_attempts(0, 1)
    heals(stage)


def test_a_runtime_class_that_comes_late(stage: Any) -> None:
    name = f"sandbox-{stage.namespace}"
    stage.apply(**OWN, template=template(runtimeClassName=name))
    assert f'RuntimeClass "{name}" not found' in told(stage, "RuntimeClassMissing")
    assert not stage.pods()
    classes = "/apis/node.k8s.io/v1/runtimeclasses"
    overhead = {"podFixed": {"memory": "64Mi"}}
    stage.api.create(classes, {"metadata": {"name": name}, "handler": "runsc", "overhead": overhead})
    try:
        # What the class adds to a pod is no reason to take it for another one.
        pods = stage.wait_for_attempts(0, 1)
        assert {pod["spec"]["overhead"]["memory"] for pod in pods} == {"64Mi"}
        heals(stage)
        assert stage.status()["attempts"] == 2
    finally:
        stage.api.delete(f"{classes}/{name}")


def keep_sweeps(stage: Any) -> list[str]:
    """Forbid that anybody deletes sweeps, the namespace's own controller too, and return what undoes it."""
    rules = [
        {
            "apiGroups": ["resumable.dev"],
            "apiVersions": ["*"],
            "operations": ["DELETE"],
            "resources": ["resumablesweeps"],
        }
    ]
    return forbid(stage, rules, {"expression": "false", "message": "kept"})


def is_kept(stage: Any) -> bool:
    try:
        stage.api.delete(f"{stage.sweeps}/lr?dryRun=All")
    except ApiError:
        return True
    return False


def test_a_namespace_that_is_being_deleted_gets_no_pods(stage: Any) -> None:
    stage.apply(**OWN, suspend=True)
    stage.wait(lambda: stage.status().get("phase") == "Suspended", "the sweep to be looked at")
    made = keep_sweeps(stage)
    try:
        stage.wait(lambda: is_kept(stage), "the policy to hold")
        stage.api.delete(f"/api/v1/namespaces/{stage.namespace}")
        wait_for_refusal(stage)
        stage.change(suspend=False)
        message = told(stage, "NamespaceTerminating")
        assert message.startswith("no pod for shards 0-1: ")
        assert message.endswith("because it is being terminated; nothing is made in it any more")
        assert not stage.pods()
        assert stage.status()["attempts"] == 2, "one number a shard, however often it is asked for"
    finally:
        for path in made:
            stage.api.delete(path)
        stage.wait(lambda: not is_kept(stage), "the policy to be gone")


def test_pod_security(stage: Any) -> None:
    enforce = {"pod-security.kubernetes.io/enforce": "restricted"}
    stage.api.patch(f"/api/v1/namespaces/{stage.namespace}", {"metadata": {"labels": enforce}})
    wait_for_refusal(stage)
    stage.apply(**OWN)
    message = told(stage, "TemplateInvalid")
    assert 'violates PodSecurity "restricted:latest"' in message
    assert "allowPrivilegeEscalation != false" in message
    assert message.endswith("; set the fields that it names in spec.template.spec")


def test_an_invalid_template_is_told_with_its_field_and_mended_at_once(stage: Any) -> None:
    mounts = [{"name": "nowhere", "mountPath": "/data"}]
    stage.apply(**OWN, template=template(container={"volumeMounts": mounts}))
    message = told(stage, "TemplateInvalid")
    assert 'volumeMounts[0].name: Not found: "nowhere"' in message
    assert not stage.pods()
    stage.change(template=template())
    stage.wait_for_attempts(0, 1)
    heals(stage)
    assert stage.status()["attempts"] == 2, "what was refused is no attempt that was used up"


def forbid(stage: Any, rules: list[dict[str, Any]], validation: dict[str, str]) -> list[str]:
    """Forbid something by a policy of the namespace, and return what is to be removed afterwards."""
    collection = "/apis/admissionregistration.k8s.io/v1"
    name = f"owners-{stage.namespace}"
    of_namespace = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": stage.namespace}}}
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": rules},
            "validations": [validation],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"], "matchResources": of_namespace},
    }
    stage.api.create(f"{collection}/validatingadmissionpolicies", policy)
    stage.api.create(f"{collection}/validatingadmissionpolicybindings", binding)
    return [
        f"{collection}/validatingadmissionpolicybindings/{name}",
        f"{collection}/validatingadmissionpolicies/{name}",
    ]


def deny(stage: Any) -> list[str]:
    """Forbid pods by a policy, and return what is to be removed afterwards."""
    rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
    owned = "'owner' in object.metadata.?labels.orValue({})"
    return forbid(stage, rules, {"expression": owned, "message": "no owner"})


def call_nobody(stage: Any) -> list[str]:
    """Have pods shown to a webhook that does not answer, and return what is to be removed afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    collection = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    name = f"nobody-{stage.namespace}"
    webhook = {
        "name": "pods.example.org",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "clientConfig": {"url": f"https://127.0.0.1:{port}/"},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": stage.namespace}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
    }
    body = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [webhook],
    }
    stage.api.create(collection, body)
    return [f"{collection}/{name}"]


@pytest.mark.parametrize(
    ("forbid", "reason", "words"),
    [
        (deny, "AdmissionDenied", "denied request: no owner"),
        (call_nobody, "WebhookFailed", 'failed calling webhook "pods.example.org"'),
    ],
    ids=["a policy", "a webhook that does not answer"],
)
def test_what_the_cluster_s_admission_refuses(
    stage: Any, forbid: Callable[[Any], list[str]], reason: str, words: str
) -> None:
    made = forbid(stage)
    wait_for_refusal(stage)
    stage.apply(**OWN)
    message = told(stage, reason)
    assert words in message
    assert not stage.pods()
    for path in made:
        stage.api.delete(path)
    stage.wait_for_attempts(0, 1)
    heals(stage)
    assert stage.status()["attempts"] == 2


# Pods that are made and do not start. The test plays kubelet and scheduler.


def waits(name: str, reason: str, message: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"name": name, "image": "", "imageID": "", "ready": False, "restartCount": 0, "state": state}


def test_a_corrected_image_takes_the_place_of_one_that_cannot_be_pulled(stage: Any, node: Any) -> None:
    node("image-n1")
    stage.apply(**OWN, budgets={"userFailures": 0}, template=template(container={"image": "mian:test"}))
    for pod in stage.wait_for_attempts(0, 1):
        stage.bind(pod, "image-n1")
        stage.set_status(pod, mains=[waits("main", "ErrImagePull", 'failed to pull image "mian:test": not found')])
    told(stage, "ImagePullBackOff")
    stage.wait(lambda: stage.condition("Healthy")["message"].startswith("shards 0-1 (first pod lr-"), "both to be told")
    message = stage.condition("Healthy")["message"]
    assert 'ErrImagePull: failed to pull image "mian:test": not found; push it, or correct' in message
    stage.change(template=template(container={"image": "main:test"}))
    stage.wait(lambda: not stage.live(), "the pods to be deleted")
    for pod in stage.pods():
        stage.api.delete(f"{stage.pods_path}/{pod['metadata']['name']}", {"gracePeriodSeconds": 0})
    replaced = stage.wait_for_attempts(0, 1)
    assert {pod["spec"]["containers"][0]["image"] for pod in replaced} == {"main:test"}
    assert [pod["metadata"]["labels"]["resumable.dev/attempt"] for pod in replaced] == ["3", "4"]
    heals(stage)
    assert stage.status().get("reclaims", 0) == 0
    assert not stage.events("ShardFailed")


def test_a_pool_without_nodes_is_named_and_another_one_takes_its_pods(stage: Any) -> None:
    def pool(name: str) -> dict[str, Any]:
        return {"pools": [{"name": name, "nodeSelector": {"pool": name}}]}

    stage.apply(**OWN, placement=pool("gpus"))
    words = "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. preemption: none"
    for pod in stage.wait_for_attempts(0, 1):
        scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
        stage.set_status(pod, conditions=[scheduled])
    message = told(stage, "Unschedulable")
    assert "pool gpus" in message
    assert "3 node(s) didn't match" in message
    stage.change(placement=pool("spot"))

    def moved() -> bool:
        selectors = [pod["spec"]["nodeSelector"] for pod in stage.live()]
        return selectors == [{"pool": "spot"}] * 2

    stage.wait(moved, "pods for the other pool")
    heals(stage)


def test_a_secret_that_comes_late_is_the_kubelet_s_matter(stage: Any, node: Any) -> None:
    node("secret-n1")
    stage.apply(**{**OWN, "shards": 1})
    (pod,) = stage.wait_for_attempts(0)
    stage.bind(pod, "secret-n1")
    stage.set_status(pod, mains=[waits("main", "CreateContainerConfigError", 'secret "api-key" not found')])
    assert 'secret "api-key" not found; create what is missing' in told(stage, "CreateContainerConfigError")
    stage.change(parallelism=1)
    stage.set_status(pod, phase="Running", mains=[_running("main")])
    heals(stage)
    assert [each["metadata"]["uid"] for each in stage.pods()] == [pod["metadata"]["uid"]]


def _running(name: str) -> dict[str, Any]:
    state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    return {"name": name, "image": "", "imageID": "", "ready": True, "restartCount": 0, "state": state}

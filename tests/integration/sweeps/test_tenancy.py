"""What the pods of a sweep may reach, and the limits of a namespace that hold for them as for all others."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from integration.sweeps.webhook import mutating
from rig.api import wait_until
from sweep_operator.runtime.settings import ALLOWED

pytestmark = pytest.mark.integration

RESTRICTED: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def template(*, labels: dict[str, str] | None = None, container: dict[str, Any] | None = None, **pod: Any) -> Any:
    main = {"name": "main", "image": "main:test", **(container or {})}
    return {"metadata": {"labels": labels or {}}, "spec": {"containers": [main], **pod}}


def healthy(stage: Any) -> str:
    reason: str = stage.condition("Healthy").get("reason", "")
    return reason


@pytest.mark.parametrize(
    ("pod", "said"),
    [
        ({"volumes": [{"name": "d", "hostPath": {"path": "/etc"}}]}, "volumes d is the hostPath /etc"),
        ({"container": {"securityContext": {"privileged": True}}}, "containers main is privileged"),
        ({"hostNetwork": True, "hostPID": True}, "hostNetwork is true"),
        ({"nodeName": "node-a"}, "nodeName is node-a"),
        ({"priorityClassName": "system-node-critical"}, "priorityClassName is system-node-critical"),
        ({"serviceAccount": "trainer"}, "serviceAccountName is trainer"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_pod_that_reaches_too_far_is_never_made(stage: Any, pod: dict[str, Any], said: str) -> None:
    stage.apply(items=None, template=template(**pod))
    stage.wait(lambda: healthy(stage) == "TemplateForbidden", "it to be refused")
    assert said in stage.condition("Healthy")["message"]
    assert "allowed by whoever installed" in stage.condition("Healthy")["message"]
    assert stage.api.get(stage.pods_path)["items"] == []


def test_a_template_that_was_mended_is_taken(stage: Any) -> None:
    stage.api.create(f"/api/v1/namespaces/{stage.namespace}/serviceaccounts", {"metadata": {"name": "trainer"}})
    stage.apply(items=None, template=template(serviceAccountName="trainer"))
    stage.wait(lambda: healthy(stage) == "TemplateForbidden", "it to be refused")
    # A merge patch takes a field away where it says null.
    stage.change(template={"spec": {"serviceAccountName": None}})
    stage.wait_for_attempts(0, 1)
    stage.wait(lambda: stage.condition("Healthy")["status"] == "True", "it to be taken back")


def test_the_pods_that_resolve_and_merge_are_no_way_round(stage: Any) -> None:
    stage.apply(template=template(serviceAccountName="trainer"))
    stage.wait(lambda: healthy(stage) == "TemplateForbidden", "it to be refused")
    assert "resolve pod" in stage.condition("Healthy")["message"]
    assert stage.api.get(stage.pods_path)["items"] == []


def add_host_path(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Add what no template may have to the pods that ask for it by a label, as many a webhook does."""
    if request["object"]["metadata"].get("labels", {}).get("inject") != "yes":
        return []
    return [{"op": "add", "path": "/spec/volumes/-", "value": {"name": "sneaked", "hostPath": {"path": "/"}}}]


def test_what_a_webhook_adds_counts_as_if_the_template_said_it(stage: Any, control_plane: Any) -> None:
    with mutating(control_plane, stage.api, namespace=stage.namespace, patch=add_host_path):
        labelled = template(labels={"inject": "yes"})
        wait_until(lambda: has_volume(stage, "sneaked", labelled), what="the webhook to be called", seconds=20)
        stage.apply(items=None, template=labelled)
        stage.wait(lambda: healthy(stage) == "TemplateForbidden", "it to be refused")
        message = stage.condition("Healthy")["message"]
        assert "admission (a webhook, or a default) has added" in message
        assert "volumes sneaked is the hostPath /" in message
        assert stage.api.get(stage.pods_path)["items"] == []
        stage.change(template={"metadata": {"labels": {"inject": None}}})
        stage.wait_for_attempts(0, 1)
        stage.wait(lambda: stage.condition("Healthy")["status"] == "True", "it to be taken back")


def has_volume(stage: Any, name: str, labelled: Any) -> bool:
    """Whether the API server has taken the webhook in: it does so some time after it was made."""
    body = {"metadata": {"name": "asked", **labelled["metadata"]}, "spec": labelled["spec"]}
    made = stage.api.create(f"{stage.pods_path}?dryRun=All", body)
    return name in [volume["name"] for volume in made["spec"]["volumes"]]


def test_a_webhook_that_shows_another_face_in_a_dry_run_is_found_out(stage: Any, control_plane: Any) -> None:
    deceiving = {"on": False}

    def patch(request: dict[str, Any]) -> list[dict[str, Any]]:
        is_probe = request["object"]["metadata"].get("name") == "asked"
        return add_host_path(request) if is_probe or (deceiving["on"] and not request.get("dryRun")) else []

    labelled = template(labels={"inject": "yes"})
    with mutating(control_plane, stage.api, namespace=stage.namespace, patch=patch):
        wait_until(lambda: has_volume(stage, "sneaked", labelled), what="the webhook to be called", seconds=20)
        deceiving["on"] = True
        stage.apply(items=None, shards=1, template=labelled)
        stage.wait(lambda: healthy(stage) == "TemplateForbidden", "it to be refused")
        stage.wait(lambda: stage.api.get(stage.pods_path)["items"] == [], "the pod to be deleted")
        deceiving["on"] = False
        # Whoever changes the sweep is not kept waiting.
        stage.change(parallelism=1)
        (pod,) = stage.wait_for_attempts(0)
        assert "sneaked" not in [volume["name"] for volume in pod["spec"]["volumes"]]
        assert int(pod["metadata"]["labels"]["resumable.dev/attempt"]) > 1, "no attempt has two pods"


def twin_of(pod: dict[str, Any], **added: Any) -> dict[str, Any]:
    """The pod as the operator has ordered it, with what a webhook may have added."""
    metadata = {name: pod["metadata"][name] for name in ("name", "labels", "annotations", "ownerReferences")}
    ordered = {name: value for name, value in pod["spec"].items() if name not in ("nodeName", "serviceAccount")}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**ordered, **added}}


def test_a_pod_that_nobody_has_looked_at_is_found_by_the_next_operator(stage: Any, operator: Any) -> None:
    stage.apply(items=None, shards=1)
    (pod,) = stage.wait_for_attempts(0)
    operator.end(signal.SIGKILL)
    # As if the operator had died before the answer to the creation came.
    path = f"{stage.pods_path}/{pod['metadata']['name']}"
    stage.api.delete(path, {"gracePeriodSeconds": 0})
    volumes = [*pod["spec"]["volumes"], {"name": "sneaked", "hostPath": {"path": "/"}}]
    reaching = stage.api.create(stage.pods_path, twin_of(pod, volumes=volumes))
    operator.start()

    def is_replaced() -> bool:
        return [each["metadata"]["uid"] for each in stage.pods()] not in ([], [reaching["metadata"]["uid"]])

    stage.wait(lambda: stage.events("TemplateForbidden"), "it to be told")
    assert "volumes sneaked is the hostPath /" in stage.events("TemplateForbidden")[0]
    # The next one waits for a while, unless somebody changes the sweep.
    stage.wait(lambda: healthy(stage) == "TemplateForbidden", "the condition to tell it")
    stage.change(parallelism=1)
    stage.wait(is_replaced, "the next attempt")
    (after,) = stage.pods()
    assert "sneaked" not in [volume["name"] for volume in after["spec"]["volumes"]]
    assert stage.status().get("reclaims", 0) == 0, "what was refused is nobody's reclaim"
    stage.wait(lambda: stage.condition("Healthy")["status"] == "True", "the condition to heal")


def test_what_runs_is_left_alone_when_its_leave_is_taken_back(
    stage: Any, node: Any, operator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"leave-{stage.namespace}"
    node(name)
    operator.end(signal.SIGTERM)
    with monkeypatch.context() as allowed:
        allowed.setenv(ALLOWED, "hostPath")
        operator.start()
    reaching = template(volumes=[{"name": "d", "hostPath": {"path": "/etc"}}])
    stage.apply(items=None, shards=1, template=reaching)
    (pod,) = stage.wait_for_attempts(0)
    stage.place(pod, name)
    stage.wait(lambda: stage.status().get("running") == 1, "it to run")
    operator.end(signal.SIGTERM)
    operator.start()
    token = stage.token_of(pod)
    stage.wait(lambda: operator.push(token, stage.report(pod, items_done=3))[0] == 200, "its reports to be taken")
    stage.wait(lambda: stage.status().get("done") == 3, "looks at the sweep")
    assert [each["metadata"]["uid"] for each in stage.live()] == [pod["metadata"]["uid"]]
    # Its successor is another matter.
    stage.api.delete(f"{stage.pods_path}/{pod['metadata']['name']}", {"gracePeriodSeconds": 0})
    stage.wait(lambda: healthy(stage) == "TemplateForbidden", "the next one to be refused")
    assert stage.pods() == []


def test_the_priority_class_that_every_pod_gets_needs_no_leave(stage: Any) -> None:
    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    stage.api.create(classes, {"metadata": {"name": "everybody"}, "value": 1, "globalDefault": True})
    try:
        stage.apply(items=None, shards=1)
        (pod,) = stage.wait_for_attempts(0)
        assert pod["spec"]["priorityClassName"] == "everybody"
    finally:
        stage.api.delete(f"{classes}/everybody")


def test_a_sweep_runs_in_a_namespace_with_all_limits(stage: Any, node: Any) -> None:
    node(f"limited-{stage.namespace}")
    here = f"/api/v1/namespaces/{stage.namespace}"
    enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
    stage.api.patch(here, {"metadata": {"labels": enforced}})
    hard = {"pods": "2", "requests.cpu": "4", "requests.memory": "8Gi", "limits.cpu": "8", "limits.memory": "8Gi"}
    stage.api.create(f"{here}/resourcequotas", {"metadata": {"name": "all"}, "spec": {"hard": hard}})
    limits = {
        "type": "Container",
        "default": {"cpu": "500m", "memory": "512Mi"},
        "defaultRequest": {"cpu": "100m", "memory": "128Mi"},
        "min": {"cpu": "10m", "memory": "64Mi"},
        "max": {"cpu": "2", "memory": "2Gi"},
    }
    stage.api.create(f"{here}/limitranges", {"metadata": {"name": "all"}, "spec": {"limits": [limits]}})
    wait_until(
        lambda: bool(stage.api.get(f"{here}/resourcequotas/all").get("status", {}).get("hard")),
        what="the quota to be counted",
        seconds=20,
    )
    # A program that does not fit says so, by the API server's own words, and the sweep goes on once it does.
    stage.apply(shards=3, template=template())
    stage.resolve()
    stage.wait(lambda: healthy(stage) == "TemplateInvalid", "Pod Security to be named")
    assert "allowPrivilegeEscalation" in stage.condition("Healthy")["message"]
    assert stage.pods() == []
    stage.change(
        template={
            "spec": {"containers": [template(container={"securityContext": RESTRICTED})["spec"]["containers"][0]]}
        }
    )
    # There is room for two at once: the third comes when one has ended.
    stage.wait(lambda: healthy(stage) == "QuotaExceeded", "the quota to be named", seconds=60)
    done: set[str] = set()

    def finish_next() -> bool:
        for pod in stage.live():
            if pod["metadata"]["name"] not in done:
                done.add(pod["metadata"]["name"])
                stage.place(pod, f"limited-{stage.namespace}")
                stage.finish(pod)
        return len(done) == 3

    stage.wait(finish_next, "each of three shards to have its turn", seconds=60)
    stage.merge()
    stage.wait(lambda: stage.status().get("phase") == "Complete", "Complete")

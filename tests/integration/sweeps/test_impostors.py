"""Reports by those who have no right to them, with tokens that a real API server has signed."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from resumable_sweep.contract.environment import TOKEN_AUDIENCE
from resumable_sweep.contract.report import Stage

pytestmark = pytest.mark.integration


@pytest.fixture
def pod(stage: Any, node: Any) -> dict[str, Any]:
    """An attempt that runs."""
    name = f"impostors-{stage.namespace}"
    node(name)
    stage.apply(shards=1)
    stage.resolve()
    (pod,) = stage.wait_for_attempts(0)
    stage.place(pod, name)
    stage.wait(lambda: stage.status().get("running") == 1, "it to run")
    found: dict[str, Any] = pod
    return found


def believed(stage: Any, operator: Any, pod: dict[str, Any], items: int) -> None:
    """Show that the true pod is heard: what went before was refused for what it was."""
    assert operator.push(stage.token_of(pod), stage.report(pod, items_done=items))[0] == 200
    stage.wait(lambda: stage.status().get("done") == items, f"DONE to be {items}")


def token_of_account(stage: Any, *, bound: dict[str, Any] | None = None) -> str:
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [TOKEN_AUDIENCE], **({"boundObjectRef": bound} if bound else {})},
    }
    path = f"/api/v1/namespaces/{stage.namespace}/serviceaccounts/default/token"
    return str(stage.api.create(path, request)["status"]["token"])


def test_a_changed_token_is_refused(stage: Any, operator: Any, pod: Any) -> None:
    head, body, signature = stage.token_of(pod).split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    claims["kubernetes.io"]["pod"]["uid"] = "another"
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    assert operator.push(f"{head}.{forged}.{signature}", stage.report(pod, items_done=9))[0] == 403
    unsigned = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).decode().rstrip("=")
    assert operator.push(f"{unsigned}.{body}.", stage.report(pod, items_done=9))[0] == 403
    believed(stage, operator, pod, 2)


def test_a_token_of_no_pod_is_refused(stage: Any, operator: Any, pod: Any) -> None:
    assert operator.push(token_of_account(stage), stage.report(pod, items_done=9))[0] == 403
    believed(stage, operator, pod, 2)


def test_the_token_of_a_pod_that_is_no_attempt_is_refused(stage: Any, operator: Any, pod: Any) -> None:
    bystander = stage.api.create(
        stage.pods_path, {"metadata": {"name": "bystander"}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    )
    assert operator.push(stage.token_of(bystander), stage.report(pod, items_done=9))[0] == 404
    believed(stage, operator, pod, 2)


def test_a_pod_of_the_same_name_in_another_namespace_is_another_pod(stage: Any, operator: Any, pod: Any) -> None:
    elsewhere = f"{stage.namespace}-twin"
    namespaces = "/api/v1/namespaces"
    stage.api.create(namespaces, {"metadata": {"name": elsewhere}})
    stage.wait(lambda: stage.api.get(f"{namespaces}/{elsewhere}/serviceaccounts")["items"], "the service account")
    copied = {name: pod["metadata"][name] for name in ("name", "labels", "annotations")}
    spec = {"containers": [{"name": "main", "image": "main:test"}]}
    twin = stage.api.create(f"{namespaces}/{elsewhere}/pods", {"metadata": copied, "spec": spec})
    bound = {"kind": "Pod", "apiVersion": "v1", "name": twin["metadata"]["name"], "uid": twin["metadata"]["uid"]}
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [TOKEN_AUDIENCE], "boundObjectRef": bound},
    }
    token = stage.api.create(f"{namespaces}/{elsewhere}/serviceaccounts/default/token", request)["status"]["token"]
    # Its labels say that it is this attempt, and its word still moves nothing: there is no such sweep where it is.
    for stage_of_life in (Stage.MIRRORING, Stage.COMPLETE):
        _, answer = operator.push(token, stage.report(pod, items_done=9, stage=stage_of_life))
        assert not answer.get("notice_noted")
    believed(stage, operator, pod, 2)
    assert stage.status()["phase"] == "Running"
    stage.api.delete(f"{namespaces}/{elsewhere}")


def test_the_token_of_a_pod_that_is_gone_is_refused(stage: Any, operator: Any, pod: Any) -> None:
    fresh, used = stage.token_of(pod), stage.token_of(pod)
    assert operator.push(used, stage.report(pod, items_done=1))[0] == 200
    stage.api.delete(f"{stage.pods_path}/{pod['metadata']['name']}", {"gracePeriodSeconds": 0})
    successor = stage.wait(
        lambda: next((each for each in stage.live() if each["metadata"]["uid"] != pod["metadata"]["uid"]), None),
        "the successor",
    )
    assert operator.push(used, stage.report(pod, items_done=9))[0] == 404, "though the API server's answer is kept"
    assert operator.push(fresh, stage.report(pod, items_done=9))[0] in (403, 404)
    assert operator.push(fresh, stage.report(successor, items_done=9))[0] in (403, 404)
    assert stage.status().get("done", 0) <= 1


def test_a_report_that_is_sent_again_changes_nothing(stage: Any, operator: Any, pod: Any) -> None:
    token = stage.token_of(pod)
    captured = stage.report(pod, items_done=5, problem="StoreUnreachable", message="connection refused")
    assert operator.push(token, captured)[0] == 200
    stage.wait(lambda: stage.condition("Healthy")["reason"] == "StoreUnreachable", "it to be said")
    assert operator.push(token, stage.report(pod, items_done=6))[0] == 200
    stage.wait(lambda: stage.condition("Healthy")["status"] == "True", "it to be taken back")
    assert operator.push(token, captured)[0] == 200
    believed(stage, operator, pod, 7)
    assert stage.condition("Healthy")["status"] == "True", "the captured report is an old one"

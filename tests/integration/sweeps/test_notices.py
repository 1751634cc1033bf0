"""A cloud's notice: the next attempt at once, beyond parallelism and quota, and one of the two has the shard."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from resumable_sweep.contract.report import NoticeKind, Stage

pytestmark = pytest.mark.integration

GCE = NoticeKind.GCE_PREEMPTED


@pytest.fixture
def pod(stage: Any, node: Any) -> dict[str, Any]:
    """Attempt 1 of the only shard, which runs."""
    name = f"notices-{stage.namespace}"
    node(name)
    stage.apply(shards=1, parallelism=1)
    stage.resolve()
    pod: dict[str, Any] = stage.wait_for_attempts(0)[0]
    stage.place(pod, name)
    stage.wait(lambda: stage.status().get("running") == 1, "it to run")
    return pod


def announce(stage: Any, operator: Any, pod: dict[str, Any], **fields: Any) -> None:
    """Play the sidecar that reports a notice until it is noted."""
    token = stage.token_of(pod)

    def is_noted() -> bool:
        code, answer = operator.push(token, stage.report(pod, **{"notice": GCE, "items_done": 3, **fields}))
        return code == 200 and bool(answer["notice_noted"])

    stage.wait(is_noted, "the notice to be noted")


def heir_of(stage: Any, pod: dict[str, Any]) -> dict[str, Any]:
    """Wait for the pod that is made beside `pod`."""

    def other() -> Any:
        return [each for each in stage.live() if each["metadata"]["uid"] != pod["metadata"]["uid"]]

    found: dict[str, Any] = stage.wait(other, "the successor")[0]
    return found


def variables(pod: dict[str, Any], container: str) -> dict[str, str]:
    own = next(each for each in pod["spec"]["initContainers"] if each["name"] == container)
    return {each["name"]: each.get("value", "") for each in own["env"]}


def test_a_noticed_shard_has_its_successor_before_it_ends(stage: Any, operator: Any, pod: Any) -> None:
    announce(stage, operator, pod)
    heir = heir_of(stage, pod)
    assert 1 <= int(variables(heir, "sweep-restore")["SWEEP_TAKE_AFTER"]) <= 35
    assert "SWEEP_TAKE_AFTER" not in variables(pod, "sweep-restore")
    assert stage.status().get("reclaims", 0) == 0
    (told,) = stage.wait(lambda: stage.events("Notice"), "the event")
    assert "GcePreempted" in told
    assert 'resumable_sweep_notices_total{kind="GcePreempted"} 1.0' in operator.metrics()
    stage.bind(heir, f"notices-{stage.namespace}")
    waits = stage.report(heir, stage=Stage.RESTORING)
    stage.wait(lambda: operator.push(stage.token_of(heir), waits)[0] == 200, "the successor to be known")
    _, answer = operator.push(stage.token_of(heir), stage.report(heir, stage=Stage.RESTORING))
    assert (answer["superseded"], answer["may_take"]) == (False, False)
    _, answer = operator.push(stage.token_of(pod), stage.report(pod, notice=GCE, items_done=4))
    assert (answer["superseded"], answer["may_take"]) == (False, True)
    # Stopped between two items, on a machine that does not go.
    stage.finish(pod, complete=False, code=143)
    status = stage.wait(lambda: stage.status() if stage.status().get("reclaims") else None, "the reclaim")
    assert status["lastReclaim"]["signal"] == "GcePreempted"
    assert status["lastReclaim"]["attempt"] == 1
    assert status["lastReclaim"]["relaunchSeconds"] < 15
    assert status["attempts"] == 2
    _, answer = operator.push(stage.token_of(heir), stage.report(heir, stage=Stage.RESTORING))
    assert answer["may_take"]
    (told,) = stage.wait(lambda: stage.events("Reclaimed"), "the event")
    assert "attempt 2" in told
    stage.wait(
        lambda: [each["metadata"]["uid"] for each in stage.live()] == [heir["metadata"]["uid"]],
        "the pod that has stopped to go: it has not failed, and is not kept for a look",
    )


def test_a_notice_outlives_the_operator(stage: Any, operator: Any, pod: Any) -> None:
    announce(stage, operator, pod)
    heir = heir_of(stage, pod)
    operator.end(signal.SIGKILL)
    stage.finish(pod, complete=False, code=143)
    operator.start()
    status = stage.wait(lambda: stage.status() if stage.status().get("reclaims") else None, "the reclaim")
    assert status["lastReclaim"]["signal"] == "GcePreempted"
    assert status["attempts"] == 2
    assert stage.live()[-1]["metadata"]["uid"] == heir["metadata"]["uid"]
    assert not stage.events("ContainerFailed")


def test_a_notice_that_is_withdrawn_takes_the_successor_with_it(stage: Any, operator: Any, pod: Any) -> None:
    announce(stage, operator, pod)
    heir_of(stage, pod)
    code, _ = operator.push(stage.token_of(pod), stage.report(pod, items_done=3))
    assert code == 200
    stage.wait(lambda: [each["metadata"]["uid"] for each in stage.live()] == [pod["metadata"]["uid"]], "one pod")
    stage.wait(lambda: stage.events("NoticeWithdrawn"), "the event")
    assert stage.status().get("reclaims", 0) == 0
    stage.finish(pod)
    stage.wait(lambda: stage.status()["shards"].get("complete") == "0", "the shard to be complete")


def test_one_that_completes_within_its_notice_needs_no_successor(stage: Any, operator: Any, pod: Any) -> None:
    announce(stage, operator, pod)
    heir_of(stage, pod)
    stage.finish(pod)
    stage.wait(lambda: stage.status()["shards"].get("complete") == "0", "the shard to be complete")
    stage.wait(lambda: not stage.live(), "no attempt to be left")
    assert stage.status().get("reclaims", 0) == 0
    stage.merge()
    stage.wait(lambda: stage.status()["phase"] == "Complete", "Complete")


def test_one_that_takes_the_shard_sends_the_other_away(stage: Any, operator: Any, pod: Any) -> None:
    announce(stage, operator, pod)
    heir = heir_of(stage, pod)
    stage.place(heir, f"notices-{stage.namespace}")
    stage.wait(lambda: [each["metadata"]["uid"] for each in stage.live()] == [heir["metadata"]["uid"]], "one pod")
    code, answer = operator.push(stage.token_of(pod), stage.report(pod, notice=GCE))
    assert (code, answer["superseded"]) == (200, True)
    assert stage.status()["lastReclaim"]["signal"] == "GcePreempted"


def test_where_a_quota_has_no_room_for_both_it_comes_when_there_is(stage: Any, operator: Any, pod: Any) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "pods"},
        "spec": {"hard": {"pods": "1"}},
    }
    quotas = f"/api/v1/namespaces/{stage.namespace}/resourcequotas"
    stage.api.create(quotas, quota)
    # No controller runs here that would fill it in.
    full = {"status": {"hard": {"pods": "1"}, "used": {"pods": "1"}}}
    stage.api.patch(f"{quotas}/pods/status", full)
    announce(stage, operator, pod)
    stage.wait(lambda: "exceeded quota" in operator.log(), "the refusal")
    assert len(stage.live()) == 1
    assert stage.condition("Healthy")["status"] == "True"
    stage.api.delete(f"{quotas}/pods")
    assert heir_of(stage, pod)["metadata"]["labels"]["resumable.dev/attempt"] == "2"


def test_advice_is_said_and_changes_nothing(stage: Any, operator: Any, pod: Any) -> None:
    announce(stage, operator, pod, notice=NoticeKind.EC2_REBALANCE)
    stage.wait(lambda: stage.events("Notice"), "the event")
    assert stage.status()["attempts"] == 1
    assert len(stage.live()) == 1

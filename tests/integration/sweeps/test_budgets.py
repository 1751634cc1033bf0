"""Shards that fail for good, and what a user does about it, against a real API server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from resumable_sweep.contract.outcome import Outcome

pytestmark = pytest.mark.integration
DIGEST = "0" * 64


def crash_until_failed(stage: Any, shard: int, node: str) -> None:
    pod = next(pod for pod in stage.live() if pod["metadata"]["labels"]["resumable.dev/shard"] == str(shard))
    stage.place(pod, node)
    stage.finish(pod, complete=False, code=1)
    stage.wait(lambda: stage.status().get("shards", {}).get("failed") == str(shard), f"shard {shard} to be given up")


def annotate(stage: Any, wish: str | None) -> None:
    stage.api.patch(f"{stage.sweeps}/lr", {"metadata": {"annotations": {"resumable.dev/retry": wish}}})


def test_a_failed_sweep_goes_on_when_it_is_told_to(stage: Any, node: Any) -> None:
    node("budget-n1")
    stage.apply(budgets={"userFailures": 0})
    stage.resolve()
    first = stage.wait_for_attempts(0, 1)
    crash_until_failed(stage, 0, "budget-n1")
    stage.finish(first[1])
    stage.wait(lambda: stage.status()["phase"] == "Failed", "Failed")
    assert "shards 0 failed, 12 of 12 items are missing" in stage.condition("Complete")["message"]
    annotate(stage, "5")
    stage.wait(lambda: stage.events("RetryRefused"), "the refusal")
    assert "there is no shard 5" in stage.events("RetryRefused")[0]
    assert stage.status()["phase"] == "Failed"
    annotate(stage, "0")
    # The pod that failed stays beside it, with its logs.
    _, again = stage.wait_for_attempts(0, 0)
    assert stage.status()["retried"] == "0"
    assert "completionTime" not in stage.status()
    stage.finish(again)
    stage.merge()
    stage.wait(lambda: stage.condition("Complete").get("reason") == "Merged", "Complete")
    assert len(stage.events("Retried")) == 1


def test_what_there_is_is_merged_without_the_failed_shard_and_then_the_sweep_goes(stage: Any, node: Any) -> None:
    node("budget-n2")
    stage.apply(budgets={"userFailures": 0}, onShardFailure="Continue")
    stage.resolve()
    pods = stage.wait_for_attempts(0, 1)
    crash_until_failed(stage, 1, "budget-n2")
    stage.finish(pods[0])
    pod = stage.wait(lambda: stage.pods("merge"), "the merge pod")[0]
    assert pod["spec"]["containers"][0]["args"] == ["merge", "--partial"]
    details = {"url": "gs://m", "sha256": DIGEST, "items": 7, "provenance_url": "gs://p", "missing": 5}
    done = {"terminated": {"exitCode": 0, "message": Outcome("Merged", "done", details).to_json()}}
    container = {"name": "sweep-merge", "state": done, "ready": False, "restartCount": 0, "image": "", "imageID": ""}
    stage.set_status(pod, phase="Succeeded", mains=[container])
    stage.wait(lambda: stage.condition("Complete").get("reason") == "MergedPartially", "the partial merge")
    assert "shards 1 failed, 5 of 12 items are missing" in stage.condition("Complete")["message"], json.dumps(details)
    assert stage.status()["phase"] == "Complete"
    # Whoever asks for it later gets it, too.
    stage.change(ttlSecondsAfterFinished=0)
    stage.wait(lambda: not stage.api.get(stage.sweeps)["items"], "the sweep to be deleted")
    # The garbage collector learns of a definition that is new only every 30 s.
    stage.wait(lambda: not stage.pods(), "its pods to be collected", seconds=60)


def test_a_node_that_refuses_pods_is_avoided(stage: Any, node: Any) -> None:
    node("budget-n3")
    stage.apply(shards=1, items=None)
    (pod,) = stage.wait_for_attempts(0)
    stage.bind(pod, "budget-n3")
    stage.set_status(pod, phase="Failed", reason="UnexpectedAdmissionError", message="no such GPU")
    second = stage.wait(
        lambda: next((each for each in stage.live() if each["metadata"]["name"] != pod["metadata"]["name"]), None),
        "another attempt",
    )
    (preferred,) = second["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    (away,) = preferred["preference"]["matchFields"]
    assert (away["operator"], away["values"]) == ("NotIn", ["budget-n3"])
    (avoided,) = stage.status()["avoidedNodes"]
    assert (avoided["name"], avoided["reason"]) == ("budget-n3", "PodRejected")
    assert "no such GPU; failure of the platform 1 of at most 100 in 1d" in stage.events("PodRejected")[0]

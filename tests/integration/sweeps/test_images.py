"""A tag that moves while a sweep runs, on a real API server."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.integration

OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def pod_of(stage: Any, attempt: int) -> dict[str, Any]:
    def there() -> list[dict[str, Any]]:
        return [pod for pod in stage.live() if pod["metadata"]["labels"]["resumable.dev/attempt"] == str(attempt)]

    found: dict[str, Any] = stage.wait(there, f"the pod of attempt {attempt}")[0]
    return found


def images_told(pod: dict[str, Any]) -> str:
    (value,) = [each["value"] for each in pod["spec"]["initContainers"][0]["env"] if each["name"] == "SWEEP_IMAGES"]
    return str(value)


def test_an_attempt_that_pulls_another_image_is_ended_until_it_is_allowed(stage: Any, node: Any) -> None:
    name = f"n-{stage.namespace}"
    node(name)
    stage.apply(shards=2, parallelism=1)
    stage.resolve()
    first = pod_of(stage, 1)
    stage.place(first, name, image_id=f"registry/main@{OLD}")
    stage.wait(lambda: stage.status().get("images") == {"main:test": [OLD]}, "the image to be remembered")
    stage.finish(first)

    second = pod_of(stage, 2)
    stage.place(second, name, image_id=f"registry/main@{NEW}")
    (event,) = stage.wait(lambda: stage.events("Drift"), "the event")
    assert f"container main runs main:test with digest {NEW}, and the results so far come from {OLD}" in event
    assert f"main@{OLD}" in event
    assert "spec.allowDrift to [Images]" in event
    condition = stage.wait(
        lambda: stage.condition("Healthy") if stage.condition("Healthy")["reason"] == "Drift" else None, "the condition"
    )
    assert NEW in condition["message"]
    assert "Name the image by its digest" in condition["message"]
    listed = {pod["metadata"]["name"]: pod["metadata"] for pod in stage.pods()}
    assert listed[second["metadata"]["name"]]["deletionGracePeriodSeconds"] == 1
    assert stage.status()["images"] == {"main:test": [OLD]}
    assert stage.status().get("reclaims", 0) == 0

    stage.change(allowDrift=["Images"])
    third = pod_of(stage, 3)
    stage.place(third, name, image_id=f"registry/main@{NEW}")
    stage.wait(lambda: stage.status()["images"] == {"main:test": [OLD, NEW]}, "the other image to be let in")
    stage.finish(third)
    stage.merge()
    stage.wait(lambda: stage.status()["phase"] == "Complete", "the end")


def test_the_image_that_has_run_may_be_pinned_on_the_way(stage: Any, node: Any) -> None:
    name = f"n-{stage.namespace}"
    node(name)
    stage.apply(shards=2, parallelism=1)
    stage.resolve()
    first = pod_of(stage, 1)
    assert images_told(first) == "main:test"
    stage.place(first, name, image_id=f"main@{OLD}")
    stage.wait(lambda: stage.status().get("images"), "the image to be remembered")
    pinned = f"main@{OLD}"
    stage.change(template={"spec": {"containers": [{"name": "main", "image": pinned}]}})
    stage.finish(first)
    second = pod_of(stage, 2)
    assert second["spec"]["containers"][0]["image"] == pinned
    assert images_told(second) == "main:test"

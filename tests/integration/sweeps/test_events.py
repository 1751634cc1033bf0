"""What `kubectl describe` tells where much happens at once."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.integration


def test_many_lost_at_once_are_told_together(stage: Any, node: Any) -> None:
    name = f"many-{stage.namespace}"
    node(name)
    stage.apply(shards=12)
    stage.resolve()
    told = stage.wait(lambda: stage.events("AttemptCreated"), "the event")
    assert told == ["12 shards: attempts 1-12 created, for shards 0-11"]
    for pod in stage.wait_for_attempts(*range(12)):
        stage.place(pod, name)
    stage.wait(lambda: stage.status().get("running") == 12, "all to run")
    stage.api.delete(f"/api/v1/nodes/{name}")
    (told,) = stage.wait(lambda: stage.events("Reclaimed"), "the event")
    assert told.startswith(
        f"12 shards were reclaimed from node {name} (NodeGone): 0 items safe, attempts 13-24 created"
    )
    assert told.endswith(", for shards 0-11")
    assert stage.status()["reclaims"] == 12
    assert len(stage.events("AttemptCreated")) == 1

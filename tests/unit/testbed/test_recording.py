from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rig.api import ApiError
from rig.recording import Recorder


class _Watched:
    """An API that shows some changes of pods, and then is silent."""

    def __init__(self, pods: list[dict[str, Any]]) -> None:
        self._pods = pods

    def watch(self, path: str, *, seconds: int) -> Iterator[dict[str, Any]]:
        yield from self._pods if path == "/api/v1/pods" else ()


class _Broken:
    def watch(self, path: str, *, seconds: int) -> Iterator[dict[str, Any]]:
        raise ApiError(410, "too old")


def _event(kind: str, name: str, *, node: str = "", phase: str = "Running", heartbeat: str = "") -> dict[str, Any]:
    metadata = {"namespace": "default", "name": name, "uid": "u", "resourceVersion": heartbeat}
    spec = {"containers": [{"name": "main", "image": "i", "command": ["x"]}], **({"nodeName": node} if node else {})}
    return {"type": kind, "object": {"metadata": metadata, "spec": spec, "status": {"phase": phase}}}


def _recorded(*events: dict[str, Any]) -> Recorder:
    api: Any = _Watched(list(events))
    recorder = Recorder(api, seconds=1, clock=iter(range(100, 200)).__next__)
    recorder.wait()
    return recorder


def test_steps_are_those_of_the_node_and_of_what_tells_of_an_end() -> None:
    recorder = _recorded(
        _event("ADDED", "a", node="n"),
        _event("MODIFIED", "a", node="n", heartbeat="2"),
        _event("ADDED", "b", node="other"),
        _event("MODIFIED", "a", node="n", phase="Failed"),
        _event("DELETED", "a", node="n", phase="Failed"),
    )

    found = [(step["t"], step["type"], step["object"]["status"]["phase"]) for step in recorder.steps(node="n")]

    assert found == [(1, "ADDED", "Running"), (3, "MODIFIED", "Failed"), (4, "DELETED", "Failed")]
    assert recorder.steps(node="n")[0]["object"]["spec"]["containers"] == [{"name": "main", "image": "i"}]


def test_pods_can_be_named_before_they_have_a_node() -> None:
    recorder = _recorded(_event("ADDED", "a"), _event("ADDED", "b"))

    assert [step["object"]["metadata"]["name"] for step in recorder.steps(node="n", pods=["b"])] == ["b"]


def test_watch_that_failed_is_told() -> None:
    api: Any = _Broken()

    with pytest.raises(ApiError, match="too old"):
        Recorder(api, seconds=1).wait()

"""Write down what the API shows of nodes and their pods, and when: what an operator could have known at each moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from typing import Any

from rig.api import Api, Json

_PATHS = {
    "Pod": "/api/v1/pods",
    "Node": "/api/v1/nodes",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases",
}


class Recorder:
    """Watches pods, nodes and the nodes' leases of a cluster for ``seconds``, from the moment it is made.

    Each step is ``{"t": seconds since `began`, "kind": ..., "type": ADDED | MODIFIED | DELETED, "object": ...}``; the
    objects have only what tells of an end, and a change of anything else is no step.
    """

    def __init__(self, api: Api, *, seconds: int, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.began = clock()
        self._steps: list[Json] = []
        self._seen: dict[tuple[str, str], Json] = {}
        self._failures: list[Exception] = []
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._follow, args=(api, kind, path, seconds), daemon=True)
            for kind, path in _PATHS.items()
        ]
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        """Wait until the time is over; raises what a watch ended of before."""
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def steps(self, *, node: str, pods: Collection[str] | None = None) -> list[Json]:
        """Return the steps so far of a node, its lease, and its pods of those names (all, for None)."""
        with self._lock:
            return [step for step in self._steps if _is_of(step, node, pods)]

    def _follow(self, api: Api, kind: str, path: str, seconds: int) -> None:
        try:
            for event in api.watch(path, seconds=seconds):
                self._note(kind, event["type"], projected(kind, event["object"]))
        except Exception as error:
            self._failures.append(error)

    def _note(self, kind: str, change: str, shown: Json) -> None:
        key = (kind, f"{shown['metadata'].get('namespace', '')}/{shown['metadata']['name']}")
        with self._lock:
            if change == "MODIFIED" and self._seen.get(key) == shown:
                return
            self._seen[key] = shown
            at = round(self._clock() - self.began, 1)
            self._steps.append({"t": at, "kind": kind, "type": change, "object": shown})


def projected(kind: str, found: Json) -> Json:
    """Return what of an object tells of an end."""
    metadata, spec, status = found["metadata"], found.get("spec") or {}, found.get("status") or {}
    if kind == "Lease":
        return {"metadata": _picked(metadata, "name"), "spec": _picked(spec, "renewTime")}
    if kind == "Node":
        ready = [each for each in status.get("conditions") or () if each["type"] == "Ready"]
        return {
            "metadata": _picked(metadata, "name", "uid", "deletionTimestamp"),
            "spec": {
                **_picked(spec, "unschedulable"),
                "taints": [_picked(each, "key", "value", "effect") for each in spec.get("taints") or ()],
            },
            "status": {
                "conditions": [
                    _picked(each, "type", "status", "reason", "message", "lastTransitionTime") for each in ready
                ],
                "nodeInfo": _picked(status.get("nodeInfo") or {}, "bootID"),
            },
        }
    kept = (
        "namespace",
        "name",
        "uid",
        "labels",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    )
    conditions = [each for each in status.get("conditions") or () if each["type"] == "DisruptionTarget"]
    return {
        "metadata": _picked(metadata, *kept),
        "spec": {
            **_picked(spec, "nodeName"),
            "initContainers": [_picked(each, "name", "restartPolicy") for each in spec.get("initContainers") or ()],
            "containers": [_picked(each, "name", "image") for each in spec["containers"]],
        },
        "status": {
            **_picked(status, "phase", "reason", "message"),
            "conditions": [_picked(each, "type", "status", "reason", "message") for each in conditions],
            "initContainerStatuses": [_container(each) for each in status.get("initContainerStatuses") or ()],
            "containerStatuses": [_container(each) for each in status.get("containerStatuses") or ()],
        },
    }


def _container(status: Json) -> Json:
    told = ("exitCode", "reason", "message", "startedAt", "finishedAt")
    states = {
        place: {state: {name: said[name] for name in told if name in said} for state, said in status[place].items()}
        for place in ("state", "lastState")
        if status.get(place)
    }
    return {**_picked(status, "name", "restartCount"), **states}


def _picked(found: Json, *names: str) -> dict[str, Any]:
    return {name: found[name] for name in names if found.get(name) not in (None, {}, [])}


def _is_of(step: Json, node: str, pods: Collection[str] | None) -> bool:
    shown = step["object"]
    if step["kind"] != "Pod":
        return bool(shown["metadata"]["name"] == node)
    if pods is not None:
        return shown["metadata"]["name"] in pods
    return bool(shown["spec"].get("nodeName") == node)

"""A sweep as a person sees it: applied, looked at, deleted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from fire.api import KeptApi
from rig.api import ApiError, wait_until

NAME = "lr"
SHARDS = 2
ITEMS = 6
_WAIT_SECONDS = 60.0
_OURS = "labelSelector=resumable.dev%2Fsweep"


def sweep_body(spec: Mapping[str, Any], *, shards: int, items: int) -> dict[str, Any]:
    """Return the sweep that is played, with the fields in `spec` instead of the usual ones."""
    return {
        "apiVersion": "resumable.dev/v1alpha1",
        "kind": "ResumableSweep",
        "metadata": {"name": NAME},
        "spec": {
            "shards": shards,
            "items": {"list": [f"item-{number}" for number in range(items)]},
            "checkpoint": {"url": "gs://bucket/sweeps", "file": "results.jsonl"},
            "template": {"spec": {"containers": [{"name": "main", "image": "main:test"}]}},
            **spec,
        },
    }


class Sweep:
    """The sweep of a namespace; `clue` is asked for what may explain why something waited for never came."""

    def __init__(self, api: KeptApi, namespace: str, *, clue: Callable[[], str] = lambda: "") -> None:
        self.api = api
        self.namespace = namespace
        self._clue = clue

    @property
    def path(self) -> str:
        """Path of the sweep."""
        return f"{self._all}/{NAME}"

    @property
    def _all(self) -> str:
        return f"/apis/resumable.dev/v1alpha1/namespaces/{self.namespace}/resumablesweeps"

    def apply(self, **spec: Any) -> dict[str, Any]:
        """Create it, with other fields of its specification than usual where they are given."""
        applied: dict[str, Any] = self.api.create(self._all, sweep_body(spec, shards=SHARDS, items=ITEMS))
        return applied

    def change(self, **spec: Any) -> None:
        """Change fields of its specification."""
        self.api.patch(self.path, {"spec": spec})

    def status(self) -> dict[str, Any]:
        """Return its status, {} where it has none."""
        status: dict[str, Any] = self.api.get(self.path).get("status") or {}
        return status

    def begin_deletion(self) -> None:
        """Delete it."""
        self.api.delete(self.path)

    def delete(self) -> None:
        """Delete it, and wait until nothing of it is left."""
        self.begin_deletion()
        self.wait(lambda: not self.leftovers(), "the sweep and all of it to be gone")

    def leftovers(self) -> list[str]:
        """Return what there is of it: pods, ConfigMaps, and itself."""
        found = [
            *(("pod", pod) for pod in self.pods()),
            *(("ConfigMap", each) for each in self.api.get(f"{self._core}/configmaps?{_OURS}")["items"]),
            *(("sweep", each) for each in self.api.get(self._all)["items"]),
        ]
        return [f"{kind} {entry['metadata']['name']}" for kind, entry in found]

    def pods(self) -> list[dict[str, Any]]:
        """Return its pods."""
        listed: list[dict[str, Any]] = self.api.get(f"{self._core}/pods?{_OURS}")["items"]
        return listed

    @property
    def _core(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}"

    def wait(self, condition: Callable[[], Any], what: str, *, seconds: float = _WAIT_SECONDS) -> None:
        """Wait until `condition` holds; an answer of the API server that is an error is none."""

        whole = f"{self.namespace}: {what}"
        wait_until(lambda: self.holds(condition), what=whole, seconds=seconds, every=0.05, clue=self.told)

    def holds(self, condition: Callable[[], Any]) -> bool:
        """Return whether `condition` holds; of a sweep that is not there nothing does."""
        try:
            return bool(condition())
        except ApiError as error:
            if error.status == 404:
                return False
            raise

    def progress(self) -> list[object]:
        """Return what changes whenever anything comes nearer to its end; a status may be written anew for ever."""
        came: list[object] = []
        for pod in self.pods():
            metadata, status = pod["metadata"], pod.get("status") or {}
            states = [each["state"] for each in status.get("containerStatuses") or ()]
            ended = sum("terminated" in state for state in states)
            came.append((metadata["uid"], "deletionTimestamp" in metadata, status.get("phase"), ended))
        for sweep in self.api.get(self._all)["items"]:
            metadata, status = sweep["metadata"], sweep.get("status") or {}
            said = [status.get(name) for name in ("phase", "attempts", "done", "reclaims", "shards")]
            came.append((metadata["uid"], metadata["generation"], "deletionTimestamp" in metadata, said))
        return came

    def told(self) -> str:
        """Return what may explain why something never came."""
        try:
            status = self.status()
        except ApiError as error:
            return f"{error}; {self._clue()}"
        told = {name: status.get(name) for name in ("phase", "done", "attempts", "shardTable", "conditions")}
        return f"{json.dumps(told)}; {self._clue()}"

"""A sweep as a person sees it: applied, looked at, deleted."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from rig.api import Api, ApiError, wait_until

NAME = "lr"
SHARDS = 2
ITEMS = 6
_WAIT_SECONDS = 60.0


class Sweep:
    """The sweep of a namespace; `clue` is asked for what may explain why something waited for never came."""

    def __init__(self, api: Api, namespace: str, *, clue: Callable[[], str] = lambda: "") -> None:
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
        body = {
            "apiVersion": "resumable.dev/v1alpha1",
            "kind": "ResumableSweep",
            "metadata": {"name": NAME},
            "spec": {
                "shards": SHARDS,
                "items": {"list": [f"item-{number}" for number in range(ITEMS)]},
                "checkpoint": {"url": "gs://bucket/sweeps", "file": "results.jsonl"},
                "template": {"spec": {"containers": [{"name": "main", "image": "main:test"}]}},
                **spec,
            },
        }
        applied: dict[str, Any] = self.api.create(self._all, body)
        return applied

    def change(self, **spec: Any) -> None:
        """Change fields of its specification."""
        self.api.patch(self.path, {"spec": spec})

    def status(self) -> dict[str, Any]:
        """Return its status, {} where it has none."""
        status: dict[str, Any] = self.api.get(self.path).get("status") or {}
        return status

    def delete(self) -> None:
        """Delete it, and wait until nothing of it is left."""
        self.api.delete(self.path)
        self.wait(lambda: not self.leftovers(), "the sweep and all of it to be gone")

    def leftovers(self) -> list[str]:
        """Return what there is of it: pods, ConfigMaps, and itself."""
        core = f"/api/v1/namespaces/{self.namespace}"
        selector = "?labelSelector=resumable.dev%2Fsweep"
        found = [(kind, self.api.get(f"{core}/{kind}{selector}")["items"]) for kind in ("pods", "configmaps")]
        found.append(("sweep", self.api.get(self._all)["items"]))
        return [f"{kind} {entry['metadata']['name']}" for kind, entries in found for entry in entries]

    def wait(self, condition: Callable[[], Any], what: str, *, seconds: float = _WAIT_SECONDS) -> None:
        """Wait until `condition` holds; an answer of the API server that is an error is none."""

        def holds() -> bool:
            try:
                return bool(condition())
            except ApiError as error:
                if error.status == 404:
                    return False
                raise

        wait_until(holds, what=f"{self.namespace}: {what}", seconds=seconds, every=0.05, clue=self._told)

    def _told(self) -> str:
        try:
            status = self.status()
        except ApiError as error:
            return f"{error}; {self._clue()}"
        told = {name: status.get(name) for name in ("phase", "done", "attempts", "shardTable", "conditions")}
        return f"{json.dumps(told)}; {self._clue()}"

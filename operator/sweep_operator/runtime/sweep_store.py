"""The sweeps as last seen: from the watch, or from the answer to an own write, whichever is newer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sweep_operator.runtime.work_queue import Key, WorkQueue


class SweepStore:
    """Raw objects by key.

    A key is queued only when something that a person can change has changed: the operator's own status writes come
    back as events too, and must not wake it. `forget` is called with the UID of a sweep that is gone.
    """

    def __init__(self, queue: WorkQueue, *, forget: Sequence[Callable[[str], None]] = ()) -> None:
        self._queue = queue
        self._forget = forget
        self._sweeps: dict[Key, dict[str, Any]] = {}

    def get(self, key: Key) -> dict[str, Any] | None:
        """Return the newest known object, None where there is none."""
        return self._sweeps.get(key)

    def all_keys(self) -> list[Key]:
        """Return the keys of all sweeps."""
        return list(self._sweeps)

    def seen(self, sweep: dict[str, Any]) -> None:
        """Take in an object from the watch."""
        key = key_of(sweep)
        old = self._sweeps.get(key)
        self.written(sweep)
        if old is None or _wishes(old) != _wishes(sweep):
            self._queue.add(key)

    def written(self, sweep: dict[str, Any]) -> None:
        """Take in an object that the API server has just answered with."""
        key = key_of(sweep)
        old = self._sweeps.get(key)
        # Versions of one resource can be compared as numbers (promised since Kubernetes 1.35, true of etcd before).
        if old is None or old["metadata"]["uid"] != sweep["metadata"]["uid"] or _version(sweep) >= _version(old):
            self._sweeps[key] = sweep

    def gone(self, sweep: dict[str, Any]) -> None:
        """Drop a sweep that does not exist any more."""
        key = key_of(sweep)
        old = self._sweeps.get(key)
        if old is not None and old["metadata"]["uid"] == sweep["metadata"]["uid"]:
            del self._sweeps[key]
            self._queue.forget(key)
            for forget in self._forget:
                forget(sweep["metadata"]["uid"])


def key_of(sweep: dict[str, Any]) -> Key:
    """Return the key of a sweep."""
    return sweep["metadata"]["namespace"], sweep["metadata"]["name"]


def _version(sweep: dict[str, Any]) -> int:
    return int(sweep["metadata"]["resourceVersion"])


def _wishes(sweep: dict[str, Any]) -> tuple[object, ...]:
    metadata = sweep["metadata"]
    return metadata["uid"], metadata.get("generation"), metadata.get("deletionTimestamp"), metadata.get("annotations")

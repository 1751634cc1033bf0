"""The sweeps as last seen: from the watch, or from the answer to an own write, whichever is newer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from sweep_operator.model.snapshot import Sweep
from sweep_operator.runtime.translation import sweep_of
from sweep_operator.runtime.work_queue import Key, WorkQueue


class SweepStore:
    """Raw objects by key.

    A key is queued only when something that a person can change has changed: the operator's own status writes come
    back as events too, and must not wake it. `forget` is called with the UID of a sweep that is gone: at once, and
    again before the next look, for a look that is under way may note something yet.
    """

    def __init__(self, queue: WorkQueue, *, forget: Sequence[Callable[[str], None]] = ()) -> None:
        self._queue = queue
        self._forget = list(forget)
        self._sweeps: dict[Key, dict[str, Any]] = {}
        self._read: dict[Key, Sweep] = {}
        self._watched: dict[Key, int] = {}
        self._ended: dict[Key, list[str]] = defaultdict(list)

    def call_when_gone(self, forget: Callable[[str], None]) -> None:
        """Have `forget` called too."""
        self._forget.append(forget)

    def get(self, key: Key) -> dict[str, Any] | None:
        """Return the newest known object, None where there is none."""
        return self._sweeps.get(key)

    def sweep(self, key: Key) -> Sweep | None:
        """Return the newest known object as decisions see it; a large one takes a while to read, so it is kept.

        Raises
        ------
        ValueError
            Where the object is not a sweep this version understands.
        """
        manifest = self._sweeps.get(key)
        if manifest is None:
            return None
        known = self._read.get(key)
        if known is None or known.manifest is not manifest:
            known = self._read[key] = sweep_of(manifest)
        return known

    def all_keys(self) -> list[Key]:
        """Return the keys of all sweeps."""
        return list(self._sweeps)

    def uids(self) -> dict[Key, str]:
        """Return the UID of each sweep."""
        return {key: sweep["metadata"]["uid"] for key, sweep in self._sweeps.items()}

    def watched_version(self, key: Key) -> int:
        """Return the newest version of a sweep that the watch has brought, 0 where it has brought none."""
        return self._watched.get(key, 0)

    def seen(self, sweep: dict[str, Any]) -> None:
        """Take in an object from the watch."""
        key = key_of(sweep)
        old = self._sweeps.get(key)
        self.written(sweep)
        # Only now: the end of an earlier one of this name takes what was noted of it along.
        self._watched[key] = max(_version(sweep), self._watched.get(key, 0))
        if old is None or _wishes(old) != _wishes(sweep):
            self._queue.add(key)

    def written(self, sweep: dict[str, Any]) -> None:
        """Take in an object that the API server has just answered with."""
        key = key_of(sweep)
        old = self._sweeps.get(key)
        # Versions of one resource can be compared as numbers (promised since Kubernetes 1.35, true of etcd before).
        if old is not None and _version(sweep) < _version(old):
            return
        if old is not None and old["metadata"]["uid"] != sweep["metadata"]["uid"]:
            # Another one of the same name: the watch has missed the end of the first.
            self.gone(old)
        self._sweeps[key] = sweep

    def compare(self, before: Mapping[Key, str], there: Collection[str]) -> None:
        """Drop the sweeps of `before` (their UIDs) that are not among those which are `there`.

        The watch tells of no deletion that happened while it was interrupted. A sweep that has got the name of one of
        them since is younger than the list.
        """
        for key, uid in before.items():
            sweep = self._sweeps.get(key)
            if sweep is not None and sweep["metadata"]["uid"] == uid and uid not in there:
                self.gone(sweep)

    def gone(self, sweep: dict[str, Any]) -> None:
        """Drop a sweep that does not exist any more."""
        key = key_of(sweep)
        old = self._sweeps.get(key)
        if old is not None and old["metadata"]["uid"] == sweep["metadata"]["uid"]:
            del self._sweeps[key]
            self._read.pop(key, None)
            self._watched.pop(key, None)
            self._queue.forget(key)
            self._queue.add(key)
            if self._queue.is_open:
                # Else no look is ever under way, and none would come to drop this again.
                self._ended[key].append(sweep["metadata"]["uid"])
            self._forget_all([sweep["metadata"]["uid"]])

    def settle(self, key: Key) -> None:
        """Drop what looks have noted of sweeps of this name after their end; to be called when none is under way."""
        self._forget_all(self._ended.pop(key, []))

    def _forget_all(self, uids: Iterable[str]) -> None:
        for uid in uids:
            for forget in self._forget:
                forget(uid)


def key_of(sweep: dict[str, Any]) -> Key:
    """Return the key of a sweep."""
    return sweep["metadata"]["namespace"], sweep["metadata"]["name"]


def _version(sweep: dict[str, Any]) -> int:
    return int(sweep["metadata"]["resourceVersion"])


def _wishes(sweep: dict[str, Any]) -> tuple[object, ...]:
    metadata = sweep["metadata"]
    return metadata["uid"], metadata.get("generation"), metadata.get("deletionTimestamp"), metadata.get("annotations")

"""Which pods belong to which sweep, and which sweeps have pods on which node."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from sweep_operator.model.observed import NodeView, PodView, Role
from sweep_operator.runtime.work_queue import IDLE_SECONDS, Key, WorkQueue

PATIENCE_PER_POD = 0.0002
LONGEST_PATIENCE_SECONDS = 2.0


class PodIndex:
    """Pods by sweep and by node, kept by the informers' callbacks; every change queues the sweeps it concerns.

    Nothing follows from it that a pod goes its way, and little from what becomes of one that has ended. Where a sweep
    has thousands of them, the look at such news waits a while (`PATIENCE_PER_POD`, in seconds): a pod that is lost must
    not wait for the end of that look.
    """

    def __init__(self, queue: WorkQueue) -> None:
        self._queue = queue
        self._by_sweep: dict[Key, dict[str, PodView]] = defaultdict(dict)
        self._by_uid: dict[str, PodView] = {}
        self._nodes: dict[str, dict[str, Key]] = defaultdict(dict)

    def pods_of(self, key: Key, sweep_uid: str) -> tuple[PodView, ...]:
        """Return the pods of one sweep; those of an earlier one of the same name are left out."""
        return tuple(pod for pod in self._by_sweep.get(key, {}).values() if pod.sweep_uid == sweep_uid)

    def all_keys(self) -> list[Key]:
        """Return the keys of the sweeps that have pods."""
        return list(self._by_sweep)

    def running_attempts(self) -> Iterator[PodView]:
        """Yield the pods of attempts whose program runs."""
        for pod in self._by_uid.values():
            if pod.role is Role.ATTEMPT and pod.is_running:
                yield pod

    def by_uid(self, uid: str) -> PodView | None:
        """Return one pod by its UID, None where it is not known."""
        return self._by_uid.get(uid)

    def __len__(self) -> int:
        """Return how many pods there are."""
        return len(self._by_uid)

    def pod_changed(self, old: PodView | None, new: PodView | None) -> None:
        """Take in a pod that came, changed or went."""
        if old is not None:
            self._by_uid.pop(old.uid, None)
            self._by_sweep[(old.namespace, old.sweep)].pop(old.name, None)
            if not self._by_sweep[(old.namespace, old.sweep)]:
                del self._by_sweep[(old.namespace, old.sweep)]
            if old.node:
                self._nodes[old.node].pop(old.uid, None)
                if not self._nodes[old.node]:
                    del self._nodes[old.node]
        if new is not None:
            self._by_uid[new.uid] = new
            self._by_sweep[(new.namespace, new.sweep)][new.name] = new
            if new.node:
                self._nodes[new.node][new.uid] = (new.namespace, new.sweep)
        can_wait = _can_wait(old, new)
        for pod in (old, new):
            if pod is not None:
                key = (pod.namespace, pod.sweep)
                self._queue.add(key, delay=self._patience(key) if can_wait else None)

    def _patience(self, key: Key) -> float | None:
        """Return how long a look may wait (seconds), None where it is worth nothing to wait longer than usual."""
        seconds = min(LONGEST_PATIENCE_SECONDS, PATIENCE_PER_POD * len(self._by_sweep.get(key, ())))
        return seconds if seconds > IDLE_SECONDS else None

    def node_changed(self, old: NodeView | None, new: NodeView | None) -> None:
        """Take in a node that came, changed or went."""
        name = (new or old).name  # type: ignore[union-attr]  # one of the two is there
        for key in set(self._nodes.get(name, {}).values()):
            self._queue.add(key)


def _can_wait(old: PodView | None, new: PodView | None) -> bool:
    has_ended = old is not None and old.is_terminal and old.role is Role.ATTEMPT
    return has_ended or (new is not None and new.goes_its_way)

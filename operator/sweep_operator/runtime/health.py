"""Whether the operator is alive, and whether it is in a state to work."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from sweep_operator.kube.informer import Informer
from sweep_operator.runtime.work_queue import WorkQueue

_SILENT_WATCH_SECONDS = 240.0
_STUCK_QUEUE_SECONDS = 60.0


class Health:
    """Looks at what the operator rests upon. `clock` is monotonic, in seconds."""

    def __init__(
        self, *, queue: WorkQueue, informers: Sequence[Informer[Any]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._queue = queue
        self._informers = informers
        self._clock = clock

    def complaints(self) -> list[str]:
        """Return what is wrong, as sentences; empty where the operator is ready."""
        complaints = []
        if not all(informer.synced for informer in self._informers):
            complaints.append("the first listing of pods and nodes is not done")
        else:
            silence = max(self._clock() - informer.heard_at for informer in self._informers)
            if silence > _SILENT_WATCH_SECONDS:
                complaints.append(f"the API server has been silent for {silence:.0f} s")
        overdue = self._queue.oldest_due_seconds()
        if overdue > _STUCK_QUEUE_SECONDS:
            complaints.append(f"a sweep has been waiting for a look for {overdue:.0f} s")
        return complaints

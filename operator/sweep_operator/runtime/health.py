"""Whether the operator is alive, and whether it is in a state to work."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from sweep_operator.kube.informer import Informer
from sweep_operator.runtime.election import Leadership
from sweep_operator.runtime.loop_lag import WINDOW_SECONDS, LoopLag
from sweep_operator.runtime.resync import Resync
from sweep_operator.runtime.work_queue import WorkQueue

SILENT_SECONDS = 180.0
"""A watch that brings nothing is opened anew after two minutes, and a listing after that is an answer, too."""
FAILING_SECONDS = 60.0
_BEHIND_SECONDS = 90.0
_DEAF_SECONDS = 600.0
"""For so long the watch of the sweeps may find its way back by itself."""
_STUCK_QUEUE_SECONDS = 60.0
_LATE_SECONDS = 5.0


class Health:
    """Looks at what the operator rests upon. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        *,
        queue: WorkQueue,
        informers: Sequence[Informer[Any]],
        resync: Resync,
        lag: LoopLag,
        leadership: Leadership,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._informers = informers
        self._resync = resync
        self._lag = lag
        self._leadership = leadership
        self._clock = clock

    def complaints(self) -> list[str]:
        """Return what keeps the operator from its work, as sentences; empty where it is ready, to stand in too."""
        complaints = [*self._of_pods_and_nodes(), *self._of_sweeps()]
        overdue = self._queue.oldest_due_seconds()
        # Whoever only stands in looks at nothing.
        if self._leadership.is_held and overdue > _STUCK_QUEUE_SECONDS:
            complaints.append(f"a sweep has been waiting for a look for {overdue:.0f} s")
        late = self._lag.worst_seconds()
        if late > _LATE_SECONDS:
            complaints.append(f"within the last {WINDOW_SECONDS:.0f} s nothing was done for {late:.0f} s")
        if self._leadership.trouble:
            complaints.append(self._leadership.trouble)
        return complaints

    def defects(self) -> list[str]:
        """Return what nothing but a new process mends, as sentences; an API server that is away is none of that.

        A loop that is stuck does not answer at all.
        """
        behind = self._resync.behind_seconds()
        if behind > _DEAF_SECONDS and self._resync.failing is None:
            return [f"the watch of sweeps has not brought for {behind:.0f} s what listing them shows"]
        return []

    def _of_pods_and_nodes(self) -> list[str]:
        complaints = []
        now = self._clock()
        for informer in self._informers:
            silence = now - informer.heard_at
            failing = informer.failing
            why = f": {failing[1]}" if failing else ""
            if not informer.synced:
                complaints.append(f"the first listing of {informer.path} is not done{why}")
            elif silence > (FAILING_SECONDS if failing else SILENT_SECONDS):
                complaints.append(f"the API server has been silent about {informer.path} for {silence:.0f} s{why}")
        return complaints

    def _of_sweeps(self) -> list[str]:
        failing, behind = self._resync.failing, self._resync.behind_seconds()
        if failing is not None and self._clock() - failing[0] > FAILING_SECONDS:
            return [f"the sweeps could not be listed for {self._clock() - failing[0]:.0f} s: {failing[1]}"]
        if behind > _BEHIND_SECONDS:
            return [f"the watch of sweeps is {behind:.0f} s behind what listing them shows"]
        return []

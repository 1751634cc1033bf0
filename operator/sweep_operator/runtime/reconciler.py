"""One look at one sweep: gather, decide, execute."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sweep_operator.decide import decide
from sweep_operator.kube.client import ApiError
from sweep_operator.runtime.beside import beside_the_loop
from sweep_operator.runtime.execute import Executor, StatusConflict
from sweep_operator.runtime.gather import Gatherer
from sweep_operator.runtime.metrics import Metrics
from sweep_operator.runtime.work_queue import Key, WorkQueue

logger = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 60.0


class Reconciler:
    """Works on keys of the queue. `clock` gives Unix seconds."""

    def __init__(
        self,
        *,
        gatherer: Gatherer,
        executor: Executor,
        queue: WorkQueue,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._gatherer = gatherer
        self._executor = executor
        self._queue = queue
        self._metrics = metrics
        self._clock = clock
        self._failures: dict[Key, int] = {}

    @property
    def failing(self) -> int:
        """How many sweeps' last look has failed."""
        return len(self._failures)

    async def reconcile(self, key: Key) -> None:
        """Look at one sweep; whatever goes wrong is logged and tried again after a growing pause."""
        with self._metrics.reconcile_seconds.time():
            result = await self._attempt(key)
        self._metrics.reconciles.labels(result=result).inc()
        if result in ("done", "gone"):
            self._failures.pop(key, None)
        elif result == "conflict":
            self._queue.add(key)
        else:
            failures = self._failures.get(key, 0) + 1
            self._failures[key] = failures
            pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 10))
            self._queue.add(key, delay=pause)

    async def _attempt(self, key: Key) -> str:
        began = self._clock()
        try:
            snapshot = await self._gatherer.gather(key)
            if snapshot is None:
                return "gone"
            now = self._clock()
            plan = await beside_the_loop(snapshot.sweep.spec.shards, decide, snapshot, now)
            writable_at = await self._executor.execute(snapshot, plan, spent=self._clock() - began)
            looks = [at for at in (plan.look_again_at, writable_at) if at is not None]
            if looks:
                self._queue.add(key, delay=max(0.05, min(looks) - now))
            return "done"
        except StatusConflict as conflict:
            logger.info("%s/%s: %s", *key, conflict)
            return "conflict"
        except ApiError as error:
            logger.warning("%s/%s: %s", *key, error)
            return "api-error"
        except Exception:
            # A defect on one sweep must not stop the others, nor this one for ever.
            logger.exception("%s/%s: a look failed", *key)
            return "error"

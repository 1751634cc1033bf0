"""The answer to whoever scrapes: gauges are looked up only then, so that no change of theirs can be missed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import generate_latest

from sweep_operator.decide.sidecars import STALE_AFTER_SECONDS
from sweep_operator.kube.informer import Informer
from sweep_operator.model.shard_record import ShardState
from sweep_operator.model.snapshot import Sweep
from sweep_operator.runtime.election import Leadership
from sweep_operator.runtime.health import Health
from sweep_operator.runtime.loop_lag import LoopLag
from sweep_operator.runtime.metrics.counted import PHASES, UNREADABLE, Metrics, state_word
from sweep_operator.runtime.metrics.figures import budget_shares, is_unfinished
from sweep_operator.runtime.metrics.requests import resource_of
from sweep_operator.runtime.pod_index import PodIndex
from sweep_operator.runtime.reconciler import Reconciler
from sweep_operator.runtime.report_board import ReportBoard
from sweep_operator.runtime.resync import Resync
from sweep_operator.runtime.sweep_store import SweepStore
from sweep_operator.runtime.tokens import TokenReviewer
from sweep_operator.runtime.work_queue import WorkQueue

SWEEPS_SHOWN = 200
"""So many sweeps have series of their own at most, the oldest of those that are unfinished."""


class Exposition:
    """Looks at what the operator holds. `clock` is monotonic, `wall` gives Unix seconds.

    `is_reported_to` is whether pods are told to report at all.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        sweeps: SweepStore,
        pods: PodIndex,
        reports: ReportBoard,
        tokens: TokenReviewer,
        queue: WorkQueue,
        reconciler: Reconciler,
        informers: Sequence[Informer[Any]],
        resync: Resync,
        lag: LoopLag,
        leadership: Leadership,
        health: Health,
        is_reported_to: bool,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._metrics = metrics
        self._sweeps = sweeps
        self._pods = pods
        self._reports = reports
        self._tokens = tokens
        self._queue = queue
        self._reconciler = reconciler
        self._informers = informers
        self._resync = resync
        self._lag = lag
        self._leadership = leadership
        self._health = health
        self._is_reported_to = is_reported_to
        self._clock = clock
        self._wall = wall

    def text(self) -> bytes:
        """Return all metrics as they are now, in Prometheus' text format."""
        decides = self._leadership.is_held
        self._look_at_process(decides=decides)
        self._look_at_watches()
        self._look_at_queue(decides=decides)
        self._look_at_attempts(decides=decides)
        self._look_at_sweeps(decides=decides)
        return generate_latest(self._metrics.registry)

    def _look_at_process(self, *, decides: bool) -> None:
        metrics = self._metrics
        metrics.leader.set(decides)
        metrics.loop_lag_seconds.set(self._lag.worst_seconds())
        metrics.ready.set(not self._health.complaints())
        # Whoever only stands in does not try whether it may.
        metrics.takes_reports.set(decides and self._is_reported_to and not self._tokens.forbidden)

    def _look_at_watches(self) -> None:
        metrics, now = self._metrics, self._clock()
        metrics.sweeps_behind_seconds.set(self._resync.behind_seconds())
        for resource in {resource_of(informer.path) for informer in self._informers}:
            heard_at = min(each.heard_at for each in self._informers if resource_of(each.path) == resource)
            metrics.watch_age_seconds.labels(resource=resource).set(now - heard_at)

    def _look_at_queue(self, *, decides: bool) -> None:
        metrics = self._metrics
        # Whoever only stands in works on nothing: its queue is nobody's trouble.
        metrics.queue_length.set(self._queue.due() if decides else 0)
        metrics.queue_age_seconds.set(self._queue.oldest_due_seconds() if decides else 0)
        metrics.failing.set(self._reconciler.failing)

    def _look_at_attempts(self, *, decides: bool) -> None:
        self._metrics.pods.set(len(self._pods))
        self._metrics.attempts.clear()
        if not decides:
            # Reports are made to the one that decides.
            return
        stale = self._wall() - STALE_AFTER_SECONDS
        heard: Counter[str] = Counter(yes=0, no=0)
        reports: dict[str, dict[int, float]] = {}
        for pod in self._pods.running_attempts():
            if pod.sweep_uid not in reports:
                reports[pod.sweep_uid] = self._reports.heard_at(pod.sweep_uid)
            heard["yes" if reports[pod.sweep_uid].get(pod.attempt, 0.0) > stale else "no"] += 1
        for answer, number in heard.items():
            self._metrics.attempts.labels(heard=answer).set(number)

    def _look_at_sweeps(self, *, decides: bool) -> None:
        metrics = self._metrics
        for gauge in (metrics.sweeps, metrics.shards, *metrics.of_sweeps):
            gauge.clear()
        metrics.sweeps_left_out.set(0)
        if not decides:
            # Told once: a sum over all operators is to be the number of sweeps.
            return
        phases: Counter[str] = Counter(dict.fromkeys(PHASES, 0))
        states: Counter[ShardState] = Counter(dict.fromkeys(ShardState, 0))
        unfinished = []
        for key in self._sweeps.all_keys():
            try:
                sweep = self._sweeps.sweep(key)
            except ValueError:
                phases[UNREADABLE] += 1
                continue
            if sweep is None:
                continue
            phases[sweep.status.phase] += 1
            if is_unfinished(sweep):
                unfinished.append(sweep)
                states.update(record.state for record in sweep.status.records)
        for phase, number in phases.items():
            metrics.sweeps.labels(phase=phase).set(number)
        for state, number in states.items():
            metrics.shards.labels(state=state_word(state)).set(number)
        unfinished.sort(key=_age_order)
        metrics.sweeps_left_out.set(max(0, len(unfinished) - SWEEPS_SHOWN))
        self._show(unfinished[:SWEEPS_SHOWN])

    def _show(self, sweeps: Sequence[Sweep]) -> None:
        metrics, now = self._metrics, self._wall()
        for sweep in sweeps:
            whose = {"sweep_namespace": sweep.namespace, "sweep": sweep.name}
            if sweep.status.items_total is not None:
                metrics.items.labels(**whose).set(sweep.status.items_total)
            metrics.items_done.labels(**whose).set(sweep.status.done)
            metrics.running.labels(**whose).set(sweep.status.running)
            for condition in sweep.status.conditions:
                if condition.type == "Healthy" and not condition.status:
                    metrics.unhealthy.labels(**whose, reason=condition.reason).set(1)
            for budget, share in budget_shares(sweep, now=now).items():
                metrics.budget_spent.labels(**whose, budget=budget).set(share)


def _age_order(sweep: Sweep) -> tuple[str, str]:
    return str(sweep.manifest["metadata"].get("creationTimestamp", "")), sweep.uid

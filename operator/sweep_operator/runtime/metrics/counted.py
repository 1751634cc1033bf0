"""All metrics of the operator: what is counted where it happens, and what is looked up when somebody asks."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable

from prometheus_client import ProcessCollector

from resumable_sweep.contract.report import NoticeKind
from sweep_operator.api import Phase
from sweep_operator.model.observed import Role
from sweep_operator.model.shard_record import ShardState
from sweep_operator.model.signals import Signal
from sweep_operator.runtime.metrics.families import Families, Family
from sweep_operator.runtime.metrics.figures import BUDGETS, ENDED
from sweep_operator.runtime.metrics.first_items import FirstItems
from sweep_operator.runtime.metrics.requests import code_of, resource_of, verb_of
from sweep_operator.version import VERSION

UNREADABLE = "Unreadable"
"""Stands among the phases for sweeps that this version does not understand."""

PHASES = (*(phase.value for phase in Phase), UNREADABLE)

_RELAUNCH_BUCKETS = (0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600)
_ITEM_BUCKETS = (1, 3, 10, 30, 60, 120, 300, 600, 1800, 3600)
_CALL_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LOOK_BUCKETS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
_STATUS_BUCKETS = (1024, 4096, 16_384, 65_536, 262_144, 524_288, 1_048_576)

_CODES = "HTTP status code, `none` where there was no answer"
_VERBS = "`get`, `list`, `watch`, `create`, `dry-run`, `update`, `delete`"
_RESOURCES = "the resource's plural name, such as `pods` or `resumablesweeps/status`"
_OF_SWEEP = {"sweep_namespace": "the sweep's namespace", "sweep": "its name"}


class Metrics:
    """The operator's metrics in a registry of their own. The gauges are brought up to date by `Exposition`.

    `clock` gives Unix seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        families = Families()
        self.registry = families.registry
        self.families: list[Family] = families.declared
        ProcessCollector(registry=self.registry)
        self._declare_reclaims(families)
        self._declare_sweeps(families)
        self._declare_work(families)
        self._declare_api(families)
        self.first_items = FirstItems(self.first_item_seconds.observe, clock=clock)
        families.gauge(
            "build_info", "1; its labels tell which operator this is.", version="its version", python="Python's version"
        ).labels(version=VERSION, python=platform.python_version()).set(1)

    def observe_request(self, verb: str, path: str, status: int, seconds: float) -> None:
        """Count a request to the API server, as `KubeClient` tells of it."""
        labels = {"verb": verb_of(verb, path), "resource": resource_of(path)}
        self.api_requests.labels(**labels, code=code_of(status)).inc()
        if verb != "watch":
            self.api_request_seconds.labels(**labels).observe(seconds)

    def observe_watch_failure(self, path: str, status: int) -> None:
        """Count a listing or watch that has failed, as an `Informer` tells of it."""
        self.watch_failures.labels(resource=resource_of(path), code=code_of(status)).inc()

    def _declare_reclaims(self, families: Families) -> None:
        reclaims = tuple(signal.value for signal in Signal if signal.is_reclaim)
        others = tuple(each.value for each in Signal if each and each not in (*reclaims, Signal.STOPPED))
        self.reclaims = families.counter("reclaims_total", "Attempts taken away, by winning signal.", signal=reclaims)
        self.failures = families.counter(
            "failures_total",
            "Attempts that have ended without completing their shard, and were not taken away, by winning signal.",
            signal=others,
        )
        self.relaunch_seconds = families.histogram(
            "relaunch_seconds",
            "Time from the first sign of a reclaim, a hard notice too, to the creation of the replacement.",
            buckets=_RELAUNCH_BUCKETS,
        )
        self.first_item_seconds = families.histogram(
            "first_item_seconds",
            "Time from the first sign of a reclaim until the shard had stored an item that it had not before, as far "
            "as its items are counted.",
            buckets=_ITEM_BUCKETS,
        )
        self.notices = families.counter(
            "notices_total",
            "What clouds have announced to attempts.",
            kind=tuple(kind.value for kind in NoticeKind if kind),
        )
        self.false_alarms = families.counter(
            "false_alarms_total",
            "Attempts that were presumed dead because nothing was heard of them and their machine, and were not.",
        )

    def _declare_sweeps(self, families: Families) -> None:
        self.sweeps = families.gauge("sweeps", "Sweeps that exist.", phase=PHASES)
        self.sweeps_ended = families.counter("sweeps_ended_total", "Sweeps that have come to their end.", phase=ENDED)
        self.shards = families.gauge(
            "shards",
            "Shards of all sweeps that have not ended.",
            state=tuple(state_word(each) for each in ShardState),
        )
        self.pods = families.gauge("pods", "Pods of sweeps that exist.")
        self.attempts = families.gauge(
            "attempts",
            "Attempts whose program runs, by whether they have reported within the last 30 seconds.",
            heard=("yes", "no"),
        )
        self.items = families.gauge("items", "Items of an unfinished sweep, once it is known how many.", **_OF_SWEEP)
        self.items_done = families.gauge("items_done", "Items of an unfinished sweep that are durable.", **_OF_SWEEP)
        self.running = families.gauge(
            "running_attempts", "Attempts of an unfinished sweep whose program runs.", **_OF_SWEEP
        )
        self.unhealthy = families.gauge(
            "unhealthy",
            "1 for an unfinished sweep whose condition `Healthy` is false; absent where it is true.",
            **_OF_SWEEP,
            reason="the condition's",
        )
        self.budget_spent = families.gauge(
            "budget_spent_ratio",
            "What the shard that has spent most has spent of a budget: at 1 the next such end fails it. Only budgets "
            "of which something is spent.",
            **_OF_SWEEP,
            budget=BUDGETS,
        )
        self.of_sweeps = (self.items, self.items_done, self.running, self.unhealthy, self.budget_spent)
        """Those with series for each sweep."""
        self.sweeps_left_out = families.gauge(
            "sweeps_left_out", "Unfinished sweeps without series of their own, because there are too many."
        )

    def _declare_work(self, families: Families) -> None:
        self.reconciles = families.counter(
            "reconciles_total",
            "Looks at a sweep. All but `done` and `gone` are tried again.",
            result=("done", "gone", "conflict", "api-error", "error"),
        )
        self.reconcile_seconds = families.histogram(
            "reconcile_seconds", "Time that a look at a sweep took.", buckets=_LOOK_BUCKETS
        )
        self.failing = families.gauge("failing_sweeps", "Sweeps whose last look has failed and is tried again.")
        self.queue_length = families.gauge("queue_length", "Sweeps that are due for a look and wait for it.")
        self.queue_age_seconds = families.gauge(
            "queue_age_seconds", "For how long the sweep that waits longest has been due for a look."
        )
        self.queue_wait_seconds = families.histogram(
            "queue_wait_seconds", "Time between a look's being due and its beginning.", buckets=_LOOK_BUCKETS
        )
        self.reports = families.counter(
            "reports_total",
            "Reports that sidecars pushed; one that was brought to the operator that decides counts at both.",
            code="HTTP status code of the answer",
        )
        self.takes_reports = families.gauge(
            "takes_reports",
            "1 where this operator decides, pods are told to report, and their tokens may be reviewed, else 0.",
        )
        self.leader = families.gauge("leader", "1 where this operator decides, 0 where it stands in for another.")
        self.loop_lag_seconds = families.gauge(
            "loop_lag_seconds", "For how long nothing was done at worst, within the last 30 seconds."
        )
        self.ready = families.gauge("ready", "1 where `/readyz` has nothing to complain of, else 0.")

    def _declare_api(self, families: Families) -> None:
        self.api_requests = families.counter(
            "api_requests_total",
            "Requests to the API server.",
            verb=_VERBS,
            resource=_RESOURCES,
            code=_CODES,
        )
        self.api_request_seconds = families.histogram(
            "api_request_seconds",
            "Time until the API server had answered; watches are left out.",
            buckets=_CALL_BUCKETS,
            verb=_VERBS,
            resource=_RESOURCES,
        )
        self.status_bytes = families.histogram(
            "status_bytes", "Size of a sweep's status that was written, as JSON.", buckets=_STATUS_BUCKETS
        )
        self.pods_created = families.counter(
            "pods_created_total", "Pods that the operator has made.", role=tuple(role.value for role in Role)
        )
        self.pods_deleted = families.counter(
            "pods_deleted_total",
            "Pods whose deletion the operator has asked for.",
            role=tuple(role.value for role in Role),
        )
        self.refusals = families.counter(
            "refusals_total",
            "Pods and ConfigMaps that the platform has not let the operator make.",
            reason="see [pods that are not made](signals-and-conditions.md#conditions)",
        )
        self.watch_age_seconds = families.gauge(
            "watch_age_seconds",
            "Time since the API server has last said anything of a collection; the longest, where there are several.",
            resource=("nodes", "pods"),
        )
        self.sweeps_behind_seconds = families.gauge(
            "sweeps_behind_seconds", "For how long the watch of the sweeps has not brought what listing them shows."
        )
        self.watch_failures = families.counter(
            "watch_failures_total",
            "Listings and watches that have failed, so that all is listed anew. 410: the version is too old.",
            resource=("nodes", "pods"),
            code=_CODES,
        )


def state_word(state: ShardState) -> str:
    """Return how the metrics call a shard's state."""
    return state.name.lower()

"""What is told to whoever scrapes, of an operator whose parts are real and whose API server is not."""

from __future__ import annotations

from typing import Any

import pytest
from builders import NOW, ended, manifest, pod, record, report
from fake_api import FakeApi

from sweep_operator.kube import paths
from sweep_operator.kube.informer import Informer
from sweep_operator.model.shard_record import ShardRecord, ShardState, table_of
from sweep_operator.pods import names
from sweep_operator.runtime.election import Alone
from sweep_operator.runtime.health import Health
from sweep_operator.runtime.loop_lag import LoopLag
from sweep_operator.runtime.metrics import Metrics
from sweep_operator.runtime.metrics.exposition import SWEEPS_SHOWN, Exposition
from sweep_operator.runtime.pod_index import PodIndex
from sweep_operator.runtime.reconciler import Reconciler
from sweep_operator.runtime.report_board import ReportBoard
from sweep_operator.runtime.resync import Resync
from sweep_operator.runtime.sweep_store import SweepStore
from sweep_operator.runtime.tokens import TokenReviewer
from sweep_operator.runtime.work_queue import WorkQueue

KEY = ("ns", "lr")


class Failing:
    """A gatherer that has a defect."""

    async def gather(self, key: Any) -> None:
        raise RuntimeError("a defect")


class Operator:
    """All that is looked at, on a clock that is set; it decides unless told."""

    def __init__(self) -> None:
        self.now = 1000.0
        client: Any = FakeApi()
        self.metrics = Metrics()
        self.queue = WorkQueue(clock=self.clock, waited=self.metrics.queue_wait_seconds.observe)
        self.sweeps = SweepStore(self.queue)
        self.pods = PodIndex(self.queue)
        self.reports = ReportBoard(clock=lambda: NOW - 1000 + self.now)
        self.leadership = Alone()
        self.leadership.is_held = True
        self.resync = Resync(client, self.sweeps, self.queue, namespaces=(), clock=self.clock)
        self.api: FakeApi = client
        self.lag = LoopLag(clock=self.clock)
        self.informers: list[Informer[Any]] = [
            Informer(client, path, project=dict, changed=lambda old, new: None, clock=self.clock)
            for path in (paths.NODES, paths.pods("a"), paths.pods("b"))
        ]
        gatherer: Any = Failing()
        executor: Any = None
        self.reconciler = Reconciler(
            gatherer=gatherer, executor=executor, queue=self.queue, metrics=self.metrics, clock=self.clock
        )
        self.tokens = TokenReviewer(client)
        health = Health(
            queue=self.queue,
            informers=self.informers,
            resync=self.resync,
            lag=self.lag,
            leadership=self.leadership,
            clock=self.clock,
        )
        self.exposition = Exposition(
            self.metrics,
            sweeps=self.sweeps,
            pods=self.pods,
            reports=self.reports,
            tokens=self.tokens,
            queue=self.queue,
            reconciler=self.reconciler,
            informers=self.informers,
            resync=self.resync,
            lag=self.lag,
            leadership=self.leadership,
            health=health,
            is_reported_to=True,
            clock=self.clock,
            wall=lambda: NOW - 1000 + self.now,
        )

    def clock(self) -> float:
        return self.now

    def sampled(self, name: str, **labels: str) -> float | None:
        self.exposition.text()
        return self.metrics.registry.get_sample_value(f"resumable_sweep_{name}", labels)

    def has_sweep(
        self, name: str = "lr", *, records: tuple[ShardRecord, ...] = (), created: int = 0, **status: Any
    ) -> None:
        object_ = manifest(shards=max(1, len(records)))
        object_["metadata"].update(
            name=name, uid=name, creationTimestamp=f"2026-01-01T00:{created // 60:02}:{created % 60:02}Z"
        )
        table = table_of(records)
        object_["status"] = {"phase": "Running", "shardTable": table.text, "nodes": list(table.nodes), **status}
        self.sweeps.seen(object_)


@pytest.fixture
def operator() -> Operator:
    return Operator()


def test_the_queue_tells_of_those_that_are_due_and_for_how_long(operator: Operator) -> None:
    operator.queue.add(KEY, delay=10)
    operator.queue.add(("ns", "later"), delay=1000)
    assert (operator.sampled("queue_length"), operator.sampled("queue_age_seconds")) == (0, 0)
    operator.now += 40
    assert (operator.sampled("queue_length"), operator.sampled("queue_age_seconds")) == (1, 30)


async def test_how_late_a_look_begins_is_measured(operator: Operator) -> None:
    operator.queue.add(KEY, delay=10)
    operator.now += 14
    assert await operator.queue.take() == KEY
    assert operator.sampled("queue_wait_seconds_sum") == 4
    assert operator.sampled("queue_wait_seconds_count") == 1


async def test_a_sweep_whose_look_fails_is_told_until_one_succeeds(operator: Operator) -> None:
    await operator.reconciler.reconcile(KEY)
    await operator.reconciler.reconcile(KEY)
    assert operator.sampled("failing_sweeps") == 1
    assert operator.sampled("reconciles_total", result="error") == 2


def test_the_collection_of_which_nothing_was_heard_for_the_longest_counts(operator: Operator) -> None:
    operator.now += 100
    operator.informers[1].heard_at = operator.now - 5
    assert operator.sampled("watch_age_seconds", resource="pods") == 100
    operator.informers[2].heard_at = operator.now - 7
    assert operator.sampled("watch_age_seconds", resource="pods") == 7
    assert operator.sampled("watch_age_seconds", resource="nodes") == 100


async def test_a_watch_of_sweeps_that_brings_nothing_is_told(operator: Operator) -> None:
    listed = manifest()
    listed["metadata"]["resourceVersion"] = "9"
    operator.api.lists = [{"items": [listed], "metadata": {}}]
    await operator.resync.look()
    operator.now += 33
    assert operator.sampled("sweeps_behind_seconds") == 33
    operator.sweeps.seen(listed)
    assert operator.sampled("sweeps_behind_seconds") == 0


def test_a_loop_that_stood_still_is_told(operator: Operator) -> None:
    operator.now += 4
    assert operator.sampled("loop_lag_seconds") == 3


def test_whether_reports_are_taken_depends_on_the_right_to_know_who_sends_them(operator: Operator) -> None:
    assert operator.sampled("takes_reports") == 1
    operator.tokens.forbidden = True
    assert operator.sampled("takes_reports") == 0


def test_one_that_stands_in_does_not_say_that_reports_are_taken(operator: Operator) -> None:
    # It reviews no tokens: its word would raise the alert of reports where whoever decides may review none.
    operator.leadership.is_held = False
    assert operator.sampled("takes_reports") == 0


def test_attempts_whose_program_runs_are_heard_or_not(operator: Operator) -> None:
    for number in (1, 2, 3):
        operator.pods.pod_changed(None, pod(number, shard=number))
    operator.pods.pod_changed(None, pod(4, shard=4, mains=(ended(0),)))
    operator.reports.post(pod().sweep_uid, report(1, shard=1))
    operator.now += 20
    operator.reports.post(pod().sweep_uid, report(2, shard=2))
    assert (operator.sampled("attempts", heard="yes"), operator.sampled("attempts", heard="no")) == (2, 1)
    operator.now += 20
    assert (operator.sampled("attempts", heard="yes"), operator.sampled("attempts", heard="no")) == (1, 2)
    assert operator.sampled("pods") == 4


def test_sweeps_are_counted_by_phase_and_the_shards_of_unfinished_ones_by_state(operator: Operator) -> None:
    records = (record(0), record(1, ShardState.COMPLETE), record(2, ShardState.WAITING))
    operator.has_sweep("a", records=records)
    operator.has_sweep("b", records=records, phase="Complete")
    operator.has_sweep("c", phase="Failed")
    operator.has_sweep("d", shardTable="not one")
    told = {phase: operator.sampled("sweeps", phase=phase) for phase in ("Running", "Complete", "Failed", "Unreadable")}
    assert told == {"Running": 1, "Complete": 1, "Failed": 1, "Unreadable": 1}
    states = {state: operator.sampled("shards", state=state) for state in ("active", "complete", "waiting", "failed")}
    assert states == {"active": 1, "complete": 1, "waiting": 1, "failed": 0}


def test_what_is_told_of_a_sweep_is_told_no_more_once_it_has_ended(operator: Operator) -> None:
    sick = {"type": "Healthy", "status": "False", "reason": "MirrorDown", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    operator.has_sweep(records=(record(user_failures=3),), done=2, running=1, total=5, conditions=[sick])
    whose = {"sweep_namespace": "ns", "sweep": "lr"}
    assert operator.sampled("items_done", **whose) == 2
    assert operator.sampled("items", **whose) == 5
    assert operator.sampled("running_attempts", **whose) == 1
    assert operator.sampled("unhealthy", **whose, reason="MirrorDown") == 1
    assert operator.sampled("budget_spent_ratio", **whose, budget="userFailures") == 1
    operator.has_sweep(phase="Complete")
    assert b'sweep="lr"' not in operator.exposition.text()


def test_so_many_sweeps_have_series_of_their_own_the_oldest_first(operator: Operator) -> None:
    for number in reversed(range(SWEEPS_SHOWN + 3)):
        operator.has_sweep(f"s{number}", created=number)
    assert operator.sampled("sweeps_left_out") == 3
    assert operator.sampled("items_done", sweep_namespace="ns", sweep=f"s{SWEEPS_SHOWN - 1}") == 0
    assert operator.sampled("items_done", sweep_namespace="ns", sweep=f"s{SWEEPS_SHOWN}") is None


def test_who_only_stands_in_tells_of_itself_and_of_no_sweep(operator: Operator) -> None:
    operator.has_sweep(records=(record(),))
    operator.pods.pod_changed(None, pod())
    operator.now += 100
    assert operator.sampled("queue_age_seconds") == pytest.approx(100, abs=1)
    operator.leadership.is_held = False
    text = operator.exposition.text().decode()
    for name in ("sweeps", "shards", "items_done", "attempts"):
        assert f"resumable_sweep_{name}{{" not in text
    assert "resumable_sweep_leader 0.0" in text
    assert "resumable_sweep_queue_age_seconds 0.0" in text
    assert names.SWEEP not in text


def test_a_failed_watch_is_told_by_its_collection_and_code(operator: Operator) -> None:
    operator.metrics.observe_watch_failure(paths.pods("a"), 410)
    operator.metrics.observe_watch_failure(paths.pods("b"), 410)
    operator.metrics.observe_watch_failure(paths.NODES, 0)
    assert operator.sampled("watch_failures_total", resource="pods", code="410") == 2
    assert operator.sampled("watch_failures_total", resource="nodes", code="none") == 1

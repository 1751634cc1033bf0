"""What the ends of attempts cost a shard, one after the other, and when it is given up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from builders import NOW, crashed, ended, placed, pod, report, restore, snapshot, sweep
from hypothesis import given
from hypothesis import strategies as st

from sweep_operator.decide.budgets import begun, charged, forgiven, spent
from sweep_operator.decide.shard import Step, step_of
from sweep_operator.model.observed import PodView
from sweep_operator.model.shard_record import ShardRecord, ShardState
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Allowance, Spec

S = ShardState
REJECTED = pod(phase="Failed", reason="OutOfcpu", mains=())
UNPROVEN = pod(phase="Succeeded", mains=(ended(0),))
EVICTED = pod(phase="Failed", disruption="EvictionByEvictionAPI", mains=(ended(143),))
KILLED = crashed(137, at=NOW - 60)
UNBOUNDED: dict[str, Any] = {
    "user_failures": 1000,
    "infrastructure": Allowance(300, 3600.0),
    "no_progress_attempts": 0,
    "unexplained": 1000,
}


def ends(sees: PodView, *, before: ShardRecord | None = None, says: Any = None, **spec: Any) -> Iterator[Step]:
    """Let one attempt after the other end in the same way, and yield what becomes of the shard each time."""
    record = before or placed()
    while True:
        known = {"reports": {1: says}} if says is not None else {}
        step = step_of(begun(record), snapshot(sweep([record], **{**UNBOUNDED, **spec}), sees, **known), now=NOW)
        yield step
        if step.record.state is S.FAILED:
            return
        record = step.record.changed(state=S.ACTIVE, base=0, node=placed().node)


def until_given_up(steps: Iterator[Step], *, most: int = 30) -> tuple[int, Step | None]:
    """Return how many attempts there were, and the step that gave the shard up, None where none of so many did."""
    for number, step in enumerate(steps, start=1):
        if step.record.state is S.FAILED:
            return number, step
        if number == most:
            return number, None
    raise AssertionError("neither given up nor gone on")


@pytest.mark.parametrize(
    ("sees", "spec", "attempts", "said"),
    [
        (REJECTED, {"infrastructure": Allowance(4, 7200.0)}, 5, "failure of the platform 5 of at most 4 in 2h"),
        (REJECTED, {"infrastructure": Allowance(0, 7200.0)}, 1, "failure of the platform 1 of at most 0 in 2h"),
        (EVICTED, {"reclaims": Allowance(3, 600.0)}, 4, "reclaim 4 of at most 3 in 10m (budgets.reclaims)"),
        (EVICTED, {"no_progress_attempts": 5}, 5, "5 attempts in a row have stored nothing new"),
        (crashed(), {"user_failures": 2}, 3, "failure 3 of at most 2 (budgets.userFailures)"),
        (KILLED, {"unexplained": 2}, 3, "unexplained end 3 in a row of at most 2 (budgets.unexplained)"),
        (UNPROVEN, {"unexplained": 2}, 3, "unexplained end 3 in a row of at most 2 (budgets.unexplained)"),
    ],
    ids=["the platform's", "none at all", "reclaims", "no progress", "the program's", "killed", "exit 0 without proof"],
)
def test_each_budget_ends_a_fault_that_persists(sees: PodView, spec: dict[str, Any], attempts: int, said: str) -> None:
    number, step = until_given_up(ends(sees, **spec))
    assert number == attempts
    assert step is not None
    (event,) = step.events
    assert event.warning
    assert said in event.message
    assert event.message.endswith(": the shard stops")
    assert event.reason == ("NoProgress" if "no_progress_attempts" in spec else "ShardFailed")


@pytest.mark.parametrize(
    ("sees", "spec"),
    [
        (EVICTED, {}),
        (REJECTED, {"no_progress_attempts": 1, "reclaims": Allowance(0, 600.0), "user_failures": 0, "unexplained": 0}),
        (EVICTED, {"infrastructure": Allowance(0, 600.0), "user_failures": 0, "unexplained": 0}),
        (crashed(), {"no_progress_attempts": 1, "infrastructure": Allowance(0, 600.0), "unexplained": 0}),
        (KILLED, {"no_progress_attempts": 1, "infrastructure": Allowance(0, 600.0), "user_failures": 0}),
        (UNPROVEN, {"no_progress_attempts": 1, "infrastructure": Allowance(0, 600.0), "user_failures": 0}),
    ],
    ids=["reclaims without a bound", "rejected", "reclaimed", "crashed", "killed", "exit 0 without proof"],
)
def test_what_one_budget_pays_costs_nothing_of_the_others(sees: PodView, spec: dict[str, Any]) -> None:
    assert until_given_up(ends(sees, **spec)) == (30, None)


def test_a_reclaim_that_was_one_too_many_is_counted() -> None:
    _, step = until_given_up(ends(EVICTED, reclaims=Allowance(0, 600.0)))
    assert step is not None
    assert step.reclaim is not None


def test_new_items_make_up_for_attempts_without_any() -> None:
    steps = ends(EVICTED, no_progress_attempts=2, before=placed(barren=1), says=report(items_done=1, items_total=9))
    # What is stored after the first of them is new; then it is what the next one has restored.
    assert next(steps).record.barren == 0


def test_where_nobody_counts_items_another_generation_is_new() -> None:
    before = begun(placed(generation=6, barren=3))
    for generation, barren in ((6, 4), (7, 0)):
        says = report(generation=generation)
        step = step_of(before, snapshot(sweep([before]), pod(), reports={1: says}), now=NOW)
        assert (step.record.barren, step.record.generation) == (barren, generation)


@pytest.mark.parametrize("stores", [True, False], ids=["something each time", "nothing"])
def test_what_no_attempt_could_report_is_told_by_the_restore_of_the_next(stores: bool) -> None:
    """Nobody takes reports, and machines go without a last word."""
    record = placed(generation=3)
    for attempt in range(1, 12):
        restored = json.loads(report(stage="restoring", generation=3 + attempt * stores).to_json())
        sees = pod(**restore(0, **restored))
        running = step_of(begun(record.changed(base=0)), snapshot(sweep([record]), sees), now=NOW).record
        step = step_of(running, snapshot(sweep([running]), sees, nodes=[]), now=NOW)
        if step.record.state is S.FAILED:
            break
        record = step.record.changed(state=S.ACTIVE, node=placed().node)
    assert (step.record.state is S.FAILED) is not stores
    assert attempt == (11 if stores else 5)


def test_where_items_are_counted_another_generation_is_nothing_new() -> None:
    before = begun(placed(barren=3))
    says = report(generation=7, items_total=5)
    step = step_of(before, snapshot(sweep([before]), pod(), reports={1: says}), now=NOW)
    assert (step.record.barren, step.record.generation) == (4, 0)


@pytest.mark.parametrize("before", [placed(unexplained=2), placed(unexplained=2, base=1)], ids=["stored none", "some"])
def test_a_new_item_makes_up_for_unexplained_ends(before: ShardRecord) -> None:
    says = report(items_done=1 if before.base else 0)
    step = next(ends(KILLED, before=before, says=says, unexplained=5))
    assert step.record.unexplained == (1 if before.base else 3)


def test_a_shard_that_is_forgiven_begins_anew() -> None:
    fields = {"user_failures": 1, "setbacks": 1, "not_before": 1, "unexplained": 1, "barren": 1}
    spoilt = placed(**fields, infrastructure_until=1.0, reclaims_until=1.0, done=3)
    assert forgiven(spoilt) == placed(done=3)


@pytest.mark.parametrize(
    ("window", "later"),
    [(3600.0, 3600), (86_400.0, -2 * 86_400)],
    ids=["a shorter window", "a clock that was set back"],
)
@pytest.mark.parametrize("limit", [1, 100])
def test_what_was_spent_of_a_longer_window_or_by_another_clock_fails_no_shard(
    limit: int, window: float, later: int
) -> None:
    spec = Spec(run_id="r", shards=1, parallelism=1, infrastructure=Allowance(limit, 86_400.0), no_progress_attempts=0)
    record = placed(signal=Signal.REJECTED, since=NOW)
    for _ in range(min(limit, 10)):
        record = charged(record, pod=None, spec=spec).record
    spec = replace(spec, infrastructure=Allowance(limit, window))
    charge = charged(record.changed(since=NOW + later), pod=None, spec=spec)
    assert charge.refused == ""
    assert charge.said.startswith(f"failure of the platform 1 of at most {limit} in ")


allowances = st.builds(Allowance, st.integers(1, 300), st.integers(600, 86_400).map(float))
pauses = st.lists(st.one_of(st.just(0.0), st.floats(0, 5_000)), min_size=1, max_size=200)


def charges(pauses: list[float], allowance: Allowance, until: Callable[[ShardRecord], float]) -> Iterator[float]:
    """Yield the times at which a shard that the platform fails after these pauses could afford another attempt."""
    record, now = placed(signal=Signal.REJECTED), NOW
    spec = Spec(run_id="r", shards=1, parallelism=1, infrastructure=allowance, no_progress_attempts=0)
    for pause in pauses:
        now += pause
        charge = charged(record.changed(since=now), pod=None, spec=spec)
        if charge.refused:
            return
        record = charge.record
        assert 1 <= spent(until(record), allowance, now=now) <= allowance.limit
        yield now


@given(pauses, allowances)
def test_an_allowance_is_never_overspent(pauses: list[float], allowance: Allowance) -> None:
    paid = list(charges(pauses, allowance, lambda record: record.infrastructure_until))
    for first, start in enumerate(paid):
        for last in range(first, len(paid)):
            came_back = (paid[last] - start + 2.2) / (allowance.window_seconds / allowance.limit - 0.05)
            assert last - first + 1 <= allowance.limit + came_back


@given(pauses, allowances)
def test_a_shard_within_its_allowance_is_never_given_up(pauses: list[float], allowance: Allowance) -> None:
    times = [NOW + sum(pauses[: number + 1]) for number in range(len(pauses))]
    # Half a tenth of a second is lost to rounding for each, and two seconds once.
    window = allowance.window_seconds + allowance.limit / 20 + 2.2
    crowded = (sum(start - window < time <= start for time in times) > allowance.limit for start in times)
    if not any(crowded):
        assert len(list(charges(pauses, allowance, lambda record: record.infrastructure_until))) == len(pauses)

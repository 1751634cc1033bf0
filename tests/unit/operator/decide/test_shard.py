"""One shard, step by step: what becomes of its record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from builders import NODE, NOW, crashed, ended, node, placed, pod, record, report, restore, snapshot, sweep

from resumable_sweep.contract.outcome import Exit
from resumable_sweep.contract.report import Stage
from sweep_operator.decide.cleanup import STOP_GRACE_SECONDS
from sweep_operator.decide.shard import LEAVING_SECONDS, delay_seconds, step_of
from sweep_operator.model.observed import Creation, PodView
from sweep_operator.model.problem import Problem
from sweep_operator.model.shard_record import ShardRecord, ShardState
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Allowance

S = ShardState
LEAVING = placed(0, S.LEAVING, signal=Signal.POD_DELETED, since=NOW - 10)


@dataclass(frozen=True, kw_only=True)
class Case:
    before: ShardRecord
    pods: tuple[PodView, ...] = ()
    known: dict[str, Any] = field(default_factory=dict)
    state: ShardState
    signal: Signal = Signal.NONE
    reclaim: bool = False
    events: tuple[str, ...] = ()


REACHES = Problem(reason="TemplateForbidden", message="d is the hostPath /")
ABSENT = {"absent": frozenset({1})}
STUCK = NOW - STOP_GRACE_SECONDS - LEAVING_SECONDS
CASES = {
    "waiting stays": Case(before=record(0, S.WAITING), state=S.WAITING),
    "complete stays, whatever its pod does": Case(before=record(0, S.COMPLETE), pods=(crashed(),), state=S.COMPLETE),
    "failed stays": Case(before=record(0, S.FAILED), pods=(pod(),), state=S.FAILED),
    "active stays": Case(before=placed(), pods=(pod(),), state=S.ACTIVE),
    "active whose pod is on its way stays": Case(
        before=record(), known={"creations": {1: Creation(created_at=NOW)}}, state=S.ACTIVE
    ),
    "active is reclaimed at one stroke": Case(
        before=placed(), pods=(pod(),), known={"nodes": []}, state=S.WAITING, signal=Signal.NODE_GONE, reclaim=True
    ),
    "active begins to leave, which is not counted yet": Case(
        before=placed(), pods=(pod(deleted=True),), state=S.LEAVING, signal=Signal.POD_DELETED
    ),
    "leaving ends with its pod": Case(
        before=LEAVING,
        pods=(pod(deleted=True, phase="Failed"),),
        state=S.WAITING,
        signal=Signal.POD_DELETED,
        reclaim=True,
    ),
    "leaving ends when its pod is gone, and keeps the first signal": Case(
        before=LEAVING, known=ABSENT, state=S.WAITING, signal=Signal.POD_DELETED, reclaim=True
    ),
    "leaving ends with the seal": Case(
        before=LEAVING,
        pods=(pod(deleted=True),),
        known={"reports": {1: report(stage=Stage.SEALED)}},
        state=S.WAITING,
        signal=Signal.POD_DELETED,
        reclaim=True,
    ),
    "leaving goes on while its pod flushes": Case(
        before=LEAVING, pods=(pod(deleted=True),), state=S.LEAVING, signal=Signal.POD_DELETED
    ),
    "leaving ends after its time": Case(
        before=placed(0, S.LEAVING, signal=Signal.POD_DELETED, since=NOW - LEAVING_SECONDS),
        pods=(pod(deleted=True),),
        state=S.WAITING,
        signal=Signal.POD_DELETED,
        reclaim=True,
    ),
    "leaving does not wait for a clock that was set back": Case(
        before=placed(0, S.LEAVING, signal=Signal.POD_DELETED, since=NOW + 86_400),
        pods=(pod(deleted=True),),
        state=S.WAITING,
        signal=Signal.POD_DELETED,
        reclaim=True,
    ),
    "leaving is taken back when the node recovers": Case(
        before=placed(0, S.LEAVING, signal=Signal.NODE_SHUTTING_DOWN, since=NOW), pods=(pod(),), state=S.ACTIVE
    ),
    "leaving is not taken back by a pod that is not seen": Case(
        before=LEAVING, state=S.LEAVING, signal=Signal.POD_DELETED
    ),
    "leaving may still complete": Case(
        before=LEAVING,
        pods=(pod(deleted=True),),
        known={"reports": {1: report(stage=Stage.COMPLETE)}},
        state=S.COMPLETE,
        events=("ShardComplete",),
    ),
    "stopping goes on while its pod flushes": Case(
        before=placed(0, S.STOPPING), pods=(pod(deleted=True),), state=S.STOPPING
    ),
    "stopping goes on while a pod's grace lasts": Case(
        before=placed(0, S.STOPPING), pods=(pod(deleted=True, deleted_at=STUCK + 1),), state=S.STOPPING
    ),
    "stopping does not wait for ever for a pod that nobody gets rid of": Case(
        before=placed(0, S.STOPPING),
        pods=(pod(deleted=True, deleted_at=STUCK),),
        state=S.WAITING,
        signal=Signal.STOPPED,
    ),
    "stopping ends with its pod": Case(
        before=placed(0, S.STOPPING), pods=(crashed(143),), state=S.WAITING, signal=Signal.STOPPED
    ),
    "stopping ends when its pod is gone": Case(
        before=placed(0, S.STOPPING), known=ABSENT, state=S.WAITING, signal=Signal.STOPPED
    ),
    "stopping ends with its node, and is no reclaim": Case(
        before=placed(0, S.STOPPING), pods=(pod(),), known={"nodes": []}, state=S.WAITING, signal=Signal.STOPPED
    ),
    "stopping whose pod was refused ends": Case(
        before=record(0, S.STOPPING),
        known={**ABSENT, "creations": {1: Creation(problem="QuotaExceeded")}},
        state=S.WAITING,
        signal=Signal.STOPPED,
    ),
    "stopping may still complete": Case(
        before=placed(0, S.STOPPING),
        pods=(pod(deleted=True),),
        known={"reports": {1: report(stage=Stage.COMPLETE)}},
        state=S.COMPLETE,
        events=("ShardComplete",),
    ),
    "an attempt that another process never made is burnt, and is no reclaim": Case(
        before=record(), known=ABSENT, state=S.WAITING
    ),
    "an attempt whose creation has no answer is burnt": Case(
        before=record(), known={**ABSENT, "creations": {1: Creation(uncertain=True)}}, state=S.WAITING
    ),
    "a pod that was there and is gone is a reclaim": Case(
        before=record(),
        known={**ABSENT, "creations": {1: Creation(uncertain=True, seen=True)}},
        state=S.WAITING,
        signal=Signal.POD_VANISHED,
        reclaim=True,
    ),
    "a burnt attempt keeps why the one before had ended": Case(
        before=record(signal=Signal.NODE_GONE), known=ABSENT, state=S.WAITING, signal=Signal.NODE_GONE
    ),
    "a failure of the program is tried again": Case(
        before=placed(),
        pods=(crashed(),),
        state=S.WAITING,
        signal=Signal.CONTAINER_FAILED,
        events=("ContainerFailed",),
    ),
    "one failure too many ends the shard": Case(
        before=placed(user_failures=3),
        pods=(crashed(),),
        state=S.FAILED,
        signal=Signal.CONTAINER_FAILED,
        events=("ShardFailed",),
    ),
    "what no other attempt can mend ends the shard": Case(
        before=placed(),
        pods=(pod(phase="Failed", **restore(Exit.CHECKPOINT_CORRUPT)),),
        state=S.FAILED,
        signal=Signal.CHECKPOINT_CORRUPT,
        events=("CheckpointCorrupt",),
    ),
    "a pod that reaches for what is not allowed is nobody's failure": Case(
        before=record(barren=1),
        pods=(pod(),),
        known={"forbidden": {"pod-0-1": REACHES}},
        state=S.WAITING,
        signal=Signal.FORBIDDEN,
        events=("TemplateForbidden",),
    ),
    "one that went at once is no reclaim": Case(
        before=record(),
        known={"creations": {1: Creation(created_at=NOW, problem="TemplateForbidden", message="m")}},
        state=S.WAITING,
        signal=Signal.FORBIDDEN,
        events=("TemplateForbidden",),
    ),
    "one that was not made is tried again as the same attempt": Case(
        before=record(),
        known={"creations": {1: Creation(problem="TemplateForbidden", message="m")}},
        state=S.ACTIVE,
    ),
    "what one that must go has completed counts": Case(
        before=placed(),
        pods=(pod(),),
        known={"forbidden": {"pod-0-1": REACHES}, "reports": {1: report(stage=Stage.COMPLETE)}},
        state=S.COMPLETE,
        events=("ShardComplete",),
    ),
    "the platform's failure is tried again": Case(
        before=placed(),
        pods=(pod(phase="Failed", reason="OutOfcpu", mains=()),),
        state=S.WAITING,
        signal=Signal.REJECTED,
        events=("PodRejected",),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_step(case: Case) -> None:
    step = step_of(case.before, snapshot(sweep([case.before]), *case.pods, **case.known), now=NOW)
    assert (step.record.state, step.record.signal) == (case.state, case.signal)
    assert (step.reclaim is not None) is case.reclaim
    assert tuple(event.reason for event in step.events) == case.events


def test_a_pod_that_must_go_is_charged_to_nobody() -> None:
    before = record(barren=1, setbacks=2, user_failures=1)
    known = snapshot(sweep([before]), crashed(), forbidden={"pod-0-1": REACHES})
    after = step_of(before, known, now=NOW).record
    kept = ("setbacks", "user_failures", "infrastructure_until", "reclaims_until", "unexplained", "not_before")
    assert [getattr(after, field) for field in kept] == [getattr(before, field) for field in kept]
    assert after.barren == 0


def test_the_first_attempt_at_an_earlier_run_costs_nothing_that_it_is_numbered_too_low() -> None:
    low = pod(phase="Failed", mains=(), **restore(Exit.SUPERSEDED, head_attempt=41))
    first, later = placed(barren=1), placed(barren=1, signal=Signal.SUPERSEDED, since=NOW - 9)
    spec = {"infrastructure": Allowance(0, 600.0)}
    step = step_of(first, snapshot(sweep([first], **spec), low), now=NOW)
    assert (step.record.state, step.record.barren, step.record.infrastructure_until) == (S.WAITING, 0, 0)
    assert (step.head_attempt, [event.reason for event in step.events]) == (41, ["Superseded"])
    # Whoever is overtaken again shares the run with somebody.
    assert step_of(later, snapshot(sweep([later], **spec), low), now=NOW).record.state is S.FAILED


def test_an_attempt_is_judged_once() -> None:
    before = placed()
    first = step_of(before, snapshot(sweep([before]), pod(), nodes=[]), now=NOW)
    again = step_of(first.record, snapshot(sweep([first.record]), pod(), nodes=[]), now=NOW + 1)
    assert first.reclaim
    assert not again.reclaim
    assert again.record == first.record


def test_leaving_is_looked_at_again_when_its_time_is_over() -> None:
    before = placed()
    step = step_of(before, snapshot(sweep([before]), pod(deleted=True)), now=NOW)
    assert (step.again_at, step.record.since) == (NOW + LEAVING_SECONDS, NOW)


def test_a_stopped_pod_that_stays_is_looked_at_again_when_its_time_is_over() -> None:
    before, stays = placed(0, S.STOPPING), pod(deleted=True, deleted_at=STUCK + 7)
    assert step_of(before, snapshot(sweep([before]), stays), now=NOW).again_at == NOW + 7


def test_a_suspended_sweep_waits_for_a_pod_that_nobody_gets_rid_of() -> None:
    before, stays = placed(0, S.STOPPING), pod(deleted=True, deleted_at=NOW - 86_400)
    step = step_of(before, snapshot(sweep([before], suspend=True), stays), now=NOW)
    assert (step.record.state, step.again_at) == (S.STOPPING, None)


def test_a_reclaim_is_dated_by_its_first_sign() -> None:
    step = step_of(LEAVING, snapshot(sweep([LEAVING]), absent=frozenset({1})), now=NOW)
    assert step.record.since == LEAVING.since


def test_the_node_of_an_attempt_is_noted() -> None:
    step = step_of(record(), snapshot(sweep([record()]), pod()), now=NOW)
    assert (step.record.node_name, step.record.incarnation) == (NODE, node().incarnation)


def test_a_reclaim_of_a_program_whose_items_nobody_counts_is_no_setback() -> None:
    before = placed(setbacks=5, base=1)
    step = step_of(before, snapshot(sweep([before]), pod(), nodes=[]), now=NOW)
    assert (step.record.setbacks, step.record.not_before) == (0, 0)


@pytest.mark.parametrize(
    ("setbacks", "pods", "nodes", "expected"),
    [
        (0, (pod(),), [], (1, 0)),
        (1, (pod(),), [], (2, 0)),
        (2, (pod(),), [], (3, int(NOW) + 5)),
        (9, (pod(),), [], (10, int(NOW) + 300)),
        (0, (pod(phase="Failed", reason="OutOfcpu", mains=()),), None, (1, int(NOW) + 5)),
        (1, (pod(phase="Failed", reason="OutOfcpu", mains=()),), None, (2, int(NOW) + 10)),
    ],
    ids=[
        "a first reclaim before anything was restored delays nothing",
        "nor does a second",
        "a third does",
        "five minutes at most",
        "a first rejection delays",
        "each further one twice as long",
    ],
)
def test_attempts_without_progress_are_slowed_down(
    setbacks: int, pods: Any, nodes: Any, expected: tuple[int, int]
) -> None:
    before = placed(setbacks=setbacks, base=0)
    step = step_of(before, snapshot(sweep([before]), *pods, nodes=nodes), now=NOW)
    assert (step.record.setbacks, step.record.not_before) == expected


def test_progress_forgives_setbacks() -> None:
    before = placed(setbacks=7, base=1)
    known = snapshot(sweep([before]), pod(), nodes=[], reports={1: report(items_done=1)})
    step = step_of(before, known, now=NOW)
    assert (step.record.setbacks, step.record.not_before) == (0, 0)


def test_failures_of_the_program_are_never_forgiven() -> None:
    before = placed(user_failures=1, base=1)
    known = snapshot(sweep([before]), crashed(), reports={1: report(items_done=5)})
    step = step_of(before, known, now=NOW)
    assert (step.record.user_failures, step.record.not_before) == (2, int(NOW) + 10)


@pytest.mark.parametrize("code", [0, 3])
def test_a_program_that_fails_after_its_last_item_is_told_of(code: int) -> None:
    known = snapshot(sweep([placed()]), pod(mains=(ended(code),)), reports={1: report(stage=Stage.COMPLETE)})
    step = step_of(placed(done=7), known, now=NOW)
    (event,) = step.events
    assert (step.record.state, step.record.user_failures) == (S.COMPLETE, 0)
    assert event.warning is (code != 0)
    failed = "; container main exited 3 after its last item" if code else ""
    assert event.message == f"shard 0 is complete: 7 items{failed}"


def test_a_complete_shard_forgets_its_past() -> None:
    before = placed(signal=Signal.NODE_GONE, since=NOW, setbacks=2, not_before=5, user_failures=1, base=3, done=7)
    step = step_of(before, snapshot(sweep([before]), pod(), reports={1: report(stage=Stage.COMPLETE)}), now=NOW)
    expected = ShardRecord(shard=0, state=S.COMPLETE, attempt=1, done=7, recorded=7, user_failures=1)
    assert step.record == expected


def test_the_store_may_know_higher_attempts() -> None:
    superseded = pod(phase="Failed", **restore(Exit.SUPERSEDED, head_attempt=41))
    step = step_of(placed(), snapshot(sweep([placed()]), superseded), now=NOW)
    assert step.head_attempt == 41
    assert (step.record.state, step.record.signal) == (S.WAITING, Signal.SUPERSEDED)


@pytest.mark.parametrize("head", [10**30, -1, True, "41", None])
def test_what_is_no_number_of_an_attempt_carries_no_numbers_away(head: Any) -> None:
    superseded = pod(phase="Failed", **restore(Exit.SUPERSEDED, head_attempt=head))
    assert step_of(placed(), snapshot(sweep([placed()]), superseded), now=NOW).head_attempt == 0


@pytest.mark.parametrize(("failures", "delay"), [(-1, 0), (0, 0), (1, 5), (2, 10), (7, 300), (10**6, 300)])
def test_delays_double_up_to_five_minutes(failures: int, delay: int) -> None:
    assert delay_seconds(failures) == delay

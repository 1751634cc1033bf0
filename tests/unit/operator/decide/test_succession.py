"""The attempt that is made ahead of time: when, how long it waits, and who has the shard in the end."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from builders import NODE, NOW, changed, crashed, ended, placed, pod, record, report, restore, snapshot, sweep

from resumable_sweep.contract.outcome import Exit
from resumable_sweep.contract.report import NoticeKind, Stage
from sweep_operator.decide import decide
from sweep_operator.decide.notices import LONGEST_NOTICE_SECONDS, OVERDUE_SECONDS
from sweep_operator.decide.shard import LEAVING_SECONDS, step_of
from sweep_operator.decide.succession import TAKE_MARGIN_SECONDS, take_after_seconds
from sweep_operator.model.observed import Creation, PodView
from sweep_operator.model.plan import CreateAttempt, DeletePod
from sweep_operator.model.shard_record import ShardRecord, ShardState
from sweep_operator.model.signals import Signal

S = ShardState
GCE = NoticeKind.GCE_PREEMPTED
SOON = int(NOW) + 30
OVERDUE = SOON + OVERDUE_SECONDS


def noticed(shard: int = 0, state: S = S.ACTIVE, **fields: Any) -> ShardRecord:
    known: dict[str, Any] = {"notice": GCE, "noticed_at": NOW - 2, "deadline": SOON, "base": 1, **fields}
    return placed(shard, state, **known)


def heir_pod(attempt: int = 2, **fields: Any) -> PodView:
    """The pod of an attempt that waits for its turn."""
    waiting: dict[str, Any] = {"phase": "Pending", "mains": (), **restore(None), **fields}
    return pod(attempt, **waiting)


SAYS_NOTICE = report(notice=GCE)
WITH_HEIR = noticed(heir=2)


# When it is made.


def orders(record: ShardRecord, *pods: PodView, now: float = NOW, **spec: Any) -> list[CreateAttempt]:
    known = snapshot(sweep([record], **spec), *(pods or (pod(),)), reports={1: SAYS_NOTICE})
    return [action for action in decide(known, now).actions if isinstance(action, CreateAttempt)]


def test_a_hard_notice_makes_the_next_attempt_at_once() -> None:
    plan = decide(snapshot(sweep([placed()]), pod(), reports={1: SAYS_NOTICE}), NOW)
    (order,) = (action for action in plan.actions if isinstance(action, CreateAttempt))
    assert (order.shard, order.attempt, order.resumes, order.take_after) == (0, 2, True, 30 + TAKE_MARGIN_SECONDS)
    (after,) = plan.status.records
    assert (after.state, after.attempt, after.heir, after.deadline) == (S.ACTIVE, 1, 2, SOON)
    assert plan.status.attempts == 2
    assert plan.status.reclaims == 0, "it is not reclaimed before it ends"
    assert [event.reason for event in plan.events] == ["Notice"]


def test_an_attempt_has_one_heir() -> None:
    assert orders(WITH_HEIR, pod(), heir_pod()) == []
    assert orders(noticed(heir=2, heir_ended=True)) == []


@pytest.mark.parametrize("state", [S.ACTIVE, S.LEAVING])
def test_a_leaving_attempt_gets_one_too(state: S) -> None:
    assert len(orders(noticed(0, state, since=NOW, signal=Signal.GCE_PREEMPTED), pod(deleted=True))) == 1


@pytest.mark.parametrize("heard", [True, False], ids=["its report", "its last words"])
def test_what_the_heir_of_a_complete_shard_found_counts(heard: bool) -> None:
    """The machine has gone after the attempt's last entry, and before its last report."""
    found = report(2, stage=Stage.COMPLETE, items_done=9, items_recorded=9, items_restored=9)
    words = {} if heard else json.loads(found.to_json())
    reports = {1: report(items_done=5, notice=GCE), **({2: found} if heard else {})}
    before = noticed(heir=2, done=5, recorded=5)
    heir = heir_pod(phase="Failed", **restore(Exit.COMPLETE, **words))
    step = step_of(before, snapshot(sweep([before]), pod(), heir, reports=reports), now=NOW)
    assert (step.record.state, step.record.done, step.record.recorded) == (S.COMPLETE, 9, 9)
    assert [event.message for event in step.events] == ["shard 0 is complete: 9 items"]


def test_advice_makes_no_heir() -> None:
    known = snapshot(sweep([placed()]), pod(), reports={1: report(notice=NoticeKind.EC2_REBALANCE)})
    assert decide(known, NOW).actions == ()


def test_no_heir_is_made_when_it_is_too_late_or_the_sweep_is_suspended() -> None:
    assert orders(noticed(), now=SOON + 1) == []
    assert orders(noticed(), suspend=True) == []


def test_heirs_come_beyond_parallelism_and_only_for_noticed_attempts() -> None:
    records = [noticed(0), placed(1, attempt=3), record(2, S.WAITING), noticed(3, attempt=4)]
    pods = [pod(1), pod(3, shard=1), pod(4, shard=3)]
    plan = decide(snapshot(sweep(records, parallelism=3, status={"attempts": 4}), *pods), NOW)
    assert [(order.shard, order.attempt) for order in plan.actions if isinstance(order, CreateAttempt)] == [
        (0, 5),
        (3, 6),
    ]
    assert [each.state for each in plan.status.records] == [S.ACTIVE, S.ACTIVE, S.WAITING, S.ACTIVE]


@pytest.mark.parametrize(
    ("deadline", "seconds"), [(SOON, 35), (int(NOW) - 100, 1), (int(NOW) + 10**6, LONGEST_NOTICE_SECONDS)]
)
def test_how_long_it_may_wait(deadline: int, seconds: int) -> None:
    assert take_after_seconds(noticed(deadline=deadline), now=NOW) == seconds


def test_one_that_a_quota_forbids_is_ordered_again_with_what_is_left_of_the_time() -> None:
    refused = Creation(retry_at=NOW, problem="QuotaExceeded", message="no", resumes=True, refused_at=NOW - 5)
    known = snapshot(sweep([WITH_HEIR]), pod(), creations={2: refused}, reports={1: SAYS_NOTICE})
    plan = decide(known, NOW + 10)
    (order,) = plan.actions
    assert isinstance(order, CreateAttempt)
    assert (order.attempt, order.take_after) == (2, 25)
    healthy = next(each for each in plan.status.conditions if each.type == "Healthy")
    assert healthy.status, "that there is no room for two is to be expected"


def test_a_quota_is_tried_again_as_soon_as_a_pod_has_ended() -> None:
    refused = Creation(retry_at=NOW + 5, problem="QuotaExceeded", message="no", resumes=True, refused_at=NOW)
    known = snapshot(sweep([WITH_HEIR]), crashed(143, at=float(int(NOW) + 1)), creations={2: refused})
    (after,) = decide(known, NOW + 2).status.records
    assert after.attempt == 2
    plan = decide(snapshot(sweep([after]), crashed(143, at=float(int(NOW) + 1)), creations={2: refused}), NOW + 2)
    assert [order.attempt for order in plan.actions if isinstance(order, CreateAttempt)] == [2]
    others = snapshot(sweep([after]), pod(), creations={2: refused})
    assert not any(isinstance(action, CreateAttempt) for action in decide(others, NOW + 2).actions)


# What becomes of it.


@dataclass(frozen=True, kw_only=True)
class Case:
    before: ShardRecord = WITH_HEIR
    pods: tuple[PodView, ...] = (pod(), heir_pod())
    known: dict[str, Any] = field(default_factory=dict)
    at: float = NOW
    state: ShardState = S.ACTIVE
    attempt: int = 1
    heir: int = 2
    ended: bool = False
    reclaim: Signal | None = None
    events: tuple[str, ...] = ()


SUCCEEDED: dict[str, Any] = {"attempt": 2, "heir": 0, "reclaim": Signal.GCE_PREEMPTED, "events": ("Reclaimed",)}
UNMADE = {"creations": {2: Creation(problem="QuotaExceeded", retry_at=NOW + 5)}}
CASES = {
    "it waits while the attempt before goes on": Case(),
    "it waits while it is refused": Case(pods=(pod(),), known=UNMADE),
    "it waits while its pod is on its way": Case(pods=(pod(),), known={"creations": {2: Creation(created_at=NOW)}}),
    "it waits while the attempt before leaves": Case(
        before=WITH_HEIR.changed(state=S.LEAVING, signal=Signal.GCE_PREEMPTED, since=NOW),
        pods=(pod(deleted=True), heir_pod()),
        state=S.LEAVING,
    ),
    "it follows one that has ended": Case(pods=(crashed(143), heir_pod()), **SUCCEEDED),
    "it follows one that has ended with its node": Case(known={"nodes": []}, **SUCCEEDED),
    "it follows one that has sealed": Case(
        pods=(pod(deleted=True), heir_pod()), known={"reports": {1: report(stage=Stage.SEALED)}}, **SUCCEEDED
    ),
    "it follows one that leaves for too long": Case(
        before=WITH_HEIR.changed(state=S.LEAVING, signal=Signal.GCE_PREEMPTED, since=SOON - LEAVING_SECONDS),
        pods=(pod(deleted=True), heir_pod()),
        at=SOON,
        **SUCCEEDED,
    ),
    "it follows one that leaves until a deadline of a clock that was set back": Case(
        before=WITH_HEIR.changed(
            state=S.LEAVING, signal=Signal.GCE_PREEMPTED, since=NOW - LONGEST_NOTICE_SECONDS, deadline=SOON + 86_400
        ),
        pods=(pod(deleted=True), heir_pod()),
        **SUCCEEDED,
    ),
    "it waits until the deadline for one that leaves": Case(
        before=WITH_HEIR.changed(state=S.LEAVING, signal=Signal.GCE_PREEMPTED, since=NOW - LEAVING_SECONDS),
        pods=(pod(deleted=True), heir_pod()),
        at=SOON - 1,
        state=S.LEAVING,
    ),
    "it follows before its pod is made, which is said when it is": Case(
        pods=(crashed(143),), known=UNMADE, **{**SUCCEEDED, "events": ()}
    ),
    "it has taken the shard": Case(pods=(pod(), heir_pod(**restore(0))), **SUCCEEDED),
    "it has taken the shard, and says so": Case(known={"reports": {2: report(2)}}, **SUCCEEDED),
    "it has taken the shard, and restores": Case(
        known={"reports": {2: report(2, stage=Stage.RESTORING, restore_bytes=5)}}, **SUCCEEDED
    ),
    "that it waits is no sign of a take": Case(known={"reports": {2: report(2, stage=Stage.RESTORING)}}),
    "it has taken the shard, and failed since": Case(pods=(pod(), pod(2, phase="Failed", **restore(0))), **SUCCEEDED),
    "it has taken the shard of one that crashed": Case(
        pods=(crashed(), heir_pod(**restore(0))),
        **{**SUCCEEDED, "reclaim": None, "events": ("ContainerFailed",)},
    ),
    "it has taken the shard of one that has crashed, and whose mirror still runs": Case(
        pods=(pod(mains=(ended(1),)), heir_pod(**restore(0))),
        **{**SUCCEEDED, "reclaim": None, "events": ("ContainerFailed",)},
    ),
    "it has taken the shard of one that was stopped, and whose mirror still runs": Case(
        pods=(pod(mains=(ended(143),)), heir_pod(**restore(0))), **SUCCEEDED
    ),
    "it does not follow one that crashed": Case(
        pods=(crashed(), heir_pod()), state=S.WAITING, heir=0, events=("ContainerFailed",)
    ),
    "the attempt before has completed the shard": Case(
        known={"reports": {1: report(stage=Stage.COMPLETE)}}, state=S.COMPLETE, heir=0, events=("ShardComplete",)
    ),
    "it finds the shard complete": Case(
        pods=(pod(), heir_pod(phase="Failed", **restore(Exit.COMPLETE))),
        state=S.COMPLETE,
        heir=0,
        events=("ShardComplete",),
    ),
    "it has completed the shard before anybody looked": Case(
        pods=(pod(), heir_pod(**restore(0))),
        known={"reports": {2: report(2, stage=Stage.COMPLETE)}},
        state=S.COMPLETE,
        **{**SUCCEEDED, "events": ("Reclaimed", "ShardComplete")},
    ),
    "it has completed the shard of one whose node is gone": Case(
        pods=(heir_pod(phase="Succeeded", **restore(0)),),
        known={"reports": {2: report(2, stage=Stage.COMPLETE)}, "nodes": []},
        state=S.COMPLETE,
        **{**SUCCEEDED, "events": ("Reclaimed", "ShardComplete")},
    ),
    "it has completed the shard of one that crashed": Case(
        pods=(crashed(), heir_pod(**restore(0))),
        known={"reports": {2: report(2, stage=Stage.COMPLETE)}},
        state=S.COMPLETE,
        heir=0,
        events=("ShardComplete",),
    ),
    "it ends before its turn": Case(
        pods=(pod(), heir_pod(phase="Failed", reason="OutOfcpu")), ended=True, events=("SuccessorEnded",)
    ),
    "it is deleted before its turn": Case(pods=(pod(), heir_pod(deleted=True)), ended=True, events=("SuccessorEnded",)),
    "it is gone before its turn": Case(
        pods=(pod(),),
        known={"absent": frozenset({2}), "creations": {2: Creation(created_at=NOW, seen=True)}},
        ended=True,
        events=("SuccessorEnded",),
    ),
    "another process has never made it": Case(pods=(pod(),), known={"absent": frozenset({2})}, heir=0),
    "its creation has no answer, and no effect": Case(
        pods=(pod(),), known={"absent": frozenset({2}), "creations": {2: Creation(uncertain=True)}}, heir=0
    ),
    "it goes with the notice": Case(known={"reports": {1: report()}}, heir=0, events=("NoticeWithdrawn",)),
    "it has taken the shard before the notice was withdrawn": Case(
        pods=(pod(), heir_pod(**restore(0))), known={"reports": {1: report()}}, **SUCCEEDED
    ),
    "it goes when the machine stays": Case(at=OVERDUE, ended=True, events=("NoticeOverdue",)),
    "it has taken the shard of a machine that stays": Case(
        pods=(pod(), heir_pod(**restore(0))), at=OVERDUE, **SUCCEEDED
    ),
    "without one the shard waits": Case(
        before=noticed(heir=2, heir_ended=True),
        pods=(crashed(143),),
        state=S.WAITING,
        heir=0,
        reclaim=Signal.GCE_PREEMPTED,
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_becomes_of_it(case: Case) -> None:
    known = {"reports": {1: SAYS_NOTICE}, **case.known}
    step = step_of(case.before, snapshot(sweep([case.before]), *case.pods, **known), now=case.at)
    after = step.record
    assert (after.state, after.attempt) == (case.state, case.attempt)
    assert (after.heir, after.heir_ended) == (case.heir, case.ended)
    assert (step.reclaim.signal if step.reclaim else None) is case.reclaim
    assert tuple(event.reason for event in step.events) == case.events


def test_the_next_step_of_what_was_settled_changes_nothing() -> None:
    """Level-triggered: each outcome above is reached once, and said once."""
    for case in CASES.values():
        known = {"reports": {1: SAYS_NOTICE}, **case.known}
        after = step_of(case.before, snapshot(sweep([case.before]), *case.pods, **known), now=case.at).record
        if after.attempt == 1:
            again = step_of(after, snapshot(sweep([after]), *case.pods, **known), now=case.at)
            assert (again.record, again.reclaim, again.events) == (after, None, ())


def test_a_new_current_attempt_is_not_noticed_and_its_predecessor_is_remembered() -> None:
    before = WITH_HEIR.changed(done=7, recorded=8)
    step = step_of(before, snapshot(sweep([before]), crashed(143), heir_pod()), now=NOW)
    after = step.record
    assert (after.notice, after.deadline, after.noticed_at) == (NoticeKind.NONE, 0, 0)
    assert (after.node, after.base, after.done, after.recorded) == ("", 0, 7, 8)
    assert (after.signal, after.since) == (Signal.GCE_PREEMPTED, WITH_HEIR.noticed_at)
    assert step.reclaim is not None
    assert (step.reclaim.attempt, step.reclaim.node, step.reclaim.items_safe) == (1, NODE, 7)
    assert step.reclaim.time == WITH_HEIR.noticed_at, "the notice was its first sign"
    assert step.again_at == NOW, "what the heir has said so far is to be read"


def test_the_event_of_a_succession_tells_the_time_since_the_notice() -> None:
    known = snapshot(sweep([WITH_HEIR]), crashed(143), heir_pod(), creations={2: Creation(created_at=NOW - 1.5)})
    (event,) = step_of(WITH_HEIR, known, now=NOW).events
    assert "attempt 2 created after 0.5 s" in event.message
    status = decide(known, NOW).status
    assert status.last_reclaim is not None
    assert status.last_reclaim.relaunch_seconds == 0.5
    assert status.reclaims_by_signal == {"GcePreempted": 1}


def test_an_overdue_machine_is_looked_at_in_time() -> None:
    known = snapshot(sweep([WITH_HEIR]), pod(), heir_pod(), reports={1: SAYS_NOTICE})
    assert step_of(WITH_HEIR, known, now=NOW).again_at == OVERDUE


def test_the_store_may_know_higher_attempts_than_the_heir() -> None:
    superseded = heir_pod(phase="Failed", **restore(Exit.SUPERSEDED, head_attempt=41))
    step = step_of(WITH_HEIR, snapshot(sweep([WITH_HEIR]), pod(), superseded), now=NOW)
    assert step.head_attempt == 41


# Its pod.


def deleted(plan: Any) -> list[int]:
    return [action.pod.attempt for action in plan.actions if isinstance(action, DeletePod)]


def test_neither_pod_is_deleted_while_it_waits() -> None:
    known = snapshot(sweep([WITH_HEIR]), pod(), heir_pod(), reports={1: SAYS_NOTICE})
    assert deleted(decide(known, NOW)) == []


@pytest.mark.parametrize(
    ("pods", "reports", "at", "gone"),
    [
        ((pod(), heir_pod(**restore(0))), {1: SAYS_NOTICE}, NOW, [1]),
        ((pod(), heir_pod()), {1: report()}, NOW, [2]),
        ((pod(), heir_pod()), {1: SAYS_NOTICE}, OVERDUE, [2]),
        ((pod(), heir_pod()), {1: report(stage=Stage.COMPLETE)}, NOW, [1, 2]),
    ],
    ids=["the one before goes when it is superseded", "it goes with the notice", "it goes when overdue", "both go"],
)
def test_whose_pod_goes(pods: Any, reports: Any, at: float, gone: list[int]) -> None:
    assert deleted(decide(snapshot(sweep([WITH_HEIR]), *pods, reports=reports), at)) == gone


def test_it_goes_when_the_sweep_is_suspended_or_has_less_room() -> None:
    of = sweep([WITH_HEIR, noticed(1, attempt=3, heir=4)], status={"attempts": 4})
    pods = (pod(), heir_pod(), pod(3, shard=1), heir_pod(4, shard=1))
    suspended = decide(snapshot(changed(of, suspend=True), *pods), NOW)
    assert sorted(deleted(suspended)) == [1, 2, 3, 4]
    assert {each.state for each in suspended.status.records} == {S.STOPPING}
    fewer = decide(snapshot(changed(of, parallelism=1), *pods), NOW)
    assert sorted(deleted(fewer)) == [3, 4]

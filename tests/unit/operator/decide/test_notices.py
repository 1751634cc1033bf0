"""What is noted of a cloud's notice, what of it goes again, and how an attempt's end is judged by it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from builders import NODE, NOW, crashed, ended, node, placed, pod, report, restore

from resumable_sweep.contract.report import NoticeKind, Report, Stage
from sweep_operator.decide.classify import finding_of
from sweep_operator.decide.notices import (
    LONGEST_NOTICE_SECONDS,
    OVERDUE_SECONDS,
    is_noted,
    judged_by_notice,
    noted,
)
from sweep_operator.model.observed import PodView, Presence
from sweep_operator.model.shard_record import ShardRecord
from sweep_operator.model.signals import Signal

GCE, EC2, ADVICE = NoticeKind.GCE_PREEMPTED, NoticeKind.EC2_INTERRUPTION, NoticeKind.EC2_REBALANCE
SOON = int(NOW) + 30
NOTICED = placed(notice=GCE, noticed_at=NOW, deadline=SOON)
WITHDRAWN = placed(notice=GCE, noticed_at=NOW, deadline=0)


def after(record: ShardRecord, says: Report | None, sees: PodView | None = None, now: float = NOW) -> ShardRecord:
    return noted(record, pod=sees or pod(), report=says, now=now).record


def event_after(record: ShardRecord, says: Report, sees: PodView | None = None) -> str:
    event = noted(record, pod=sees or pod(), report=says, now=NOW).event
    return "" if event is None else event.reason


def test_a_notice_is_noted_once_with_its_deadline() -> None:
    says = report(notice=EC2, notice_deadline=NOW + 120)
    first = noted(placed(), pod=pod(), report=says, now=NOW)
    assert (first.record.notice, first.record.noticed_at, first.record.deadline) == (EC2, NOW, NOW + 120)
    assert first.event is not None
    assert first.event.warning
    for word in (NODE, "attempt 1", "Ec2SpotInterruption", "in 120 s", "UTC"):
        assert word in first.event.message
    again = noted(first.record, pod=pod(), report=says, now=NOW + 5)
    assert (again.record, again.event) == (first.record, None)


@pytest.mark.parametrize(
    ("kind", "told", "deadline"),
    [
        (GCE, None, NOW + 30),
        (EC2, None, NOW + 120),
        (GCE, NOW + 17.5, NOW + 17),
        (GCE, NOW - 3600, NOW + 5),
        (GCE, NOW + 1e6, NOW + LONGEST_NOTICE_SECONDS),
    ],
    ids=["the cloud's usual", "the other cloud's usual", "as told", "a clock that is late", "a clock that is early"],
)
def test_the_deadline_holds_for_any_clock(kind: NoticeKind, told: float | None, deadline: float) -> None:
    assert after(placed(), report(notice=kind, notice_deadline=told)).deadline == deadline


def test_advice_is_noted_and_said_but_names_no_end() -> None:
    found = noted(placed(), pod=pod(), report=report(notice=ADVICE), now=NOW)
    assert (found.record.notice, found.record.deadline) == (ADVICE, 0)
    assert found.event is not None
    assert not found.event.warning


def test_a_hard_notice_takes_the_place_of_advice_but_not_the_other_way_round() -> None:
    advised = after(placed(), report(notice=ADVICE))
    assert after(advised, report(notice=GCE)).notice is GCE
    assert after(NOTICED, report(notice=ADVICE)) == NOTICED
    assert after(WITHDRAWN, report(notice=ADVICE)) == WITHDRAWN


def test_a_hard_notice_that_is_withdrawn_stays_known_without_a_deadline() -> None:
    before = NOTICED.changed(heir=2)
    assert after(before, report()) == WITHDRAWN
    assert event_after(before, report()) == "NoticeWithdrawn"
    assert event_after(WITHDRAWN, report()) == ""


def test_a_withdrawn_notice_may_come_back() -> None:
    assert after(WITHDRAWN, report(notice=GCE), now=NOW + 60).deadline == NOW + 90


def test_withdrawn_advice_is_forgotten() -> None:
    advised = after(placed(), report(notice=ADVICE))
    assert after(advised, report()) == placed()
    assert event_after(advised, report()) == "NoticeWithdrawn"


@pytest.mark.parametrize(
    ("says", "sees"),
    [
        (None, pod()),
        (report(stage=Stage.SEALED), pod()),
        (report(stage=Stage.RESTORING), pod()),
        (report(), pod(deleted=True)),
        (report(), crashed()),
    ],
    ids=["nothing is heard", "it has sealed", "it restores", "its pod is being deleted", "its pod has ended"],
)
def test_only_a_mirror_at_work_withdraws_a_notice(says: Report | None, sees: PodView) -> None:
    assert after(NOTICED, says, sees) == NOTICED


@pytest.mark.parametrize(
    ("record", "kind", "expected"),
    [
        (placed(), GCE, False),
        (NOTICED, GCE, True),
        (NOTICED, EC2, False),
        (NOTICED, ADVICE, True),
        (NOTICED, NoticeKind.NONE, False),
        (WITHDRAWN, GCE, False),
        (placed(notice=ADVICE, noticed_at=NOW), ADVICE, True),
        (placed(notice=ADVICE, noticed_at=NOW), GCE, False),
    ],
)
def test_what_the_sidecar_need_not_repeat(record: ShardRecord, kind: NoticeKind, expected: bool) -> None:
    assert is_noted(record, kind) is expected


@dataclass(frozen=True, kw_only=True)
class End:
    sees: PodView | None
    record: ShardRecord = NOTICED
    at: float = NOW + 10
    nodes: bool = True
    absent: bool = False
    says: Report | None = None
    signal: Signal = Signal.GCE_PREEMPTED
    ended: bool = True


def exited(code: int, at: float = NOW + 10, reason: str = "") -> PodView:
    return pod(phase="Failed" if code else "Succeeded", mains=(ended(code, at=at, reason=reason),))


OVERDUE = SOON + OVERDUE_SECONDS
ENDS = {
    "nothing has happened yet": End(sees=pod(), signal=Signal.NONE, ended=False),
    "its node shuts down": End(sees=pod(disruption="TerminationByKubelet"), ended=False),
    "its node is gone": End(sees=pod(), nodes=False),
    "its pod is gone": End(sees=None, absent=True),
    "its pod is deleted": End(sees=pod(deleted=True), ended=False),
    "it stops at the notice": End(sees=exited(143)),
    "it stops at the notice after a long item": End(sees=exited(143, at=OVERDUE + 1000), at=OVERDUE + 1000),
    "it stops at a notice that is withdrawn": End(record=WITHDRAWN, sees=exited(143)),
    "it is killed": End(sees=exited(137)),
    "it is killed when the machine was to be gone": End(
        sees=exited(137, at=OVERDUE + 1), at=OVERDUE + 99, signal=Signal.CONTAINER_KILLED
    ),
    "it is killed after the notice was withdrawn": End(
        record=WITHDRAWN, sees=exited(137), at=NOW + 99, signal=Signal.CONTAINER_KILLED
    ),
    "it uses too much memory": End(sees=exited(137, reason="OOMKilled"), signal=Signal.OUT_OF_MEMORY),
    "it exits 0 unproven": End(sees=exited(0)),
    "it exits 0 unproven after a withdrawn notice": End(record=WITHDRAWN, sees=exited(0)),
    "it crashes": End(sees=exited(1), signal=Signal.CONTAINER_FAILED),
    "it crashes while the platform ends it": End(
        sees=pod(phase="Failed", disruption="TerminationByKubelet", mains=(ended(1),))
    ),
    "its restore is ended by a signal": End(sees=pod(phase="Failed", mains=(), **restore(143))),
    "its restore finds damage": End(
        sees=pod(phase="Failed", mains=(), **restore(82)), signal=Signal.CHECKPOINT_CORRUPT
    ),
    "its node is gone long after": End(sees=pod(), nodes=False, at=OVERDUE + 1, signal=Signal.NODE_GONE),
    "its node is gone after the notice was withdrawn": End(
        record=WITHDRAWN, sees=pod(), nodes=False, signal=Signal.NODE_GONE
    ),
    "its mirror was superseded by its heir": End(
        record=NOTICED.changed(heir=2), sees=pod(), says=report(stage=Stage.STOPPED)
    ),
    "its mirror was superseded by somebody else": End(
        sees=pod(), says=report(stage=Stage.STOPPED), signal=Signal.SUPERSEDED
    ),
    "only advice was given": End(
        record=placed(notice=ADVICE, noticed_at=NOW), sees=exited(143), at=NOW + 99, signal=Signal.CONTAINER_KILLED
    ),
}


@pytest.mark.parametrize("case", ENDS.values(), ids=ENDS.keys())
def test_an_end_after_a_notice(case: End) -> None:
    presence = Presence(nodes={NODE: node()} if case.nodes else {})
    finding = finding_of(
        case.sees,
        absent=case.absent,
        incarnation=case.record.incarnation,
        presence=presence,
        report=case.says,
        unreachable_after=60,
        now=case.at,
    )
    judged = judged_by_notice(finding, case.record, pod=case.sees, now=case.at)
    assert (judged.signal, judged.ended) == (case.signal, case.ended)


def test_a_complete_shard_is_complete_whatever_was_announced() -> None:
    presence = Presence(nodes={NODE: node()})
    says = report(stage=Stage.COMPLETE)
    finding = finding_of(
        pod(), absent=False, incarnation="", presence=presence, report=says, unreachable_after=60, now=NOW
    )
    assert judged_by_notice(finding, NOTICED, pod=pod(), now=NOW) == finding

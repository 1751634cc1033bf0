from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import NODE, NOW, ended, node, placed, pod, record, report, snapshot, sweep

from resumable_sweep.contract.report import NoticeKind, Stage
from sweep_operator.decide.classify import STANDS, Finding
from sweep_operator.decide.shard import step_of
from sweep_operator.decide.silence import (
    SUSPECT_AFTER_SECONDS,
    heard_again,
    judged_by_silence,
    patience_seconds,
    suspects,
)
from sweep_operator.decide.sweep import decide
from sweep_operator.model.lease import LeaseView
from sweep_operator.model.plan import CreateAttempt, DeletePod
from sweep_operator.model.shard_record import ShardRecord, ShardState
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Snapshot

PATIENCE = 25.0
RENEWAL = 10.0
SILENT_LEASE = LeaseView(unrenewed_seconds=13.0, renewal_seconds=RENEWAL)
FRESH_LEASE = LeaseView(unrenewed_seconds=9.0, renewal_seconds=RENEWAL)


def known(
    *records: ShardRecord,
    lease: LeaseView | None = SILENT_LEASE,
    heard: float | None = NOW - 26,
    attentive: float | None = NOW - 3600,
    **fields: Any,
) -> Snapshot:
    """What is known of one attempt on a node that is ready as far as Kubernetes knows."""
    own = fields.pop("pods", (pod(),))
    spec = fields.pop("spec", {})
    return snapshot(
        sweep(records or (placed(),), **spec),
        *own,
        leases={} if lease is None else {NODE: lease},
        heard_at={} if heard is None else {1: heard},
        attentive_since=attentive,
        **fields,
    )


def verdict(of: Snapshot) -> Signal:
    pods = of.presence.pods
    return judged_by_silence(
        STANDS, of.sweep.status.records[0], pod=pods[0] if pods else None, snapshot=of, now=NOW
    ).signal


SILENT = {
    "both are silent": known(),
    "heard by an operator before this one, which restores told": known(
        placed(base=1), heard=None, attentive=NOW - PATIENCE
    ),
    "sealed, and its end was never published": known(reports={1: report(stage=Stage.SEALED)}),
    "its node is Unknown, but not for long": known(nodes=[node(ready="Unknown", ready_since=NOW - 1)]),
    "after two false alarms, and four times as long": known(
        placed(false_alarms=2), heard=NOW - 4 * PATIENCE, lease=LeaseView(2 * PATIENCE, RENEWAL)
    ),
    "more patience was asked for, and is at its end": known(
        heard=NOW - 60, lease=LeaseView(30, RENEWAL), spec={"silent_seconds": 60.0}
    ),
}
STANDING = {
    "its reports come": known(heard=NOW - PATIENCE + 1),
    "its node's Lease is renewed": known(lease=FRESH_LEASE, heard=NOW - 600),
    "its node's Lease is renewed rarely": known(lease=LeaseView(13.0, 20.0)),
    "nobody knows of its node's Lease": known(lease=None, heard=NOW - 600),
    "it has never reported": known(heard=None),
    "the operator has just started": known(placed(base=1), heard=None, attentive=NOW - PATIENCE + 1),
    "the operator was away itself": known(heard=NOW - 600, attentive=NOW - PATIENCE + 1),
    "pods report to nobody": known(attentive=None),
    "the operator may not read nodes": known(nodes_visible=False),
    "it is switched off": known(heard=NOW - 600, lease=LeaseView(600, RENEWAL), spec={"silent_seconds": 0.0}),
    "it has ended": known(pods=(pod(phase="Failed", mains=(ended(137),)),)),
    "its pod is not cached": known(pods=()),
    "after a false alarm": known(placed(false_alarms=1), heard=NOW - 49, lease=LeaseView(36, RENEWAL)),
    "after a false alarm, the Lease not watched for long": known(
        placed(false_alarms=1), heard=NOW - 60, lease=LeaseView(24, RENEWAL)
    ),
    "more patience was asked for": known(lease=LeaseView(30, RENEWAL), heard=NOW - 59, spec={"silent_seconds": 60.0}),
}


@pytest.mark.parametrize("seen", SILENT.values(), ids=SILENT.keys())
def test_what_is_presumed_dead(seen: Snapshot) -> None:
    assert verdict(seen) is Signal.NODE_SILENT


@pytest.mark.parametrize("seen", STANDING.values(), ids=STANDING.keys())
def test_what_is_waited_for(seen: Snapshot) -> None:
    assert verdict(seen) is Signal.NONE


def test_a_crash_that_was_published_before_the_silence_stays_one() -> None:
    seen = known(pods=(pod(mains=(ended(1),)),))
    assert verdict(seen) is Signal.CONTAINER_FAILED


def test_a_container_that_a_signal_ended_before_the_silence_is_no_crash() -> None:
    assert verdict(known(pods=(pod(mains=(ended(137),)),))) is Signal.NODE_SILENT


def test_other_evidence_goes_first() -> None:
    other = Finding(signal=Signal.POD_DELETED, message="the pod was deleted, not by the operator")
    seen = known()
    assert judged_by_silence(other, placed(), pod=pod(), snapshot=seen, now=NOW) is other
    complete = Finding(complete=True, ended=True)
    assert judged_by_silence(complete, placed(), pod=pod(), snapshot=seen, now=NOW) is complete


def test_the_message_has_both_silences() -> None:
    found = judged_by_silence(STANDS, placed(), pod=pod(), snapshot=known(), now=NOW)
    assert found.ended
    assert found.message == f"no report for 26 s, and the Lease of node {NODE} was not renewed for 13 s"


def test_a_shard_is_relaunched_elsewhere_at_once_and_the_old_pod_is_deleted() -> None:
    plan = decide(known(placed(done=3, base=1)), NOW)
    (created,) = [action for action in plan.actions if isinstance(action, CreateAttempt)]
    assert (created.attempt, created.resumes) == (2, True)
    assert created.replaces is not None
    assert (created.replaces.signal, created.replaces.node) == (Signal.NODE_SILENT, NODE)
    (deleted,) = [action for action in plan.actions if isinstance(action, DeletePod)]
    assert deleted.pod == pod()
    # Ordinary, with time to flush: a zombie may be alive. Nothing is forced.
    assert deleted.grace_seconds
    assert plan.status.reclaims_by_signal == {"NodeSilent": 1}
    assert (plan.status.records[0].attempt, plan.status.records[0].silenced) == (2, 1)


def test_a_zombie_that_stays_terminating_holds_nothing_up() -> None:
    other = node("node-b")
    home = f"{other.name}/{other.incarnation}"
    after = record(attempt=2, node=home, signal=Signal.NODE_SILENT, since=NOW - 60, silenced=1)
    seen = known(after, pods=(pod(deleted=True), pod(2, node=other.name)), heard=NOW - 86, nodes=[node(), other])
    plan = decide(seen, NOW)
    assert plan.actions == ()
    assert plan.status.records[0].state is ShardState.ACTIVE


def test_a_notice_that_was_heard_before_names_the_loss() -> None:
    noticed = placed(notice=NoticeKind.GCE_PREEMPTED, noticed_at=NOW - 30, deadline=int(NOW), heir=2)
    step = step_of(noticed, known(noticed), now=NOW)
    assert step.reclaim is not None
    assert step.reclaim.signal is Signal.GCE_PREEMPTED
    assert not step.record.silenced


# False alarms.

PRESUMED = placed(attempt=2, signal=Signal.NODE_SILENT, since=NOW - 60, silenced=1, done=3)


def again(of: ShardRecord, heard: float, **fields: Any) -> Snapshot:
    return known(of, heard=heard, **{"pods": (pod(deleted=True), pod(2)), **fields})


def test_a_false_alarm_doubles_the_shards_patience() -> None:
    heard = heard_again(PRESUMED, again(PRESUMED, NOW - 1))
    assert heard.record == PRESUMED.changed(silenced=0, false_alarms=1)
    assert heard.event is not None
    assert heard.event.reason == "FalseAlarm"
    assert heard.event.message == (
        f"shard 0, attempt 1 on {NODE}: not dead, as it reports again; from now on this shard's attempts are presumed "
        "dead after 50 s of silence"
    )
    spec = again(PRESUMED, NOW).sweep.spec
    patience = [patience_seconds(PRESUMED.changed(false_alarms=count), spec) for count in (0, 1, 2, 5, 6, 99)]
    assert patience == [25, 50, 100, 800, 800, 800]


def test_a_false_alarm_is_counted_once() -> None:
    once = step_of(PRESUMED, again(PRESUMED, NOW - 1), now=NOW)
    twice = step_of(once.record, again(once.record, NOW - 0.5), now=NOW)
    assert [event.reason for event in (*once.events, *twice.events)] == ["FalseAlarm"]
    assert twice.record.false_alarms == 1


def test_a_pod_that_is_gone_since_was_alive_if_it_has_reported() -> None:
    heard = heard_again(PRESUMED, again(PRESUMED, NOW - 1, pods=(pod(2),)))
    assert heard.record.false_alarms == 1


@pytest.mark.parametrize("state", [ShardState.WAITING, ShardState.FAILED])
def test_a_false_alarm_is_heard_whatever_became_of_the_shard(state: ShardState) -> None:
    waiting = PRESUMED.changed(state=state)
    assert step_of(waiting, again(waiting, NOW - 1), now=NOW).record.false_alarms == 1


NO_FALSE_ALARM = {
    "Kubernetes has lost the node, too": again(PRESUMED, NOW - 1, nodes=[node(ready="Unknown", ready_since=NOW - 20)]),
    "it had lost it, and the node is back": again(PRESUMED, NOW - 1, nodes=[node(ready_since=NOW - 5)]),
    "the node is gone": again(PRESUMED, NOW - 1, nodes=[]),
}


@pytest.mark.parametrize("seen", NO_FALSE_ALARM.values(), ids=NO_FALSE_ALARM.keys())
def test_a_machine_that_was_really_cut_off_is_no_false_alarm(seen: Snapshot) -> None:
    heard = heard_again(PRESUMED, seen)
    assert heard.event is None
    assert heard.record == PRESUMED.changed(silenced=0)


def test_silence_goes_on_being_silence() -> None:
    assert heard_again(PRESUMED, again(PRESUMED, NOW - 86)).record is PRESUMED


def test_a_later_end_of_another_kind_closes_the_matter() -> None:
    later = PRESUMED.changed(signal=Signal.CONTAINER_FAILED)
    heard = heard_again(later, again(later, NOW - 1))
    assert heard.record == later.changed(silenced=0)
    crashed = PRESUMED.changed(signal=Signal.NODE_SILENT)
    gone = known(crashed, pods=(), heard=NOW - 86, absent=frozenset({2}))
    assert step_of(crashed, gone, now=NOW).record.silenced == 0


# Whose Leases are read.


def suspected(of: Snapshot, **spec: Any) -> list[int]:
    owner = replace(of.sweep, spec=replace(of.sweep.spec, **spec))
    found = suspects(owner, heard_at=of.heard_at, attentive_since=of.attentive_since, now=NOW)
    return [each.attempt for each in found]


def test_a_lease_is_read_when_a_report_is_missing() -> None:
    assert suspected(known(heard=NOW - SUSPECT_AFTER_SECONDS)) == [1]
    assert suspected(known(heard=NOW - SUSPECT_AFTER_SECONDS + 0.1)) == []
    assert suspected(known(heard=None)) == []
    assert suspected(known(placed(base=1), heard=None)) == [1]
    assert suspected(known(heard=NOW - 600, attentive=NOW - SUSPECT_AFTER_SECONDS + 0.1)) == []
    assert suspected(known(attentive=None)) == []
    assert suspected(known(), silent_seconds=0.0) == []
    assert suspected(known(record(state=ShardState.WAITING, attempt=1))) == []

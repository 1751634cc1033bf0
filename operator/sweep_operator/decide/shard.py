"""One shard, one step: from its record and the evidence to its next record."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sweep_operator.decide.budgets import charged, excused
from sweep_operator.decide.classify import Finding, finding_of, judged_by_leave
from sweep_operator.decide.cleanup import STOP_GRACE_SECONDS
from sweep_operator.decide.images import Images, drift_of
from sweep_operator.decide.notices import LONGEST_NOTICE_SECONDS, Noted, judged_by_notice, noted
from sweep_operator.decide.pacing import LONGEST_DELAY_SECONDS
from sweep_operator.decide.progress import made_progress, newest_report, progress_of
from sweep_operator.decide.silence import heard_again, judged_by_silence
from sweep_operator.decide.succession import (
    Standing,
    heir_step,
    may_succeed,
    standing_of,
    succeeded,
    succession_event,
    was_never_made,
)
from sweep_operator.decide.undisturbed import is_undisturbed
from sweep_operator.model.observed import PodView
from sweep_operator.model.plan import SweepEvent
from sweep_operator.model.reclaim import Reclaim
from sweep_operator.model.shard_record import HIGHEST_NUMBER, UNDER_WAY, ShardRecord, ShardState
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Snapshot

LEAVING_SECONDS = 30
"""How long a shard waits for a reclaimed attempt to flush and end before its successor is made.

Longer than the 15 s that GKE gives ordinary pods, and bounded because a pod on a dead node never ends.
"""

_NO_IMAGES: Images = {}
_FREE_RETRIES = 2
_FIRST_DELAY_SECONDS = 5


@dataclass(frozen=True, kw_only=True)
class Step:
    """A shard's next record, and what the step brought to light."""

    record: ShardRecord
    reclaim: Reclaim | None = None
    newly_lost: int = 0
    head_attempt: int = 0
    """Highest attempt that the store knows, where it is ahead of the status."""
    events: tuple[SweepEvent, ...] = ()
    again_at: float | None = None


def step_of(record: ShardRecord, snapshot: Snapshot, *, now: float, images: Images = _NO_IMAGES) -> Step:
    """Return what becomes of a shard; `images` is what the attempts of the sweep have run so far."""
    again = heard_again(record, snapshot)
    step = _step_of(again.record, snapshot, now=now, images=images)
    return step if again.event is None else replace(step, events=(again.event, *step.events))


def _step_of(record: ShardRecord, snapshot: Snapshot, *, now: float, images: Images) -> Step:
    if record.state in (ShardState.WAITING, ShardState.COMPLETE, ShardState.FAILED):
        return Step(record=record)
    pod = snapshot.pod_of(record.attempt)
    report = newest_report(pod, snapshot.reports.get(record.attempt))
    node = snapshot.presence.nodes.get(pod.node) if pod else None
    incarnation = snapshot.placements.get(record.attempt) or (node.incarnation if node else "")
    progress = progress_of(record, pod=pod, incarnation=incarnation, report=report)
    if pod is not None and is_undisturbed(progress.record, pod, snapshot, report=report, images=images):
        # So it is with nearly all shards at nearly every look, of which a sweep may have thousands.
        return Step(
            record=progress.record,
            newly_lost=progress.newly_lost,
            head_attempt=_head_attempt(pod),
            events=() if progress.damaged is None else (progress.damaged,),
        )
    notice = Noted(progress.record)
    if standing_of(progress.record, snapshot) not in (Standing.TAKEN, Standing.COMPLETE):
        # An heir that has the shard keeps it, whatever is announced of the machine before it by now.
        notice = noted(progress.record, pod=pod, report=report, now=now)
    finding = finding_of(
        pod,
        absent=record.attempt in snapshot.absent,
        incarnation=notice.record.incarnation,
        presence=snapshot.presence,
        report=report,
        unreachable_after=snapshot.sweep.spec.unreachable_seconds,
        now=now,
    )
    finding = judged_by_silence(finding, notice.record, pod=pod, snapshot=snapshot, now=now)
    finding = judged_by_notice(finding, notice.record, pod=pod, now=now)
    finding = judged_by_leave(finding, pod=pod, attempt=record.attempt, snapshot=snapshot)
    drift = drift_of(pod, images)
    stands = record.state is not ShardState.STOPPING and not finding.complete
    if drift and stands and (not finding.signal or finding.signal.is_user_failure):
        # Whatever else is wrong with it: what it records comes from something else than the results so far.
        finding = Finding(signal=Signal.DRIFT, ended=True, message=drift)
    heir = heir_step(notice.record, finding, snapshot, now=now)
    step = _next_step(heir.record, heir.finding, snapshot=snapshot, now=now)
    if heir.reclaim is not None:
        told = succession_event(heir.reclaim, heir=record.heir, snapshot=snapshot)
        events = step.events if told is None else (told, *step.events)
        step = replace(step, record=step.record.changed(attempt=record.heir), reclaim=heir.reclaim, events=events)
    followed = _followed(step, snapshot, now=now)
    said = [progress.damaged, notice.event, *heir.events, *followed.events]
    if drift and finding.signal is not Signal.DRIFT and step.record.state not in UNDER_WAY:
        message = f"shard {record.shard}, attempt {record.attempt}: what it has recorded counts, although {drift}"
        said.append(SweepEvent(reason=Signal.DRIFT.value, message=message, warning=True))
    looks = [at for at in (heir.again_at, followed.again_at) if at is not None]
    return Step(
        record=followed.record,
        reclaim=followed.reclaim,
        newly_lost=progress.newly_lost,
        head_attempt=max(_head_attempt(snapshot.pod_of(attempt)) for attempt in record.attempts),
        events=tuple(event for event in said if event is not None),
        again_at=min(looks, default=None),
    )


def _followed(step: Step, snapshot: Snapshot, *, now: float) -> Step:
    """Return the step with the heir in the place of an attempt that has ended, where there is one."""
    record, reclaim = step.record, step.reclaim
    if record.state in UNDER_WAY:
        return step
    if record.state is not ShardState.WAITING or not may_succeed(record, standing_of(record, snapshot)):
        return replace(step, record=record.changed(heir=0, heir_ended=False))
    events = step.events
    if reclaim is not None:
        # The notice was the first sign: by it the replacement's time is measured.
        reclaim = replace(reclaim, time=record.noticed_at)
        told = succession_event(reclaim, heir=record.heir, snapshot=snapshot)
        events = (*events, told) if told is not None else events
    # What the heir has reported so far is read at the next look.
    return replace(step, record=succeeded(record), reclaim=reclaim, events=events, again_at=now)


def _head_attempt(pod: PodView | None) -> int:
    head = pod.restore_outcome.details.get("head_attempt", 0) if pod and pod.restore_outcome else 0
    # What cannot be a number of an attempt would make the status one that no API server takes.
    return head if type(head) is int and 0 <= head <= HIGHEST_NUMBER else 0


def _next_step(record: ShardRecord, finding: Finding, *, snapshot: Snapshot, now: float) -> Step:
    pod = snapshot.pod_of(record.attempt)
    if finding.complete:
        if not finding.ended:
            return Step(record=record)
        failed = next((main for main in pod.mains if main.exit_code), None) if pod is not None else None
        after = f"; container {failed.name} exited {failed.exit_code} after its last item" if failed else ""
        message = f"shard {record.shard} is complete: {record.done} items{after}"
        done = SweepEvent(reason="ShardComplete", message=message, warning=failed is not None)
        # A complete shard needs no memory beyond that, and tables are to be small.
        complete = ShardRecord(
            shard=record.shard,
            state=ShardState.COMPLETE,
            attempt=record.attempt,
            done=record.done,
            recorded=record.done,
            user_failures=record.user_failures,
        )
        return Step(record=complete, events=(done,))
    if was_never_made(record.attempt, snapshot) and not record.node:
        return Step(record=excused(record).changed(state=ShardState.WAITING))
    if record.state is ShardState.STOPPING:
        stuck_at = None if pod is None or snapshot.sweep.spec.suspend else _stuck_at(pod)
        stuck = stuck_at is not None and now >= stuck_at
        if finding.ended or stuck or (pod is not None and pod.is_terminal):
            stopped = excused(record).changed(state=ShardState.WAITING, signal=Signal.STOPPED, since=now)
            return Step(record=stopped)
        looks = [at for at in (finding.again_at, stuck_at) if at is not None]
        return Step(record=record, again_at=min(looks, default=None))
    if record.state is ShardState.LEAVING:
        leaves_until = record.since + LEAVING_SECONDS
        if record.live_heir:
            # The successor is made already: until the machine goes, to wait for the seal costs less than to work again.
            leaves_until = max(leaves_until, min(record.deadline, record.since + LONGEST_NOTICE_SECONDS))
        if record.since > now + LEAVING_SECONDS:
            # The operator's clock was ahead when that was written: nobody is to wait until it has come so far again.
            leaves_until = now
        if finding.ended or (pod is not None and pod.is_terminal) or now >= leaves_until:
            return _ended(record, Finding(signal=record.signal, message=finding.message), snapshot=snapshot, now=now)
        if not finding.signal and pod is not None:
            # What announced the end was taken back, and the pod still runs.
            return Step(record=record.changed(state=ShardState.ACTIVE, signal=Signal.NONE, since=0))
        return Step(record=record, again_at=leaves_until)
    if not finding.signal:
        return Step(record=record, again_at=finding.again_at)
    silenced = record.attempt if finding.signal is Signal.NODE_SILENT else 0
    begun_before = not record.signal and _head_attempt(pod) >= record.attempt
    record = record.changed(signal=finding.signal, since=now, silenced=silenced)
    if begun_before and finding.signal is Signal.SUPERSEDED:
        # An earlier sweep has begun this run: that numbers began at 1 again is nobody's failure, the first time.
        said = f"shard {record.shard}, attempt {record.attempt}: {finding.message}; numbers go on from there"
        event = SweepEvent(reason=Signal.SUPERSEDED.value, message=said, warning=True)
        waiting = excused(record).changed(state=ShardState.WAITING, not_before=int(now + delay_seconds(1)))
        return Step(record=waiting, events=(event,))
    if finding.ended:
        return _ended(record, finding, snapshot=snapshot, now=now)
    return Step(record=record.changed(state=ShardState.LEAVING), again_at=now + LEAVING_SECONDS)


def _stuck_at(pod: PodView) -> float | None:
    """Return from when on a pod that the operator has stopped is not waited for any more (Unix seconds).

    Its containers were killed when its grace was over. What is still there then may be there for ever: its node is
    dead and nobody says so, or its kubelet cannot get rid of it. A suspended sweep has nothing to lose by waiting, and
    says that no pod runs any more only when that is so.
    """
    return pod.deleted_at + STOP_GRACE_SECONDS + LEAVING_SECONDS if pod.deleted and pod.deleted_at else None


def _ended(record: ShardRecord, finding: Finding, *, snapshot: Snapshot, now: float) -> Step:
    """Return the verdict on an attempt that has ended without completing its shard."""
    signal = finding.signal
    where = f" on {record.node_name}" if record.node_name else ""
    said = f"shard {record.shard}, attempt {record.attempt}{where}: {finding.message or signal}"
    if signal.is_final:
        failed = SweepEvent(reason=signal.value, message=said, warning=True)
        return Step(record=record.changed(state=ShardState.FAILED), events=(failed,))
    if signal is Signal.FORBIDDEN:
        # Nobody's fault that a budget knows: the next one waits until a pod is made that may stay.
        gone = SweepEvent(reason=signal.value, message=said, warning=True)
        return Step(record=excused(record).changed(state=ShardState.WAITING), events=(gone,))
    charge = charged(record, pod=snapshot.pod_of(record.attempt), spec=snapshot.sweep.spec)
    record = charge.record
    if charge.refused:
        message = f"{said}; {charge.refused}: the shard stops"
        refused = SweepEvent(reason=charge.reason or "ShardFailed", message=message, warning=True)
        failed_reclaim = reclaim_of(record) if signal.is_reclaim else None
        return Step(record=record.changed(state=ShardState.FAILED), reclaim=failed_reclaim, events=(refused,))
    if signal.is_user_failure or signal is Signal.UNPROVEN:
        delay = delay_seconds(record.unexplained or record.user_failures)
        message = f"{said}; {charge.said}, again in {delay} s"
        again = SweepEvent(reason=signal.value, message=message, warning=True)
        return Step(record=record.changed(state=ShardState.WAITING, not_before=int(now + delay)), events=(again,))
    # Of a program whose items nobody counts there is only what it has stored.
    came_far = made_progress(record) or (signal.is_reclaim and record.base > 0 and not record.barren)
    setbacks = 0 if came_far else record.setbacks + 1
    delay = delay_seconds(setbacks - _FREE_RETRIES if signal.is_reclaim else setbacks)
    waiting = record.changed(state=ShardState.WAITING, setbacks=setbacks, not_before=int(now + delay) if delay else 0)
    if signal.is_reclaim:
        return Step(record=waiting, reclaim=reclaim_of(waiting))
    message = f"{said}; {charge.said}"
    return Step(record=waiting, events=(SweepEvent(reason=signal.value, message=message, warning=True),))


def reclaim_of(record: ShardRecord) -> Reclaim:
    """Return the reclaim by which the shard's latest attempt ended."""
    return Reclaim(
        time=record.since,
        node=record.node_name,
        shard=record.shard,
        attempt=record.attempt,
        signal=record.signal,
        items_safe=record.done,
    )


def delay_seconds(failures: int) -> int:
    """Return the delay after so many failures in a row: 5 s, doubling up to 5 min; 0 where there was none."""
    if failures <= 0:
        return 0
    return min(LONGEST_DELAY_SECONDS, _FIRST_DELAY_SECONDS << min(failures - 1, 16))

"""The attempt that is made ahead of time after a hard notice: until it takes its shard over, or goes again."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from resumable_sweep.contract.report import NoticeKind, Stage
from sweep_operator.decide.budgets import begun
from sweep_operator.decide.classify import Finding, failure_of, has_failed, is_complete
from sweep_operator.decide.notices import LONGEST_NOTICE_SECONDS, OVERDUE_SECONDS
from sweep_operator.decide.progress import newest_report
from sweep_operator.model.observed import PodView
from sweep_operator.model.plan import SweepEvent
from sweep_operator.model.reclaim import Reclaim
from sweep_operator.model.shard_record import ShardRecord, ShardState
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Snapshot

TAKE_MARGIN_SECONDS = 5
"""How long after the deadline an heir takes over where nobody tells it that the attempt before has ended."""


class Standing(Enum):
    """How far an heir has come."""

    NONE = auto()
    NEVER_MADE = auto()
    """Nobody knows that it ever had a pod, and nobody will make it one."""
    WAITING = auto()
    """It is to be made, is being made, or waits for the attempt before it to end."""
    TAKEN = auto()
    """It has taken the shard: the attempt before can store nothing any more."""
    COMPLETE = auto()
    """The shard is complete: it has found it so, or has completed it before anybody looked."""
    ENDED = auto()
    """It has ended, or is about to, without having taken the shard."""


@dataclass(frozen=True)
class HeirStep:
    """A record whose heir is up to date, what that says of its attempt, and what is to be said about it.

    `reclaim` is the one after which the heir has completed the shard, None where there is nothing like that.
    """

    record: ShardRecord
    finding: Finding
    events: tuple[SweepEvent, ...] = ()
    again_at: float | None = None
    reclaim: Reclaim | None = None


def standing_of(record: ShardRecord, snapshot: Snapshot) -> Standing:
    """Return how far the heir of a shard has come."""
    heir = record.live_heir
    if not heir:
        return Standing.NONE
    if was_never_made(heir, snapshot):
        return Standing.NEVER_MADE
    pod = snapshot.pod_of(heir)
    report = newest_report(pod, snapshot.reports.get(heir))
    if is_complete(pod, report):
        return Standing.COMPLETE
    # How much there is to restore is told only after the shard was taken.
    at_work = report is not None and (report.stage is not Stage.RESTORING or report.restore_bytes > 0)
    if at_work or (pod is not None and pod.has_restored):
        return Standing.TAKEN
    if heir in snapshot.absent or (pod is not None and (pod.is_terminal or pod.deleted)):
        return Standing.ENDED
    return Standing.WAITING


def was_never_made(attempt: int, snapshot: Snapshot) -> bool:
    """Return whether nobody knows that an attempt ever had a pod, and nobody will make it one: it is burnt.

    Either another process allocated it, and ended before it made the pod, or the answer to the creation was lost.
    """
    creation = snapshot.creations.get(attempt)
    unmade = creation is None or (creation.uncertain and not creation.seen)
    return attempt in snapshot.absent and unmade


def heir_step(record: ShardRecord, finding: Finding, snapshot: Snapshot, *, now: float) -> HeirStep:
    """Return what becomes of a shard's heir, and what that tells of the attempt before it, beyond `finding`."""
    standing = standing_of(record, snapshot)
    if standing is Standing.NEVER_MADE:
        return HeirStep(record.changed(heir=0), finding)
    if standing is Standing.COMPLETE:
        # What the attempt before has stored last nobody may have heard from itself.
        report = newest_report(snapshot.pod_of(record.heir), snapshot.reports.get(record.heir))
        done = max(record.done, report.items_done) if report is not None else record.done
        complete = Finding(complete=True, ended=True)
        return HeirStep(record.changed(done=done), complete, reclaim=_reclaim_before(record, finding, snapshot))
    if standing is Standing.TAKEN and not finding.ended:
        pod = snapshot.pod_of(record.attempt)
        if pod is not None and has_failed(pod):
            # Its containers have ended, and its mirror has sealed the log, before its pod was said to have failed.
            return HeirStep(record, failure_of(pod, now=now))
        said = f"attempt {record.heir} has taken the shard over"
        return HeirStep(record, Finding(signal=Signal(record.notice.value), ended=True, message=said))
    if standing is Standing.ENDED:
        return HeirStep(record.changed(heir_ended=True), finding, (_ended_event(record, snapshot),))
    if standing is Standing.WAITING and not finding.signal and not finding.complete:
        overdue_at = record.deadline + OVERDUE_SECONDS
        if now < overdue_at:
            return HeirStep(record, finding, again_at=overdue_at)
        return HeirStep(record.changed(heir_ended=True), finding, (_overdue_event(record),))
    return HeirStep(record, finding)


def _reclaim_before(record: ShardRecord, finding: Finding, snapshot: Snapshot) -> Reclaim | None:
    """Return what ended the attempt before an heir that has completed the shard; None where it did so itself."""
    before, heir = snapshot.pod_of(record.attempt), snapshot.pod_of(record.heir)
    worked = heir is not None and heir.has_restored
    if not worked or finding.complete or (before is not None and has_failed(before)):
        return None
    report = newest_report(heir, snapshot.reports.get(record.heir))
    return Reclaim(
        time=record.noticed_at,
        node=record.node_name,
        shard=record.shard,
        attempt=record.attempt,
        signal=finding.signal if finding.signal.is_reclaim else Signal(record.notice.value),
        items_safe=max(record.done, report.items_restored if report is not None else 0),
    )


def _ended_event(record: ShardRecord, snapshot: Snapshot) -> SweepEvent:
    pod = snapshot.pod_of(record.heir)
    said = (
        f"shard {record.shard}: attempt {record.heir}, which was to take over from attempt {record.attempt}, has ended "
        f"before ({_last_words(pod)}); the next one is made when attempt {record.attempt} has ended"
    )
    return SweepEvent(reason="SuccessorEnded", message=said, warning=True)


def _last_words(pod: PodView | None) -> str:
    if pod is None:
        return "its pod is gone"
    if pod.restore_outcome is not None:
        return pod.restore_outcome.message
    return f"{pod.reason} {pod.message}".strip() or ("its pod was deleted" if pod.deleted else "its pod has failed")


def _overdue_event(record: ShardRecord) -> SweepEvent:
    said = (
        f"shard {record.shard}: the machine of attempt {record.attempt} is still there {OVERDUE_SECONDS} s after its "
        f"deadline, so {record.notice} has come to nothing; attempt {record.heir}, which was to take over, goes"
    )
    return SweepEvent(reason="NoticeOverdue", message=said)


def needs_heir(record: ShardRecord, *, now: float) -> bool:
    """Return whether a shard's next attempt is to be made ahead of time: one a notice, and none when it is too late."""
    standing = record.state in (ShardState.ACTIVE, ShardState.LEAVING)
    return standing and record.notice.is_hard and not record.heir and now < record.deadline


def take_after_seconds(record: ShardRecord, *, now: float) -> int:
    """Return how long an heir that is made now may wait at most before it takes the shard.

    It counts from the start of its restore, and is no time of day: clocks of machines differ.
    """
    left = record.deadline + TAKE_MARGIN_SECONDS - now
    return int(min(max(left, 1), LONGEST_NOTICE_SECONDS))


def may_succeed(record: ShardRecord, standing: Standing) -> bool:
    """Return whether the heir goes on with a shard whose attempt has ended.

    After a failure of the program the next attempt has to wait: an heir that has not taken the shard goes.
    """
    if standing is Standing.TAKEN:
        return True
    return standing is Standing.WAITING and not record.signal.is_user_failure


def succeeded(record: ShardRecord) -> ShardRecord:
    """Return the record with the heir as the shard's current attempt; the one before was gone from its notice on."""
    return begun(without_notice(record)).changed(
        state=ShardState.ACTIVE, attempt=record.heir, since=record.noticed_at, base=0, node="", not_before=0
    )


def without_notice(record: ShardRecord) -> ShardRecord:
    """Return the record for another machine, of which nothing is announced."""
    return record.changed(notice=NoticeKind.NONE, noticed_at=0.0, deadline=0, heir=0, heir_ended=False)


def succession_event(reclaim: Reclaim, *, heir: int, snapshot: Snapshot) -> SweepEvent | None:
    """Return what is said when an heir takes the place of a reclaimed attempt; None where its pod is still to be made.

    Then it is said at the creation, as of any replacement.
    """
    creation, pod = snapshot.creations.get(heir), snapshot.pod_of(heir)
    created_at = creation.created_at if creation is not None else pod.created_at if pod is not None else None
    if created_at is None:
        return None
    seconds = max(0.0, created_at - reclaim.time)
    return SweepEvent(reason="Reclaimed", message=reclaim.told(replacement=heir, seconds=seconds), warning=True)

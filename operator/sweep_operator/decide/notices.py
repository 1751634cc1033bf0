"""What a cloud announces about an attempt's machine: noted, withdrawn, and the attempt's end judged by it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from resumable_sweep.contract.report import NoticeKind, Report, Stage
from sweep_operator.decide.classify import Finding, was_ended_by_signal
from sweep_operator.model.observed import PodView
from sweep_operator.model.plan import SweepEvent
from sweep_operator.model.shard_record import ShardRecord
from sweep_operator.model.signals import Signal

OVERDUE_SECONDS = 60
"""A machine that is still there so long after its deadline is not going: the notice has come to nothing."""

LONGEST_NOTICE_SECONDS = 900
"""No cloud announces a hard end earlier than this; a deadline beyond it comes from a clock that is wrong."""

_SHORTEST_NOTICE_SECONDS = 5

_USUAL_SECONDS = {NoticeKind.GCE_PREEMPTED: 30, NoticeKind.EC2_INTERRUPTION: 120, NoticeKind.AZURE_PREEMPT: 30}
"""How long before the end a cloud gives notice, for where it names no deadline."""

_OF_CONTAINERS = (Signal.NONE, Signal.CONTAINER_FAILED, Signal.CONTAINER_KILLED, Signal.START_FAILED)
"""What a pod is said to have ended of where nothing but exit codes is known."""


@dataclass(frozen=True)
class Noted:
    """A record brought up to date, and what is to be said about it."""

    record: ShardRecord
    event: SweepEvent | None = None


def noted(record: ShardRecord, *, pod: PodView | None, report: Report | None, now: float) -> Noted:
    """Return the record with the notice that its attempt's newest report carries, or without the one that it had."""
    if report is None:
        return Noted(record)
    if report.notice and not _stands(record, report.notice):
        return _noted(record, report, now=now)
    # Only a mirror that is at work knows that there is none: one that is ending has stopped asking.
    at_work = report.stage is Stage.MIRRORING and pod is not None and not pod.is_terminal and not pod.deleted
    if not report.notice and at_work and _stands(record, record.notice):
        return _withdrawn(record)
    return Noted(record)


def is_noted(record: ShardRecord, notice: NoticeKind) -> bool:
    """Return whether a record keeps this notice: written to the status, it outlives the operator."""
    return _stands(record, notice) or (bool(notice) and not notice.is_hard and record.notice.is_hard)


def _stands(record: ShardRecord, notice: NoticeKind) -> bool:
    """Return whether `notice` is what is announced; a hard one that was withdrawn has no deadline any more."""
    return bool(notice) and record.notice is notice and (not notice.is_hard or record.deadline > 0)


def _noted(record: ShardRecord, report: Report, *, now: float) -> Noted:
    kind = report.notice
    if record.notice.is_hard and not kind.is_hard:
        # Advice adds nothing to the certain end; and one that was withdrawn still tells why the program may have ended.
        return Noted(record)
    told = report.notice_deadline
    deadline = 0
    if kind.is_hard:
        # Told by the machine's clock or the cloud's: what follows from it must hold for any.
        wanted = told or now + _USUAL_SECONDS[kind]
        deadline = int(min(max(wanted, now + _SHORTEST_NOTICE_SECONDS), now + LONGEST_NOTICE_SECONDS))
        told = deadline
    when = f" at {datetime.fromtimestamp(int(told), tz=UTC):%H:%M:%S} UTC, in {told - now:.0f} s" if told else ""
    what = "takes the machine away" if kind.is_hard else "may disturb the machine or take it away"
    said = f"{_attempt(record)}: the cloud {what}{when} ({kind})"
    after = record.changed(notice=kind, noticed_at=now, deadline=deadline, heir=0, heir_ended=False)
    return Noted(after, SweepEvent(reason="Notice", message=said, warning=kind.is_hard))


def _withdrawn(record: ShardRecord) -> Noted:
    said = f"{_attempt(record)}: the cloud has withdrawn {record.notice}"
    if record.live_heir:
        said += f"; attempt {record.heir}, which was to take over, goes"
    event = SweepEvent(reason="NoticeWithdrawn", message=said)
    if record.notice.is_hard:
        return Noted(record.changed(deadline=0, heir=0, heir_ended=False), event)
    return Noted(record.changed(notice=NoticeKind.NONE, noticed_at=0.0), event)


def _attempt(record: ShardRecord) -> str:
    return f"shard {record.shard}, attempt {record.attempt}" + (f" on {record.node_name}" if record.node else "")


def judged_by_notice(finding: Finding, record: ShardRecord, *, pod: PodView | None, now: float) -> Finding:
    """Return a finding about an attempt whose machine was announced to go: the notice is the earliest evidence.

    An exit by SIGTERM, or one with code 0 that proves nothing, is what a program does that stops for a notice, however
    long its last item took and even if the notice was withdrawn. SIGKILL is what is left of a machine, but also what a
    program earns that uses too much memory: it counts as the machine's until it is overdue. Any other code was the
    program's own decision, while nothing had been taken away from it yet: it stays a failure. (Where the platform has
    ended the pod by then, that is evidence of its own.)
    """
    if not record.notice.is_hard or finding.complete:
        return finding
    signal = Signal(record.notice.value)
    overdue_at = record.deadline + OVERDUE_SECONDS
    if finding.signal.is_reclaim or (finding.signal is Signal.SUPERSEDED and record.heir):
        return replace(finding, signal=signal) if now <= overdue_at else finding
    if finding.signal is Signal.UNPROVEN:
        return replace(finding, signal=signal, message="all containers exited 0 after the notice")
    if pod is None or not pod.is_terminal or finding.signal not in _OF_CONTAINERS:
        return finding
    ended_at = max((main.finished_at or 0.0 for main in (*pod.inits, *pod.mains)), default=0.0)
    codes = {143} if ended_at > overdue_at else {137, 143}
    if was_ended_by_signal(pod, codes):
        return Finding(signal=signal, ended=True, message="its containers were ended by a signal after the notice")
    return finding

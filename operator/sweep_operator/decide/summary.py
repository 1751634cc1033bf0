"""What a person sees of a sweep: counts, phase, conditions, and when it will end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sweep_operator.decide.images import drift_of
from sweep_operator.decide.platform import platform_problems
from sweep_operator.decide.progress import newest_report
from sweep_operator.decide.sidecars import mirrors_down, silence
from sweep_operator.model.observed import PodView
from sweep_operator.model.problem import Problem, clipped
from sweep_operator.model.shard_record import ShardRecord, ShardState
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Condition, Snapshot, SweepStatus

_MORE = re.compile(r" \(and \d+ more: [^)]*\)$")
_REASONS_TOLD = 3
_LONGEST_MESSAGE = 1024
_PASSING = frozenset({"QuotaExceeded", "Unschedulable", "SchedulingGated", "StillStarting", "ApiUnavailable"})
"""Reasons that mostly pass by themselves, when there is room: whatever needs somebody is told before them."""


def total_items(status: SweepStatus, snapshot: Snapshot, records: Sequence[ShardRecord]) -> int | None:
    """Return the number of the sweep's items, None while it is not known.

    Where the specification does not name them, it is the sum of what the shards' own programs have said.
    """
    if status.items_sha256 or status.merged:
        return status.items_total
    pods = snapshot.pods_by_attempt
    totals = []
    for record in records:
        report = newest_report(pods.get(record.attempt), snapshot.reports.get(record.attempt))
        if report is not None and report.items_total is not None:
            totals.append(report.items_total)
        elif record.state is ShardState.COMPLETE:
            totals.append(record.done)
        else:
            return status.items_total
    return sum(totals)


def running_pods(snapshot: Snapshot, records: Sequence[ShardRecord]) -> int:
    """Return how many current attempts run their experiment."""
    pods = snapshot.pods_by_attempt
    current = (pods.get(record.attempt) for record in records)
    return sum(pod is not None and pod.is_running for pod in current)


def eta_text(*, done: int, total: int | None, started_at: float | None, now: float) -> str:
    """Return the time that is left at the rate so far, for example `3m20s`; empty while that cannot be told."""
    if not done or total is None or started_at is None or now <= started_at or done >= total:
        return ""
    return duration_text((total - done) * (now - started_at) / done)


def duration_text(seconds: float) -> str:
    """Return a duration in its two largest units: `45s`, `3m20s`, `2h5m`, `1d4h`."""
    whole = max(0, round(seconds))
    units = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
    for place, (unit, size) in enumerate(units):
        if whole >= size or unit == "s":
            text = f"{whole // size}{unit}"
            if place + 1 < len(units):
                smaller, smaller_size = units[place + 1]
                rest = whole % size // smaller_size
                text += f"{rest}{smaller}" if rest else ""
            return text
    return ""


def problems_of(snapshot: Snapshot, records: Sequence[ShardRecord], *, now: float) -> list[Problem]:
    """Return what keeps the current attempts from working, what needs somebody first."""
    found = []
    pods = snapshot.pods_by_attempt
    # Whoever looks at thousands of shards looks closely at those alone of which there may be something to tell.
    troubled = [record for record in records if not _is_at_peace(record, snapshot)]
    for record in troubled:
        report = snapshot.reports.get(record.attempt)
        if report is not None and report.problem and record.state is ShardState.ACTIVE:
            found.append(Problem(reason=report.problem, message=f"shard {record.shard}: {report.message}"))
        if record.signal is Signal.DRIFT and record.state is ShardState.WAITING:
            found.append(
                Problem(
                    reason=Signal.DRIFT.value,
                    message=_drift_text(record, pods.get(record.attempt), snapshot.sweep.status),
                )
            )
        if record.signal is Signal.UNPROVEN and record.state in (ShardState.ACTIVE, ShardState.WAITING):
            found.append(Problem(reason=Signal.UNPROVEN.value, message=_unproven_text(record, snapshot)))
    found += platform_problems(snapshot, records, now=now, troubled=troubled)
    down = mirrors_down(snapshot, troubled)
    if down is not None:
        found.append(down)
    for record in troubled:
        report = newest_report(pods.get(record.attempt), snapshot.reports.get(record.attempt))
        if report is not None and report.restore_problem and record.state is ShardState.ACTIVE:
            said = f"shard {record.shard}: {report.restore_message}"
            found.append(Problem(reason=report.restore_problem, message=said))
    stale = silence(snapshot, records, now=now)
    if stale is not None:
        found.append(stale)
    return sorted(found, key=lambda problem: problem.reason in _PASSING)


def _is_at_peace(record: ShardRecord, snapshot: Snapshot) -> bool:
    """Return whether an attempt runs, and neither the platform nor its sidecar has anything to complain of."""
    if record.state is not ShardState.ACTIVE or record.signal is Signal.UNPROVEN or snapshot.forbidden:
        return False
    pod, pushed = snapshot.pod_of(record.attempt), snapshot.reports.get(record.attempt)
    if pod is None or not pod.runs_undisturbed or (pushed is not None and pushed.problem):
        return False
    creation = snapshot.creations.get(record.attempt)
    if creation is not None and creation.problem:
        return False
    newest = newest_report(pod, pushed)
    return newest is None or not newest.restore_problem


def told(problems: Sequence[Problem]) -> str:
    """Return the worst of the problems in words, and how many others there are, of which reasons."""
    if len(problems) < 2:
        return "".join(problem.message for problem in problems)
    others = list(dict.fromkeys(problem.reason for problem in problems[1:]))
    reasons = ", ".join([*others[:_REASONS_TOLD], *(["..."] if len(others) > _REASONS_TOLD else [])])
    more = f" (and {len(problems) - 1} more: {reasons})"
    return clipped(problems[0].message, to=_LONGEST_MESSAGE - len(more)) + more


def _drift_text(record: ShardRecord, pod: PodView | None, before: SweepStatus) -> str:
    shard = f"shard {record.shard}: "
    said = pod.restore_outcome.message if pod is not None and pod.restore_outcome is not None else ""
    said = drift_of(pod, before.images) or said
    if said:
        return shard + said
    for condition in before.conditions:
        # Its pod is gone: what was said while it was there is still so.
        if condition.reason == Signal.DRIFT and condition.message.startswith(shard):
            return _MORE.sub("", condition.message)
    return f"{shard}the attempt is made of something else than the results so far"


def _unproven_text(record: ShardRecord, snapshot: Snapshot) -> str:
    what = (
        "no file that the sidecar reads records them all; the library's log is read where the name that "
        "spec.checkpoint.file gives it ends in .jsonl"
        if snapshot.sweep.spec.has_items
        else "name the items in spec.items or use the library"
    )
    said = f"shard {record.shard} exited 0 before its items were proved to be done, and runs again: {what}"
    if snapshot.listening_since is None:
        return f"{said}; no exit code can prove them here, because the operator takes no reports"
    return (
        f"{said}; where neither is possible set spec.completion to ExitCode, and give the containers no preStop hook "
        "of their own"
    )


def with_conditions(previous: Iterable[Condition], wanted: Iterable[Condition]) -> tuple[Condition, ...]:
    """Return the wanted conditions, each with the time of its last change of status kept."""
    before = {condition.type: condition for condition in previous}
    kept = []
    for condition in wanted:
        old = before.get(condition.type)
        since = old.since if old is not None and old.status == condition.status else condition.since
        kept.append(
            Condition(
                type=condition.type,
                status=condition.status,
                reason=condition.reason,
                message=condition.message,
                since=since,
            )
        )
    return tuple(kept)

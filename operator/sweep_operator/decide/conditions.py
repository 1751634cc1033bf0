"""The phase and the conditions of a sweep: what is said of it as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweep_operator.decide import housekeeping, summary, under_way
from sweep_operator.decide.sight import blind_spots
from sweep_operator.model.problem import Problem
from sweep_operator.model.shard_record import UNDER_WAY, ShardRecord, ShardState, index_ranges
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Condition, Snapshot, Spec, SweepStatus


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a look has come to: the status so far, all shards' records, and what ends the sweep, if anything."""

    snapshot: Snapshot
    status: SweepStatus
    records: Sequence[ShardRecord]
    failure: Problem | None
    now: float


def may_merge(records: Sequence[ShardRecord], spec: Spec) -> bool:
    """Return whether nothing more is expected of any shard, and there are results to be merged."""
    states = {record.state for record in records}
    return states == {ShardState.COMPLETE} or (spec.continues and states <= {ShardState.COMPLETE, ShardState.FAILED})


def phase_of(result: Result) -> tuple[str, Condition]:
    """Return the sweep's phase, and the condition that tells what it waits for."""
    status, now, spec = result.status, result.now, result.snapshot.sweep.spec
    states = [record.state for record in result.records]
    failed = [record for record in result.records if record.state is ShardState.FAILED]
    if result.failure is not None:
        return "Failed", _complete(False, result.failure.reason, result.failure.message, now=now)
    if status.merged is not None:
        results = f"{status.merged.items} results merged"
        if failed:
            return "Complete", _complete(True, "MergedPartially", f"{results}; {_failed_text(failed, result)}", now=now)
        return "Complete", _complete(True, "Merged", results, now=now)
    if failed and may_merge(result.records, spec):
        message = f"what there is of the results is being merged; {_failed_text(failed, result)}"
        return "Merging", _complete(False, "Merging", message, now=now)
    if failed and all(state in (ShardState.COMPLETE, ShardState.FAILED) for state in states):
        return "Failed", _complete(False, "ShardsFailed", _failed_text(failed, result), now=now)
    if all(state is ShardState.COMPLETE for state in states):
        message = "all shards are complete, the results are being merged"
        return "Merging", _complete(False, "Merging", message, now=now)
    active = any(state in UNDER_WAY for state in states)
    if spec.suspend:
        message = "attempts are flushing and ending" if active else "no attempt runs"
        return "Running" if active else "Suspended", _complete(False, "Suspended", message, now=now)
    if not status.attempts:
        return "Pending", _complete(False, "Resolving", "the items are being written to the store", now=now)
    left = sum(state is not ShardState.COMPLETE for state in states)
    said = [f"{left} of {len(states)} shards to go", *under_way.told(result.snapshot, result.records)]
    return "Running", _complete(False, "Running", "; ".join(said), now=now)


def conditions_of(
    result: Result, phase: str, *, trouble: Sequence[Problem], retained: Condition | None
) -> list[Condition]:
    """Return all conditions but the one that comes with the phase.

    `trouble` is what housekeeping could not do, and `retained` what is newly said of retention.
    """
    now, failure = result.now, result.failure
    failed = failure is not None or phase == "Failed"
    reason = failure.reason if failure else "ShardsFailed" if failed else "NotFailed"
    message = failure.message if failure else "see the condition Complete" if failed else ""
    suspended = phase == "Suspended"
    problems = [*trouble, *summary.problems_of(result.snapshot, result.records, now=now)]
    worst = problems[0] if problems and phase not in ("Complete", "Failed") else None
    conditions = [
        Condition(type="Failed", status=failed, reason=reason, message=message, since=now),
        Condition(
            type="Suspended",
            status=suspended,
            reason="Suspended" if suspended else "NotSuspended",
            message="",
            since=now,
        ),
        Condition(
            type="Healthy",
            status=worst is None,
            reason=worst.reason if worst else "AsExpected",
            message=summary.told(problems) if worst else "",
            since=now,
        ),
    ]
    said = (each for each in result.status.conditions if each.type == housekeeping.RETAINED)
    retained = retained or next(said, None)
    if retained is not None and result.snapshot.sweep.spec.keep is not None:
        conditions.append(retained)
    return [*conditions, *blind_spots(result.snapshot, now=now)]


def _failed_text(failed: list[ShardRecord], result: Result) -> str:
    first, total = failed[0], summary.total_items(result.status, result.snapshot, result.records)
    done = result.status.done if result.status.merged else sum(record.done for record in result.records)
    missing = f", {total - done} of {total} items are missing" if total is not None else ""
    which = index_ranges([record.shard for record in failed])
    why = first.signal.value or Signal.CONTAINER_FAILED
    return f"shards {which} failed{missing}; shard {first.shard}: {why}"


def _complete(status: bool, reason: str, message: str, *, now: float) -> Condition:
    return Condition(type="Complete", status=status, reason=reason, message=message, since=now)

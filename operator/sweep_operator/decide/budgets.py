"""What an ended attempt costs its shard, and whether the shard can afford another one."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from sweep_operator.decide.progress import made_progress
from sweep_operator.decide.summary import duration_text
from sweep_operator.model.observed import PodView
from sweep_operator.model.shard_record import ShardRecord
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Allowance, Spec

_SLACK_SECONDS = 1.1
"""What counting from whole seconds, in tenths of them, may add to a moment; less than any part of a budget takes."""

_UNEXPLAINED = frozenset({Signal.UNPROVEN, Signal.CONTAINER_KILLED})


@dataclass(frozen=True, kw_only=True)
class Charge:
    """A record that has paid for its attempt's end, and how that stands.

    `said` tells what was spent of what, empty where nothing was. `refused` tells why there is no other attempt, empty
    where there is one, and `reason` the same as one word in CamelCase.
    """

    record: ShardRecord
    said: str = ""
    refused: str = ""
    reason: str = ""


def charged(record: ShardRecord, *, pod: PodView | None, spec: Spec) -> Charge:
    """Return what the end of the record's attempt, by its signal and at its time, costs."""
    signal = record.signal
    if signal in _UNEXPLAINED:
        return _unexplained(record, limit=spec.unexplained)
    record = record.changed(unexplained=0) if made_progress(record) else record
    if signal.is_user_failure:
        return _failure(record, limit=spec.user_failures)
    if not _has_run(record, pod):
        record = excused(record)
    charge = _reclaim(record, spec.reclaims) if signal.is_reclaim else _infrastructure(record, spec.infrastructure)
    limit = spec.no_progress_attempts
    if not charge.refused and limit and charge.record.barren >= limit:
        refused = (
            f"{charge.record.barren} attempts in a row have stored nothing new, of at most {limit} "
            "(budgets.noProgressAttempts): an item may take longer than the machines last"
        )
        return Charge(record=charge.record, refused=refused, reason="NoProgress")
    return charge


def begun(record: ShardRecord) -> ShardRecord:
    """Return the record of a shard whose next attempt begins: nothing new is stored of it yet."""
    return record.changed(barren=record.barren + 1)


def excused(record: ShardRecord) -> ShardRecord:
    """Return the record without the current attempt among those that have stored nothing new."""
    return record.changed(barren=max(0, record.barren - 1))


def forgiven(record: ShardRecord) -> ShardRecord:
    """Return the record with all budgets whole again."""
    return record.changed(
        user_failures=0,
        setbacks=0,
        not_before=0,
        infrastructure_until=0.0,
        reclaims_until=0.0,
        unexplained=0,
        barren=0,
    )


def spent(until: float, allowance: Allowance, *, now: float) -> int:
    """Return how much of an allowance is spent at a time, of which all will have come back `until` then."""
    return max(0, ceil((until - now - _SLACK_SECONDS) / _interval(allowance)))


def _interval(allowance: Allowance) -> float:
    # In tenths of a second, as moments are kept: else what is lost in rounding would add up.
    return round(allowance.window_seconds / max(1, allowance.limit), 1)


def _after_one(until: float, allowance: Allowance, *, now: float) -> float:
    if _is_overspent(until, allowance, now=now):
        # Whoever spends more than there is gets no other attempt: this was spent of a longer window, or while the clock
        # was ahead, and how much of this allowance it is nobody knows. A shorter window must not fail a shard.
        until = 0.0
    return round(max(until, float(ceil(now))) + _interval(allowance), 1)


def _is_overspent(until: float, allowance: Allowance, *, now: float) -> bool:
    return until - now > _interval(allowance) * allowance.limit + _SLACK_SECONDS


def _has_run(record: ShardRecord, pod: PodView | None) -> bool:
    """Return whether the experiment of the current attempt has run, as far as can be told."""
    if pod is not None:
        return any(main.started or main.exit_code is not None for main in pod.mains)
    return record.base > 0


def _infrastructure(record: ShardRecord, allowance: Allowance) -> Charge:
    until = _after_one(record.infrastructure_until, allowance, now=record.since)
    said = _told("failure of the platform", until, allowance, now=record.since)
    overspent = _is_overspent(until, allowance, now=record.since)
    after = record.changed(infrastructure_until=until)
    return Charge(record=after, said=said, refused=f"{said} (budgets.infrastructure)" if overspent else "")


def _reclaim(record: ShardRecord, allowance: Allowance | None) -> Charge:
    if allowance is None:
        return Charge(record=record.changed(reclaims_until=0.0))
    until = _after_one(record.reclaims_until, allowance, now=record.since)
    said = _told("reclaim", until, allowance, now=record.since)
    overspent = _is_overspent(until, allowance, now=record.since)
    after = record.changed(reclaims_until=until)
    return Charge(record=after, said=said, refused=f"{said} (budgets.reclaims)" if overspent else "")


def _told(what: str, until: float, allowance: Allowance, *, now: float) -> str:
    number = spent(until, allowance, now=now)
    return f"{what} {number} of at most {allowance.limit} in {duration_text(allowance.window_seconds)}"


def _failure(record: ShardRecord, *, limit: int) -> Charge:
    failures = record.user_failures + 1
    said = f"failure {failures} of at most {limit}"
    after = excused(record).changed(user_failures=failures)
    return Charge(record=after, said=said, refused=f"{said} (budgets.userFailures)" if failures > limit else "")


def _unexplained(record: ShardRecord, *, limit: int) -> Charge:
    ends = 1 if made_progress(record) else record.unexplained + 1
    said = f"unexplained end {ends} in a row of at most {limit}"
    after = excused(record).changed(unexplained=ends)
    return Charge(record=after, said=said, refused=f"{said} (budgets.unexplained)" if ends > limit else "")

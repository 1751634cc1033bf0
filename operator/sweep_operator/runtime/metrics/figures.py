"""What is told of one sweep: pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sweep_operator.decide.budgets import spent
from sweep_operator.model.shard_record import UNDER_WAY, ShardRecord, ShardState
from sweep_operator.model.snapshot import Allowance, Spec, Sweep

BUDGETS = ("userFailures", "infrastructure", "reclaims", "noProgressAttempts", "unexplained")
"""The budgets by their names in `spec.budgets`."""

ENDED = ("Complete", "Failed")
"""The phases in which nothing of a sweep is to be done any more."""


def is_unfinished(sweep: Sweep) -> bool:
    """Return whether anything of a sweep is still to be done."""
    return sweep.status.phase not in ENDED


def budget_shares(sweep: Sweep, *, now: float) -> dict[str, float]:
    """Return, for each budget of which something is spent, the largest share that one shard has spent of it.

    At 1 the shard can afford no further end of that kind. Shards that have ended do not count, and neither does a
    budget of nothing, of which no part can be spent. `now` is in Unix seconds.
    """
    spec = sweep.spec
    live = [record for record in sweep.status.records if record.state not in (ShardState.COMPLETE, ShardState.FAILED)]
    shares = {
        budget: max((share(record, spec, now) for record in live), default=0.0) for budget, share in _SHARES.items()
    }
    return {budget: share for budget, share in shares.items() if share > 0}


def _of_failures(record: ShardRecord, spec: Spec, _now: float) -> float:
    return _share(record.user_failures, spec.user_failures)


def _of_infrastructure(record: ShardRecord, spec: Spec, now: float) -> float:
    return _of_allowance(record.infrastructure_until, spec.infrastructure, now)


def _of_reclaims(record: ShardRecord, spec: Spec, now: float) -> float:
    return 0.0 if spec.reclaims is None else _of_allowance(record.reclaims_until, spec.reclaims, now)


def _of_progress(record: ShardRecord, spec: Spec, _now: float) -> float:
    # The attempt under way is counted from its beginning, and may still store something; the last one is not to fail.
    ended = record.barren - 1 if record.state in UNDER_WAY else record.barren
    return _share(max(0, ended), spec.no_progress_attempts - 1)


def _of_unexplained(record: ShardRecord, spec: Spec, _now: float) -> float:
    return _share(record.unexplained, spec.unexplained)


def _of_allowance(until: float, allowance: Allowance, now: float) -> float:
    return _share(spent(until, allowance, now=now), allowance.limit) if until > now else 0.0


def _share(number: int, limit: int) -> float:
    return number / limit if limit > 0 else 0.0


_SHARES: Mapping[str, Callable[[ShardRecord, Spec, float], float]] = dict(
    zip(BUDGETS, (_of_failures, _of_infrastructure, _of_reclaims, _of_progress, _of_unexplained), strict=True)
)

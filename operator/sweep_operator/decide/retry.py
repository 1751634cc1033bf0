"""Running failed shards again because somebody wants it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sweep_operator.decide.budgets import forgiven
from sweep_operator.model.plan import SweepEvent
from sweep_operator.model.shard_record import ShardRecord, ShardState, index_ranges, indices_of
from sweep_operator.model.snapshot import Sweep

FIELD = "metadata.annotations[resumable.dev/retry]"
_ALL = "all"
_TAG = "@"
"""What comes after it makes a wish another one than the last, and means nothing else."""


@dataclass(frozen=True)
class Retried:
    """A sweep whose wish has been granted, or told why not; it is acted upon once."""

    sweep: Sweep
    event: SweepEvent | None = None


def retried(sweep: Sweep) -> Retried:
    """Return the sweep with those failed shards waiting, their budgets whole again, that somebody wants to be retried.

    A sweep that has ended goes on then. `all` goes on with a failed one that has no failed shard, too.
    """
    if sweep.retry == sweep.status.retried:
        return Retried(sweep)
    noted = replace(sweep, status=replace(sweep.status, retried=sweep.retry))
    wish = sweep.retry.partition(_TAG)[0].strip()
    if not sweep.retry:
        return Retried(noted)
    failed = [record.shard for record in sweep.status.records if record.state is ShardState.FAILED]
    try:
        wanted = failed if wish == _ALL else indices_of(wish)
    except ValueError as error:
        return Retried(noted, _refused(sweep, f"{error}: write all, or shards such as 3,5-7"))
    beyond = [shard for shard in wanted if shard >= sweep.spec.shards]
    if beyond:
        said = f"there is no shard {index_ranges(beyond)}: they are numbered from 0 to {sweep.spec.shards - 1}"
        return Retried(noted, _refused(sweep, said))
    chosen = sorted(set(wanted) & set(failed))
    if not chosen and not (wish == _ALL and sweep.status.phase == "Failed"):
        there = f"only {index_ranges(failed)} have" if failed else "none of this sweep's have"
        return Retried(noted, _refused(sweep, f"none of these shards has failed, {there}"))
    records = tuple(_waiting(record) if record.shard in chosen else record for record in sweep.status.records)
    ended = sweep.status.phase in ("Complete", "Failed")
    status = replace(
        noted.status,
        records=records,
        merged=None,
        phase="Running" if ended else sweep.status.phase,
        completed_at=None if ended else sweep.status.completed_at,
    )
    others = sorted(set(wanted) - set(chosen))
    message = f"shards {index_ranges(chosen)} run again" if chosen else "the sweep is tried again"
    message += f"; {index_ranges(others)} have not failed" if others else ""
    return Retried(replace(noted, status=status), SweepEvent(reason="Retried", message=message))


def _waiting(record: ShardRecord) -> ShardRecord:
    return forgiven(record).changed(state=ShardState.WAITING)


def _refused(sweep: Sweep, why: str) -> SweepEvent:
    return SweepEvent(reason="RetryRefused", message=f"{FIELD} is {sweep.retry!r}: {why}", warning=True)

"""The orders by which pods of attempts are made: the first, one made ahead of time, and one that was refused so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sweep_operator.decide import pacing
from sweep_operator.decide.shard import reclaim_of
from sweep_operator.decide.succession import take_after_seconds
from sweep_operator.model.observed import QUOTA_EXCEEDED, Creation
from sweep_operator.model.plan import CreateAttempt
from sweep_operator.model.reclaim import Reclaim
from sweep_operator.model.shard_record import ShardRecord, ShardState
from sweep_operator.model.signals import Signal
from sweep_operator.model.snapshot import Snapshot, Sweep, SweepStatus


def order_of(
    record: ShardRecord, attempt: int, *, sweep: Sweep, status: SweepStatus, while_empty: bool
) -> CreateAttempt:
    """Return the order for a shard's next attempt; `record` is that of a shard that waits for it."""
    spec = sweep.spec
    # A run id of the user's own may go on with what an earlier sweep has stored. Where nothing is stored the file
    # that the program is told of is absent, which means a fresh start.
    resumes = bool(record.attempt or spec.resume_from) or spec.run_id != sweep.uid
    return CreateAttempt(
        shard=record.shard,
        attempt=attempt,
        resumes=resumes,
        replaces=_replaced_by(record, status) if record.signal.is_reclaim else None,
        avoid=_names_to_avoid(status),
        while_empty=while_empty,
    )


def heir_order_of(record: ShardRecord, attempt: int, *, status: SweepStatus, now: float) -> CreateAttempt:
    """Return the order for an attempt that is made ahead of time, in the room of the one that is about to go."""
    announced = replace(reclaim_of(record), time=record.noticed_at, signal=Signal(record.notice.value))
    return CreateAttempt(
        shard=record.shard,
        attempt=attempt,
        resumes=True,
        replaces=announced,
        avoid=_names_to_avoid(status),
        take_after=take_after_seconds(record, now=now),
    )


@dataclass(frozen=True)
class OrdersAgain:
    """Orders that are given once more, and the times at which others will be (Unix seconds)."""

    orders: tuple[CreateAttempt, ...]
    looks: tuple[float, ...]


def orders_again(
    snapshot: Snapshot, records: Sequence[ShardRecord], *, status: SweepStatus, while_empty: bool, now: float
) -> OrdersAgain:
    """Return the orders for those pods of attempts of ours that the API server has refused so far."""
    generation, pods = snapshot.sweep.generation, snapshot.presence.pods
    by_quota = [each for each in snapshot.creations.values() if each.problem == QUOTA_EXCEEDED]
    quota_at = pacing.quota_retry_at(by_quota, pods, generation=generation, now=now)
    quota_is_probed = False
    orders, looks = [], []
    for record, attempt in [(each, attempt) for each in records for attempt in each.attempts]:
        creation = snapshot.creations.get(attempt)
        unmade = creation is not None and creation.created_at is None and snapshot.pod_of(attempt) is None
        wanted = record.state is ShardState.ACTIVE or (record.state is ShardState.LEAVING and attempt == record.heir)
        if creation is None or not unmade or not wanted:
            continue
        waits_for_quota = creation.problem == QUOTA_EXCEEDED
        at = quota_at if waits_for_quota else pacing.retry_at(creation, generation=generation, now=now)
        if now < at:
            looks.append(at)
        elif not creation.uncertain and not (quota_is_probed and waits_for_quota):
            # While a quota is used up one request tells as much as a thousand.
            quota_is_probed = quota_is_probed or waits_for_quota
            orders.append(_same_order(record, attempt, creation, status=status, while_empty=while_empty, now=now))
    return OrdersAgain(tuple(orders), tuple(looks))


def _same_order(
    record: ShardRecord, attempt: int, creation: Creation, *, status: SweepStatus, while_empty: bool, now: float
) -> CreateAttempt:
    return CreateAttempt(
        shard=record.shard,
        attempt=attempt,
        resumes=creation.resumes,
        replaces=creation.replaces,
        avoid=_names_to_avoid(status),
        take_after=take_after_seconds(record, now=now) if attempt == record.heir else None,
        while_empty=while_empty,
    )


def _names_to_avoid(status: SweepStatus) -> tuple[str, ...]:
    return tuple(node.name for node in status.avoided)


def _replaced_by(record: ShardRecord, status: SweepStatus) -> Reclaim:
    """Return the reclaim for which the shard gets its next attempt; attempts without a pod lie between them."""
    last = status.last_reclaim
    if last is not None and (last.shard, int(last.time)) == (record.shard, int(record.since)):
        return replace(last, time=record.since)
    return reclaim_of(record)

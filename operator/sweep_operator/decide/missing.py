"""Whose pods are missing: those that should be there and that the cache does not show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sweep_operator.model.observed import Creation, PodView, Role
from sweep_operator.model.shard_record import UNDER_WAY, ShardRecord, ShardState

CACHE_LAG_SECONDS = 5.0
"""For so long a pod that was just created may be missing from the cache without being asked after."""


@dataclass(frozen=True)
class Sought:
    """An attempt whose pod the API server itself has to be asked after."""

    shard: int
    attempt: int


def missing(
    records: Sequence[ShardRecord], *, pods: Iterable[PodView], creations: Mapping[int, Creation], now: float
) -> list[Sought]:
    """Return the attempts whose pod should be there and is not cached: those under way, and their heirs."""
    cached = {pod.attempt for pod in pods if pod.role is Role.ATTEMPT}
    return [
        Sought(record.shard, attempt)
        for record in records
        if record.state in UNDER_WAY
        for attempt in record.attempts
        if attempt not in cached and not _is_expected(record, attempt, creations.get(attempt), now=now)
    ]


def _is_expected(record: ShardRecord, attempt: int, creation: Creation | None, *, now: float) -> bool:
    if creation is None or creation.seen:
        return False
    if creation.created_at is not None:
        return is_on_its_way(creation, now=now)
    # A refused creation is tried again, but not for a shard that is to stop, and not where it may have succeeded.
    wanted = record.state is ShardState.ACTIVE or (record.state is ShardState.LEAVING and attempt == record.heir)
    return wanted and not (creation.uncertain and now >= creation.retry_at)


def is_on_its_way(creation: Creation, *, now: float) -> bool:
    """Return whether the cache may not show an object yet: it is just created, or still to be."""
    return creation.created_at is None or now < creation.created_at + CACHE_LAG_SECONDS

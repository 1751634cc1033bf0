"""Whose pods are missing: those that should be there and that the cache does not show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sweep_operator.model.observed import Creation, PodView, Role
from sweep_operator.model.shard_record import UNDER_WAY, ShardRecord, ShardState

CACHE_LAG_SECONDS = 5.0
"""For so long a pod that was just created may be missing from the cache without being asked after."""

LONGEST_LAG_SECONDS = 60.0
"""The same where the cache is known not to have come so far: to ask after thousands of pods puts it further behind."""


@dataclass(frozen=True)
class Sought:
    """An attempt whose pod the API server itself has to be asked after."""

    shard: int
    attempt: int


def missing(
    records: Sequence[ShardRecord],
    *,
    pods: Iterable[PodView],
    creations: Mapping[int, Creation],
    now: float,
    cached_to: int = 0,
) -> list[Sought]:
    """Return the attempts whose pod should be there and is not cached: those under way, and their heirs.

    The cache shows all that happened up to the resourceVersion `cached_to`, 0 where that is not known.
    """
    cached = {pod.attempt for pod in pods if pod.role is Role.ATTEMPT}
    return [
        Sought(record.shard, attempt)
        for record in records
        if record.state in UNDER_WAY
        for attempt in record.attempts
        if attempt not in cached
        and not _is_expected(record, attempt, creations.get(attempt), now=now, cached_to=cached_to)
    ]


def _is_expected(record: ShardRecord, attempt: int, creation: Creation | None, *, now: float, cached_to: int) -> bool:
    if creation is None or creation.seen:
        return False
    if creation.created_at is not None:
        return is_on_its_way(creation, now=now, cached_to=cached_to)
    # A refused creation is tried again, but not for a shard that is to stop, and not where it may have succeeded.
    wanted = record.state is ShardState.ACTIVE or (record.state is ShardState.LEAVING and attempt == record.heir)
    return wanted and not (creation.uncertain and now >= creation.again_at(now=now))


def is_on_its_way(creation: Creation, *, now: float, cached_to: int = 0) -> bool:
    """Return whether the cache may not show an object yet: it is just created, or still to be.

    resourceVersions of one resource can be compared as numbers (promised since Kubernetes 1.35, true of etcd before).
    """
    if creation.created_at is None:
        return True
    is_behind = 0 < cached_to < creation.version
    return now < creation.created_at + (LONGEST_LAG_SECONDS if is_behind else CACHE_LAG_SECONDS)

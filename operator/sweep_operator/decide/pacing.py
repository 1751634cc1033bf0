"""Which shards get an attempt now, and which must make room."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sweep_operator.model.observed import QUOTA_EXCEEDED, Creation, PodView
from sweep_operator.model.shard_record import UNDER_WAY, ShardRecord, ShardState


def to_start(records: Sequence[ShardRecord], *, parallelism: int, now: float) -> list[ShardRecord]:
    """Return the waiting shards that there is room for: those that have begun before the others, then by index."""
    room = parallelism - sum(record.state in UNDER_WAY for record in records)
    ready = [record for record in records if record.state is ShardState.WAITING and record.not_before <= now]
    ready.sort(key=lambda record: (record.attempt == 0, record.shard))
    return ready[: max(0, room)]


def to_stop(records: Sequence[ShardRecord], *, parallelism: int) -> list[ShardRecord]:
    """Return the running shards that exceed `parallelism`: those whose attempt has done the least.

    Those that are leaving are about to make room by themselves.
    """
    active = [record for record in records if record.state is ShardState.ACTIVE]
    excess = max(0, len(active) - parallelism)
    active.sort(key=lambda record: (max(0, record.done - max(0, record.base - 1)), -record.shard))
    return active[:excess]


def next_start(records: Sequence[ShardRecord]) -> float | None:
    """Return when the next delayed shard may start (Unix seconds), None where none is delayed."""
    return min((record.not_before for record in records if record.state is ShardState.WAITING), default=None)


def retry_at(creation: Creation, pods: Iterable[PodView]) -> float:
    """Return when a refused creation is to be tried again (Unix seconds): at once, where a quota has been freed since.

    A pod counts against a quota until all its containers have ended. Kubelets tell that in whole seconds.
    """
    if creation.problem != QUOTA_EXCEEDED:
        return creation.retry_at
    ends = [
        container.finished_at
        for pod in pods
        if pod.is_terminal
        for container in (*pod.mains, *((pod.mirror,) if pod.mirror is not None else ()))
        if container.finished_at is not None
    ]
    return 0.0 if any(end + 1 > creation.refused_at for end in ends) else creation.retry_at

"""Which shards get an attempt now, and which must make room."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sweep_operator.model.observed import Creation, PodView
from sweep_operator.model.shard_record import UNDER_WAY, ShardRecord, ShardState

LONGEST_DELAY_SECONDS = 300
"""The longest pause between two attempts of a shard."""

_NO_PODS: Mapping[int, PodView] = {}


def to_start(records: Sequence[ShardRecord], *, parallelism: int, now: float) -> list[ShardRecord]:
    """Return the waiting shards that there is room for: those that have begun before the others, then by index."""
    room = parallelism - sum(record.state in UNDER_WAY for record in records)
    ready = [record for record in records if record.state is ShardState.WAITING and _is_ready(record, now)]
    ready.sort(key=lambda record: (record.attempt == 0, record.shard))
    return ready[: max(0, room)]


def _is_ready(record: ShardRecord, now: float) -> bool:
    # No delay is that long: the operator's clock was ahead when it was written, and must not hold the shard for longer.
    return record.not_before <= now or record.not_before > now + 2 * LONGEST_DELAY_SECONDS


def to_stop(
    records: Sequence[ShardRecord], *, parallelism: int, pods: Mapping[int, PodView] = _NO_PODS
) -> list[ShardRecord]:
    """Return the running shards that exceed `parallelism`: those whose attempt has done the least.

    `pods` are those of attempts by number. An attempt whose experiment has not begun has done less than one that works
    on its first item, or whose items nobody counts. Those that are leaving are about to make room by themselves.
    """
    active = [record for record in records if record.state is ShardState.ACTIVE]
    if len(active) <= parallelism:
        return []

    def done(record: ShardRecord) -> tuple[int, bool, int]:
        pod = pods.get(record.attempt)
        # While it is not known what an attempt has restored it has done nothing: all of `done` is of those before it.
        new = max(0, record.done - (record.base - 1)) if record.base else 0
        return new, pod is not None and any(main.started for main in pod.mains), -record.shard

    return sorted(active, key=done)[: len(active) - parallelism]


def next_start(records: Sequence[ShardRecord]) -> float | None:
    """Return when the next delayed shard may start (Unix seconds), None where none is delayed."""
    return min((record.not_before for record in records if record.state is ShardState.WAITING), default=None)


def retry_at(creation: Creation, *, generation: int, now: float) -> float:
    """Return when a refused creation is tried again (Unix seconds): at once, where the sweep was changed since."""
    return 0.0 if creation.generation not in (0, generation) else creation.again_at(now=now)


def quota_retry_at(refused: Sequence[Creation], pods: Iterable[PodView], *, generation: int, now: float) -> float:
    """Return when a quota is to be asked again (Unix seconds) that all of these creations were refused by.

    That is at once, where one of the sweep's pods has ended since somebody last asked: a pod counts against a quota
    until all its containers have ended. Kubelets tell that in whole seconds.
    """
    refused_at = max((creation.refused_at for creation in refused), default=0.0)
    ends = [
        container.finished_at
        for pod in pods
        if pod.is_terminal
        for container in (*pod.mains, *((pod.mirror,) if pod.mirror is not None else ()))
        if container.finished_at is not None
    ]
    if any(end + 1 > refused_at for end in ends):
        return 0.0
    return max((retry_at(creation, generation=generation, now=now) for creation in refused), default=0.0)

"""Between the custom resource as users see it and the values that decisions work with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sweep_operator import api
from sweep_operator.model import snapshot as model
from sweep_operator.model.reclaim import Reclaim
from sweep_operator.model.shard_record import (
    UNDER_WAY,
    ShardRecord,
    ShardState,
    ShardTable,
    index_ranges,
    records_of,
    table_of,
    unpacked,
)
from sweep_operator.model.signals import Signal


def sweep_of(manifest: dict[str, Any]) -> model.Sweep:
    """Return the sweep that an object of the API server holds.

    Raises
    ------
    ValueError
        Where specification or status are not what the schema promises; pydantic's errors are such.
    """
    resource = api.ResumableSweep.model_validate(manifest)
    metadata, spec = manifest["metadata"], resource.spec
    checkpoint = spec.checkpoint
    return model.Sweep(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        deleting="deletionTimestamp" in metadata,
        spec=model.Spec(
            run_id=spec.run_id or metadata["uid"],
            shards=spec.shards,
            parallelism=spec.parallelism or spec.shards,
            suspend=spec.suspend,
            pool=spec.placement.pools[0].name if spec.placement else "",
            has_items=spec.items is not None,
            user_failures=spec.budgets.user_failures,
            infrastructure=_allowance(spec.budgets.infrastructure),
            reclaims=None if spec.budgets.reclaims is None else _allowance(spec.budgets.reclaims),
            no_progress_attempts=spec.budgets.no_progress_attempts,
            unexplained=spec.budgets.unexplained,
            continues=spec.on_shard_failure == "Continue",
            ttl_seconds=spec.ttl_seconds_after_finished,
            keep_pods=spec.keep_pods,
            interval_seconds=api.seconds_of(checkpoint.interval),
            flush_seconds=api.seconds_of(checkpoint.flush_timeout),
            resume_from=spec.resume_from or "",
            images_may_drift=spec.images_may_drift,
            unreachable_seconds=api.seconds_of(spec.reclaim.unreachable_after),
            silent_seconds=api.seconds_of(spec.reclaim.silent_after),
            keep=None
            if checkpoint.keep is None
            else model.Keep(
                generations=checkpoint.keep.generations, after_seconds=api.seconds_of(checkpoint.keep.after)
            ),
        ),
        status=status_of(resource.status, shards=spec.shards),
        retry=str((metadata.get("annotations") or {}).get(api.RETRY, ""))[:_LONGEST_RETRY],
        manifest=manifest,
    )


def _allowance(budget: api.InfrastructureBudget | api.ReclaimBudget) -> model.Allowance:
    return model.Allowance(budget.limit, api.seconds_of(budget.window))


def status_of(status: api.ResumableSweepStatus, *, shards: int) -> model.SweepStatus:
    """Return the status as decisions see it."""
    merged = status.merged
    last = status.last_reclaim
    table = ShardTable(text=status.shard_table or "", nodes=tuple(status.nodes or ()))
    return model.SweepStatus(
        phase=status.phase or "Pending",
        attempts=status.attempts or 0,
        items_total=status.items.total if status.items else status.total,
        items_sha256=status.items.sha256 if status.items else "",
        done=status.done or 0,
        running=status.running or 0,
        lost=status.lost or 0,
        eta=status.eta or "",
        started_at=_seconds(status.start_time),
        completed_at=_seconds(status.completion_time),
        retained_at=_seconds(status.retention_time),
        merged=None
        if merged is None
        else model.Merged(
            url=merged.url, sha256=merged.sha256, items=merged.items, provenance_url=merged.provenance_url or ""
        ),
        reclaims_by_signal=dict(status.reclaims_by_signal or {}),
        recent_reclaims=tuple(
            model.ReclaimCount(_seconds(each.begin) or 0.0, each.count) for each in status.recent_reclaims or ()
        ),
        last_reclaim=None
        if last is None
        else Reclaim(
            time=_seconds(last.time) or 0.0,
            node=last.node or "",
            shard=last.shard,
            attempt=last.attempt,
            signal=Signal(last.signal),
            items_safe=last.items_safe or 0,
            relaunch_seconds=last.relaunch_seconds,
        ),
        images={name: tuple(digests) for name, digests in (status.images or {}).items()},
        avoided=tuple(
            model.AvoidedNode(name=node.name, reason=node.reason, until=_seconds(node.until) or 0.0)
            for node in status.avoided_nodes or ()
        ),
        retried=status.retried or "",
        records=tuple(records_of(table, shards=shards)),
        conditions=tuple(
            model.Condition(
                type=condition.type,
                status=condition.status == "True",
                reason=condition.reason,
                message=condition.message,
                since=_seconds(condition.last_transition_time) or 0.0,
            )
            for condition in status.conditions or ()
        ),
    )


def status_manifest(status: model.SweepStatus, sweep: model.Sweep) -> dict[str, Any]:
    """Return the `status` to be written."""
    table = table_of(status.records)
    last, merged = status.last_reclaim, status.merged
    resource = api.ResumableSweepStatus(
        phase=api.Phase(status.phase),
        observed_generation=sweep.generation,
        run_id=sweep.spec.run_id,
        items=api.ItemsStatus(total=status.items_total or 0, sha256=status.items_sha256)
        if status.items_sha256
        else None,
        total=status.items_total,
        done=status.done,
        running=status.running,
        reclaims=status.reclaims,
        lost=status.lost,
        eta=status.eta or None,
        start_time=_time(status.started_at),
        completion_time=_time(status.completed_at),
        retention_time=_time(status.retained_at),
        attempts=status.attempts,
        merged=None
        if merged is None
        else api.Merged(
            url=merged.url, sha256=merged.sha256, items=merged.items, provenance_url=merged.provenance_url or None
        ),
        shards=_shards(status.records),
        last_reclaim=None
        if last is None
        else api.Reclaim(
            time=_time(last.time),
            node=last.node or None,
            shard=last.shard,
            attempt=last.attempt,
            signal=last.signal,
            items_safe=last.items_safe,
            relaunch_seconds=last.relaunch_seconds,
        ),
        reclaims_by_signal=dict(status.reclaims_by_signal) or None,
        reclaims_last_hour=sum(each.count for each in status.recent_reclaims),
        recent_reclaims=[api.ReclaimCount(begin=_time(each.begin), count=each.count) for each in status.recent_reclaims]
        or None,
        images={name: list(digests) for name, digests in status.images.items()} or None,
        retried=status.retried or None,
        avoided_nodes=[
            api.AvoidedNode(name=node.name, reason=node.reason, until=_time(node.until)) for node in status.avoided
        ]
        or None,
        shard_table=table.text,
        nodes=list(table.nodes) or None,
        conditions=[_condition(condition, sweep.generation) for condition in status.conditions],
    )
    return resource.model_dump(mode="json", by_alias=True, exclude_none=True)


def lasting_part(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return a written status without what moves all the time: counts and estimates, which can wait to be written.

    The numbers inside the shard table are such counts too, but for a shard's state and attempt, its last signal, and
    what is announced of its machine. So is what conditions say of the shards while they start and run: in a large
    sweep it is other shards at every look. And how long the last relaunch took is known only after the reclaim itself
    was written: for its sake alone nothing is written again at once.
    """
    lasting = {field: value for field, value in status.items() if field not in _VOLATILE}
    rows, _ = unpacked(ShardTable(text=str(status.get("shardTable", ""))))
    lasting["shardTable"] = [(*row[:_LASTING_CELLS], *row[_ANNOUNCED_CELLS:_BUDGET_CELLS]) for row in rows]
    last = status.get("lastReclaim") or {}
    lasting["lastReclaim"] = {field: value for field, value in last.items() if field != "relaunchSeconds"}
    lasting["conditions"] = [
        {**condition, "message": ""} if _names_shards(condition) else condition
        for condition in status.get("conditions") or ()
    ]
    return lasting


def _names_shards(condition: Mapping[str, str]) -> bool:
    return condition["reason"] == "Running" or condition["type"] == "Healthy"


# What a sidecar or a kubelet calls its trouble comes from outside; metav1.Condition allows only this as a reason.
_REASON = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,255}")
_LONGEST_RETRY = 1024
_LASTING_CELLS, _ANNOUNCED_CELLS, _BUDGET_CELLS = 3, 10, 16
_VOLATILE = frozenset({"done", "eta", "total", "running", "shardTable", "nodes"})


def _shards(records: tuple[ShardRecord, ...]) -> api.Shards:
    def ranges(*states: ShardState) -> str | None:
        return index_ranges([record.shard for record in records if record.state in states]) or None

    return api.Shards(
        complete=ranges(ShardState.COMPLETE),
        running=ranges(*UNDER_WAY),
        waiting=ranges(ShardState.WAITING),
        failed=ranges(ShardState.FAILED),
    )


def _condition(condition: model.Condition, generation: int) -> api.Condition:
    return api.Condition(
        type=condition.type,
        status="True" if condition.status else "False",
        reason=condition.reason if _REASON.fullmatch(condition.reason) else "Other",
        message=_writable(condition.message)[:1024],
        last_transition_time=_time(condition.since),
        observed_generation=generation,
    )


def _writable(text: str) -> str:
    """Return a text that UTF-8 has a form for: JSON from outside can hold half of a surrogate pair, a status cannot."""
    return text.encode("utf-8", "backslashreplace").decode()


def _seconds(time: datetime | None) -> float | None:
    return time.timestamp() if time is not None else None


def _time(seconds: float | None) -> Any:
    return None if seconds is None else datetime.fromtimestamp(int(seconds), tz=UTC)

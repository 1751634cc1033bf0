"""What a sweep has come to, without what may differ from one run to the next: so that two can be compared."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sweep_operator.model.shard_record import ShardRecord, ShardTable, records_of

_OF_EACH_RUN = frozenset(
    {
        *("attempts", "completionTime", "eta", "nodes", "recentReclaims", "reclaimsLastHour", "retentionTime"),
        *("runId", "shardTable", "startTime"),
    }
)
"""Fields that hold times, names of this run, or numbers that an operator's death may use up."""


def come_to(status: dict[str, Any], *, shards: int) -> dict[str, Any]:
    """Return what a sweep has come to, with its results as they stand in the store."""
    there = {name: value for name, value in status.items() if name not in _OF_EACH_RUN}
    there["states"] = [
        (record.state.value, record.done, record.user_failures) for record in recorded(status, shards=shards)
    ]
    if (last := there.pop("lastReclaim", None)) is not None:
        there["lastReclaim"] = {name: last.get(name) for name in ("shard", "itemsSafe")}
    there["avoidedNodes"] = [node["reason"] for node in there.get("avoidedNodes", ())]
    # By which of several traces a reclaim was known depends on which of them came first.
    there["reclaimsBySignal"] = sum((there.pop("reclaimsBySignal", None) or {}).values())
    if (merged := there.pop("merged", None)) is not None:
        content = Path(merged["url"].removeprefix("file://")).read_bytes()
        there["merged"] = {"items": merged["items"], "sha256": merged["sha256"]}
        there["results"] = hashlib.sha256(content).hexdigest()
    there["conditions"] = {
        said["type"]: (said["status"], said["reason"], said.get("message", "")) for said in status.get("conditions", ())
    }
    return there


def recorded(status: dict[str, Any], *, shards: int) -> Sequence[ShardRecord]:
    """Return what a status says of each shard."""
    table = ShardTable(text=str(status.get("shardTable", "")), nodes=tuple(status.get("nodes") or ()))
    return records_of(table, shards=shards)


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Return in what two results differ."""
    return [
        f"{name} is {found.get(name)!r}, and {expected.get(name)!r} where nothing happens"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]

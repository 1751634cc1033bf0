"""`ls`: the runs below a URL, and the shards of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from sweep_sidecar.inspection.runs import Run, shape_of, side_by_side
from sweep_sidecar.inspection.table import age_text, print_json, print_table, size_text
from sweep_sidecar.log.entry import CheckpointCorrupt, Kind
from sweep_sidecar.restore import generation_in


@dataclass(frozen=True, kw_only=True)
class ShardStanding:
    """How a shard stands; None where nobody knows.

    `state` is that of the newest entry which can be read: `open` (an attempt holds the shard, alive or not), `sealed`,
    `complete`, or `damaged` where something is wrong on the way to its newest generation: `problem` says what.
    """

    shard: int
    state: str
    attempt: int | None = None
    items_done: int | None = None
    generation: int | None = None
    entries: int = 0
    size_bytes: int | None = None
    time: float | None = None
    problem: str = ""


def standing_of(run: Run, shard: int) -> ShardStanding:
    """Return how a shard stands: its newest entry and its newest generation are read, no contents.

    Raises
    ------
    Unreachable
    """
    log = run.reader(shard)
    known = ShardStanding(shard=shard, state="damaged")
    try:
        known = replace(known, entries=len(run.slots(shard)))
        top = log.top()
        if top.newest is None:
            return replace(known, problem=f"none of the entries up to {top.seq} can be read")
        head = top.newest.entry
        known = replace(known, attempt=head.writer.attempt, time=head.time)
        found = log.newest_generation(top.newest)
        generation = None if found is None else generation_in(log, found)
    except CheckpointCorrupt as error:
        return replace(known, problem=str(error))
    if found is not None and generation is not None:
        size = sum(version.size for version in generation.files.values())
        known = replace(known, generation=found.entry.seq, items_done=generation.items_done, size_bytes=size)
    else:
        known = replace(known, items_done=0)
    if top.seq != head.seq:
        return replace(known, problem=f"entry {top.seq} cannot be read")
    return replace(known, state={Kind.SEAL: "sealed", Kind.COMPLETE: "complete"}.get(head.kind, "open"))


def list_runs(runs: Sequence[Run], *, now: float, as_json: bool) -> None:
    """Print runs, a line each; of a single one its shards as well.

    Raises
    ------
    Unreachable
    """
    standings = [side_by_side(partial(standing_of, run), run.shards) for run in runs]
    summaries = [_summary(run, of_run) for run, of_run in zip(runs, standings, strict=True)]
    if as_json:
        print_json(
            [
                {**summary, "shard_list": [asdict(one) for one in of_run]}
                for summary, of_run in zip(summaries, standings, strict=True)
            ]
        )
        return
    print_table(
        ("RUN", "COMPLETE", "ITEMS", "MERGED", "OBJECTS", "SIZE", "AGE"),
        (
            (
                one["url"],
                f"{one['complete']}/{'?' if one['shards'] is None else one['shards']}",
                one["items_done"],
                one["merged"],
                one["objects"],
                size_text(one["size_bytes"]),
                None if one["time"] is None else age_text(now - one["time"]),
            )
            for one in summaries
        ),
    )
    if len(runs) == 1 and standings[0]:
        print()
        _print_shards(standings[0], now=now)
    for of_run in standings:
        for one in of_run:
            if one.problem:
                print(f"shard {one.shard}: {one.problem}")


def _print_shards(standings: Sequence[ShardStanding], *, now: float) -> None:
    print_table(
        ("SHARD", "STATE", "ATTEMPT", "ITEMS", "GENERATION", "ENTRIES", "FILES", "AGE"),
        (
            (
                one.shard,
                one.state,
                one.attempt,
                one.items_done,
                one.generation,
                one.entries,
                None if one.size_bytes is None else size_text(one.size_bytes),
                None if one.time is None else age_text(now - one.time),
            )
            for one in standings
        ),
    )


def _summary(run: Run, standings: Sequence[ShardStanding]) -> dict[str, Any]:
    try:
        shards: int | None = shape_of(run).shards if run.shards else None
    except CheckpointCorrupt:
        shards = None
    times = [one.time for one in standings if one.time is not None]
    return {
        "url": run.store.url,
        "run_id": run.run_id,
        "shards": shards,
        "complete": sum(one.state == "complete" for one in standings),
        "items_done": sum(one.items_done or 0 for one in standings),
        "merged": any(key.startswith("merged/") for key in run.objects),
        "objects": len(run.objects),
        "size_bytes": run.size_bytes,
        "time": max(times, default=None),
    }

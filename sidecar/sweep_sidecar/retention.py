"""`gc`: delete the generations that nobody goes back to, and the blobs that nothing refers to any more.

A blob that nothing refers to may be referred to again at any moment: an attempt that finds the content of a new file
in the store sends it no second time. No age of the blob says that this is not happening just now. So a run is touched
only where nobody can write: every shard's log ends in `complete`, or the caller vouches for it.

Of the log only generations are deleted. A slot that fences an older attempt off holds a `take`, and stays: a process
that was cut off for days and comes back finds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from sweep_sidecar import layout
from sweep_sidecar.content import ContentReader
from sweep_sidecar.inspection.entries import WholeLog, read_log
from sweep_sidecar.inspection.runs import Run, shape_of, side_by_side
from sweep_sidecar.log.entry import CheckpointCorrupt, Kind
from sweep_sidecar.log.generation import Generation
from sweep_sidecar.retirement import record_retired, retired_in

_BLOB = re.compile(r"blobs/[0-9a-f]{64}(\.\w+)?")
_DELETED_AT_ONCE = 500
"""How many blobs are deleted between two looks at whether somebody writes."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What to keep: the newest `keep` whole generations of each shard, and all of a run that is younger than `age_s`.

    `stopped` is the caller's word that no pod of the run is alive and none starts, for runs that are not complete.
    """

    keep: int
    age_s: float
    stopped: bool = False


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What is to go from a run, or went: entries by shard, and blobs; `left_alone` says why nothing does."""

    url: str
    left_alone: str = ""
    retired: dict[int, list[int]] = field(default_factory=dict)
    """Generations that are kept no longer, of those that were until now."""
    entries: dict[int, list[int]] = field(default_factory=dict)
    blobs: list[str] = field(default_factory=list)
    size_bytes: int = 0
    heads: dict[int, int] = field(default_factory=dict)
    """The highest slot of each shard when the run was read."""


class LogMoved(Exception):
    """Somebody has written into a run while it was swept; the message says what to do."""


def planned_sweep(run: Run, rule: Rule, *, now: float) -> Sweep:
    """Return what the rule lets go of a run; nothing is changed.

    The generations that stay are read in full and checked, as a restore would: one that is damaged does not count.

    Raises
    ------
    CheckpointCorrupt, RunNotFound, Unreachable
    """
    kept_alone = Sweep(url=run.store.url)
    if not run.shards:
        return replace(kept_alone, left_alone="no attempt has begun")
    wholes = {shard: read_log(run, shard) for shard in run.shards}
    before = retired_in(run.store, run.objects)
    why = _damage(wholes, before) or _may_be_written(run, wholes, rule, now=now)
    if why:
        return replace(kept_alone, left_alone=why)
    retired: dict[int, list[int]] = {}
    entries: dict[int, list[int]] = {}
    referred: set[str] = set()
    for shard, whole in wholes.items():
        gone = before.get(shard, set())
        kept = {seq: found for seq, found in whole.generations.items() if seq not in gone}
        floor = _floor(whole, kept, keep=rule.keep)
        retired[shard] = sorted(seq for seq in kept if seq < floor)
        kept = {seq: found for seq, found in kept.items() if seq >= floor}
        pieces = [piece for found in kept.values() for file in found.files.values() for piece in file.segments]
        referred |= {piece.blob for piece in pieces if piece.blob is not None}
        holders = {piece.seq for piece in pieces if piece.seq is not None}
        entries[shard] = sorted(whole.generations.keys() - kept.keys() - holders)
    blobs = sorted(key for key in run.objects if _BLOB.fullmatch(key) and key not in referred)
    keys = [*blobs, *_entry_keys(run, entries)]
    return Sweep(
        url=run.store.url,
        retired=retired,
        entries=entries,
        blobs=blobs,
        size_bytes=sum(run.objects[key] for key in keys),
        heads={shard: whole.highest for shard, whole in wholes.items()},
    )


def swept(run: Run, sweep: Sweep, rule: Rule, *, now: float) -> None:
    """Do what was planned; whenever this ends, in whatever way, all that is kept is whole.

    Raises
    ------
    LogMoved
        Where somebody has written meanwhile; the rest stays.
    CheckpointCorrupt, Unreachable
    """
    _check_still(run, sweep)
    if any(sweep.retired.values()):
        record_retired(run.store, sweep.retired, keep=rule.keep, time=now)
    # Entries before blobs: nothing in the log refers to what is gone but what the record names.
    side_by_side(run.store.delete, _entry_keys(run, sweep.entries))
    for start in range(0, len(sweep.blobs), _DELETED_AT_ONCE):
        _check_still(run, sweep)
        side_by_side(run.store.delete, sweep.blobs[start : start + _DELETED_AT_ONCE])


def _damage(wholes: dict[int, WholeLog], retired: dict[int, set[int]]) -> str:
    """Return what is wrong with the logs, empty where nothing is: whoever looks for the cause finds all as it was."""
    for shard, whole in wholes.items():
        if whole.damaged:
            return f"entry {max(whole.damaged)} of shard {shard} is damaged: see `verify`"
        missing = set(range(whole.highest)) - whole.entries.keys() - retired.get(shard, set())
        if missing:
            return f"entry {max(missing)} of shard {shard} is missing: see `verify`"
    return ""


def is_complete(run: Run) -> bool:
    """Return whether every shard's log ends in `complete`, so that nobody writes into the run any more.

    Raises
    ------
    CheckpointCorrupt, Unreachable
    """
    shards = range(shape_of(run).shards)
    if set(shards) != set(run.shards):
        return False
    newest = side_by_side(lambda shard: run.reader(shard).top().newest, shards)
    return all(found is not None and found.entry.kind is Kind.COMPLETE for found in newest)


def _may_be_written(run: Run, wholes: dict[int, WholeLog], rule: Rule, *, now: float) -> str:
    """Return why somebody may write into a run, empty where nobody does."""
    if not rule.stopped:
        for shard in range(shape_of(run).shards):
            head = wholes[shard].entries.get(wholes[shard].highest) if shard in wholes else None
            if head is None or head.entry.kind is not Kind.COMPLETE:
                ends = f"ends in {head.entry.kind}" if head else "has not begun"
                return f"shard {shard} {ends}, so an attempt may write: --stopped says that none does"
    newest = max(found.entry.time for whole in wholes.values() for found in whole.entries.values())
    if now - newest < rule.age_s:
        return f"its newest entry is {max(0.0, now - newest) / 3600:.1f} hours old, --older-than asks for more"
    return ""


def _floor(whole: WholeLog, kept: dict[int, Generation], *, keep: int) -> int:
    """Return the oldest generation that stays: with it, `keep` are whole. All stay where fewer are."""
    if len(kept) <= keep:
        return 0
    reader = ContentReader(whole.log)
    for seq in sorted(kept, reverse=True):
        keep -= _is_whole(reader, kept[seq])
        if not keep:
            return seq
    return 0


def _is_whole(reader: ContentReader, generation: Generation) -> bool:
    try:
        for path, version in generation.files.items():
            for _ in reader.pieces(version, what=path):
                pass
    except CheckpointCorrupt:
        return False
    return True


def _check_still(run: Run, sweep: Sweep) -> None:
    def highest(shard: int) -> int:
        prefix = layout.log_prefix(layout.shard_folder(run.run_id, shard))
        newest = run.store.list(prefix, limit=1)
        return layout.seq_of(newest[0].key) if newest else -1

    for shard, seq in zip(sweep.heads, side_by_side(highest, sweep.heads), strict=True):
        if seq != sweep.heads[shard]:
            raise LogMoved(
                f"entry {seq} of shard {shard} in {run.store.url} was written while the run was swept: a pod is alive. "
                "Nothing more was deleted; look with `verify`, and sweep again when the run has ended"
            )


def _entry_keys(run: Run, entries: dict[int, list[int]]) -> list[str]:
    return [key for shard, seqs in entries.items() for key in _keys(run, shard, seqs)]


def _keys(run: Run, shard: int, seqs: Iterable[int]) -> list[str]:
    return [layout.entry_key(layout.shard_folder(run.run_id, shard), seq) for seq in seqs]

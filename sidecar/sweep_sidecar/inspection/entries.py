"""A shard's whole log, read entry by entry, damaged ones included."""

from __future__ import annotations

from dataclasses import dataclass, field

from sweep_sidecar.inspection.runs import Run, side_by_side
from sweep_sidecar.log.entry import CheckpointCorrupt, Kind, NewerSchema, Stored
from sweep_sidecar.log.generation import Generation
from sweep_sidecar.log.shard_log import LogReader
from sweep_sidecar.restore import generation_in


@dataclass(frozen=True, kw_only=True)
class WholeLog:
    """What a shard's slots hold: whole entries, what is wrong with the others, and the whole generations."""

    log: LogReader
    entries: dict[int, Stored] = field(default_factory=dict)
    damaged: dict[int, CheckpointCorrupt] = field(default_factory=dict)
    generations: dict[int, Generation] = field(default_factory=dict)

    @property
    def highest(self) -> int:
        """The highest slot that holds anything, -1 where none does."""
        return max((*self.entries, *self.damaged), default=-1)


def read_log(run: Run, shard: int, *, last: int | None = None) -> WholeLog:
    """Read a shard's log, the newest `last` entries of it at most; None: all.

    Raises
    ------
    RunNotFound
        Where the shard has none.
    NewerSchema, Unreachable
    """
    log = run.reader(shard)
    whole = WholeLog(log=log)
    slots = run.slots(shard)[:last]
    for seq, found in zip(slots, side_by_side(lambda seq: _read(log, seq), slots), strict=True):
        if isinstance(found, CheckpointCorrupt):
            whole.damaged[seq] = found
            continue
        whole.entries[seq] = found
        if found.entry.kind is Kind.GEN:
            try:
                whole.generations[seq] = generation_in(log, found)
            except CheckpointCorrupt as error:
                whole.damaged[seq] = error
                del whole.entries[seq]
    return whole


def _read(log: LogReader, seq: int) -> Stored | CheckpointCorrupt:
    try:
        return log.read(seq)
    except NewerSchema:
        raise
    except CheckpointCorrupt as error:
        return error

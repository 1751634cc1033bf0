"""The generations that a restore may try, newest first, and what stands between them damaged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sweep_sidecar.log.entry import CheckpointCorrupt, EntryMissing, Kind, NewerSchema, Stored
from sweep_sidecar.log.shard_log import LogReader, seq_below


@dataclass(frozen=True, kw_only=True)
class Damage:
    """A generation that cannot be restored, or an entry that may have been one: `key` names the object at fault.

    `oldest` is lower than `generation` where it stands for a whole row of entries with the same trouble.
    """

    generation: int
    oldest: int
    reason: str
    key: str

    def to_json(self) -> dict[str, Any]:
        """Return the damage as `base` records it."""
        fields = {"generation": self.generation, "reason": self.reason, "object": self.key}
        return fields if self.oldest == self.generation else {**fields, "oldest": self.oldest}


def parsed_damage(fields: Mapping[str, Any]) -> Damage:
    """Return the damage that a `base` records."""
    generation = int(fields["generation"])
    oldest = int(fields.get("oldest", generation))
    return Damage(generation=generation, oldest=oldest, reason=str(fields["reason"]), key=str(fields["object"]))


def damage_of(seq: int, error: CheckpointCorrupt) -> Damage:
    """Return what `error` says of the generation in slot `seq`."""
    return Damage(generation=seq, oldest=seq, reason=str(error), key=error.key)


def candidates(log: LogReader, taken: Stored) -> Iterator[Stored | Damage]:
    """Yield the generations below the entry `taken`, newest first, and damaged entries where they would have come.

    Raises
    ------
    CheckpointCorrupt, Unreachable
        As `generations_below`.
    """
    return generations_below(log, taken.entry.seq, above=taken)


def generations_below(log: LogReader, below: int, *, above: Stored | None = None) -> Iterator[Stored | Damage]:
    """Yield the generations below slot `below`, newest first, and damaged entries where they would have come.

    An entry is passed over only where it was read twice and is not what was written, or is missing. What `base`, `seal`
    and `complete` name is gone to at once, so nothing that cannot have been a generation is met.

    Parameters
    ----------
    above:
        The entry in slot `below`, where it is known.

    Raises
    ------
    CheckpointCorrupt
        Where something foreign stands in the log, or an entry of a newer version.
    Unreachable
    """
    seq = below - 1
    while seq >= 0:
        try:
            found = log.read(seq, after=above)
            lower = seq_below(found)
        except NewerSchema:
            raise
        except CheckpointCorrupt as error:
            # Retention takes the oldest entries away: a row of missing ones is not asked for one by one.
            next_seq = _next_slot(log, seq) if isinstance(error, EntryMissing) else seq - 1
            yield replace(damage_of(seq, error), oldest=next_seq + 1)
            above, seq = None, next_seq
            continue
        if found.entry.kind is Kind.GEN:
            yield found
        if lower is None:
            return
        above, seq = found, lower


def in_rows(damages: Iterable[Damage]) -> list[Damage]:
    """Return damages, given newest first, with neighbours of the same cause as one."""
    rows: list[Damage] = []
    for damage in damages:
        if rows and (rows[-1].reason, rows[-1].key) == (damage.reason, damage.key):
            rows[-1] = replace(rows[-1], oldest=damage.oldest)
        else:
            rows.append(damage)
    return rows


def _next_slot(log: LogReader, seq: int) -> int:
    return max((slot for slot in log.slots() if slot < seq), default=-1)

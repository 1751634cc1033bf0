"""How shards are named to people."""

from __future__ import annotations

from collections.abc import Sequence

from sweep_operator.model.shard_record import index_ranges

_RANGES_TOLD = 10


def which_shards(shards: Sequence[int]) -> str:
    """Return which shards it is, as ranges: of many ranges the first, for the cause is to be read, too."""
    ordered = sorted(shards)
    ranges = index_ranges(ordered).split(",")
    named = f"shard{'s' if len(shards) > 1 else ''} {','.join(ranges[:_RANGES_TOLD])}"
    if len(ranges) <= _RANGES_TOLD:
        return named
    last = int(ranges[_RANGES_TOLD - 1].rpartition("-")[2])
    return f"{named} and {sum(shard > last for shard in ordered)} others"

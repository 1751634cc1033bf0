"""How often the sweep was reclaimed of late."""

from __future__ import annotations

from collections.abc import Sequence

from sweep_operator.model.snapshot import ReclaimCount

SLOT_SECONDS = 300
"""Reclaims are counted by five minutes: a dozen numbers tell the rate, however many there are."""

WINDOW_SECONDS = 3600


def counted(so_far: Sequence[ReclaimCount], *, new: int, now: float) -> tuple[ReclaimCount, ...]:
    """Return the counts of the last hour, oldest first, with `new` reclaims now; empty slots are left out."""
    slot = float(now // SLOT_SECONDS * SLOT_SECONDS)
    counts = {each.begin: each.count for each in so_far if slot - WINDOW_SECONDS < each.begin <= slot}
    if new:
        counts[slot] = counts.get(slot, 0) + new
    return tuple(ReclaimCount(begin, counts[begin]) for begin in sorted(counts))


def look_again_at(counts: Sequence[ReclaimCount]) -> float | None:
    """Return when the oldest of these counts is to be forgotten (Unix seconds), None where there is none."""
    return counts[0].begin + WINDOW_SECONDS if counts else None

"""When the mirror looks next: at its interval, later where the sweep's writes would be too many, earlier when asked."""

from __future__ import annotations

ASKED_EVERY_S = 0.25
"""How often the mirror sees whether it is asked: one stat of one file."""
LEAST_PAUSE_S = 1.0
"""Least time between the beginning of one look and of the next one that was asked for: a program that waits for every
record then makes one generation a second, whatever it asks, and a generation costs one write to the store."""
SWEEP_WRITES_PER_S = 200.0
"""Writes to the store that all shards of a sweep together make at most, on the average. A bucket of Google Cloud
Storage takes about 1,000 a second before it has to be warmed up ("Request rate and access distribution guidelines")."""
LONGEST_S = 300.0
"""Looks are not put off further than this for the sake of the budget."""
_FORGETTING = 8
_GOLDEN = 0.6180339887498949
"""Multiples of it, without their whole part, are spread evenly however many there are (Weyl)."""


class Pace:
    """Times are those of a monotonic clock, in seconds.

    A look is due every `interval_s`, or as much later as it takes for `shards` such mirrors to stay within the sweep's
    budget, at as many writes a look as this one has lately made. `shard` says at which moment of the interval, so that
    shards that began together do not write together.
    """

    def __init__(self, *, interval_s: float, now: float, shard: int = 0, shards: int = 1) -> None:
        self._interval_s = interval_s
        self._shards = shards
        self._writes = 0.0
        self._first_part = 1.0 - shard * _GOLDEN % 1.0
        self._due = now
        self._begun = now

    @property
    def period_s(self) -> float:
        """How far the looks are apart at present."""
        affordable_s = self._shards * self._writes / SWEEP_WRITES_PER_S
        return max(self._interval_s, min(affordable_s, LONGEST_S))

    def wrote(self, writes: int) -> None:
        """Note how many writes a look has made: more count at once, fewer little by little."""
        self._writes = max(float(writes), self._writes + (writes - self._writes) / _FORGETTING)

    def begin(self, now: float) -> None:
        """Note that a look begins; one ahead of its time does not put off the next."""
        self._begun = now
        if now >= self._due:
            self._due = max(self._due + self.period_s * self._first_part, now)
            self._first_part = 1.0

    def pause_s(self, now: float, *, is_asked: bool) -> float:
        """Return how long to wait before this is to be asked again, 0 where it is time to look."""
        if is_asked:
            return max(0.0, min(self._due, self._begun + LEAST_PAUSE_S) - now)
        return max(0.0, min(self._due - now, ASKED_EVERY_S))

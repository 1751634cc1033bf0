"""How fast items are recorded just now, which is what tells how long the rest will take."""

from __future__ import annotations

from collections import deque

WINDOW_S = 60.0
_FEWEST_STEPS = 10
"""Where items take long, the window holds that many of them instead, or one slow item would be all it sees."""
_SPACING_S = 0.5


class Rate:
    """Items a second over a moving window of a minute, or of ten steps where those took longer.

    Counting starts from nothing. Not safe for threads; times are those of a monotonic clock, in seconds.
    """

    def __init__(self, now: float) -> None:
        self._samples: deque[tuple[float, int]] = deque([(now, 0)])

    def note(self, now: float, count: int) -> None:
        """Note that `count` items have been recorded by `now`."""
        last, last_count = self._samples[-1]
        if count == last_count or now - last < _SPACING_S:
            return
        self._samples.append((now, count))
        while len(self._samples) > _FEWEST_STEPS + 1 and self._samples[1][0] <= now - WINDOW_S:
            self._samples.popleft()

    def per_second(self, now: float, count: int) -> float:
        """Return the rate at `now`, when `count` items have been recorded; 0 before anything has been."""
        start, start_count = self._samples[0]
        return (count - start_count) / (now - start) if now > start else 0.0

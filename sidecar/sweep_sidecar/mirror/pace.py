"""When the mirror looks next: at its interval, and earlier where the experiment asks for it."""

from __future__ import annotations

ASKED_EVERY_S = 0.25
"""How often the mirror sees whether it is asked: one stat of one file."""
LEAST_PAUSE_S = 1.0
"""Least time between the beginning of one look and of the next one that was asked for: a program that waits for every
record then makes one generation a second, whatever it asks, and a generation costs one write to the store."""


class Pace:
    """Times are those of a monotonic clock, in seconds."""

    def __init__(self, *, interval_s: float, now: float) -> None:
        self._interval_s = interval_s
        self._due = now
        self._begun = now

    def begin(self, now: float) -> None:
        """Note that a look begins; one ahead of its time does not put off the next."""
        self._begun = now
        if now >= self._due:
            self._due = max(self._due + self._interval_s, now)

    def pause_s(self, now: float, *, is_asked: bool) -> float:
        """Return how long to wait before this is to be asked again, 0 where it is time to look."""
        if is_asked:
            return max(0.0, min(self._due, self._begun + LEAST_PAUSE_S) - now)
        return max(0.0, min(self._due - now, ASKED_EVERY_S))

"""How long calls to the store may take once the pod has to go."""

from __future__ import annotations

from collections.abc import Callable

FIRST_CALL_S = 5.0
"""What one call may take at first when time is short: one that hangs must leave time for another, which may not."""
LEAST_CALL_S = 1.0


class Grace:
    """The time that is left: only the kubelet knows how much, and under a node's shutdown it may be a few seconds.

    So no call gets all of it. One that was cut off gets twice the time at its next try, as a link may be slow. Once the
    experiment's containers have ended, nothing is tried for longer than `flush_timeout_s`.

    Parameters
    ----------
    monotonic:
        Clock in seconds.
    """

    def __init__(self, *, flush_timeout_s: float, monotonic: Callable[[], float]) -> None:
        self._flush_timeout_s = flush_timeout_s
        self._monotonic = monotonic
        self._is_stopping = False
        self._is_announced = False
        self._ends: float | None = None
        self._call_s = FIRST_CALL_S

    def stop(self) -> None:
        """Note that the pod is being stopped."""
        self._is_stopping = True

    def announce(self, *, is_leaving: bool) -> None:
        """Note that the machine is to be taken away soon, or that this was taken back."""
        self._is_announced = is_leaving

    def begin(self) -> None:
        """Note that the experiment's containers have ended; the first time counts."""
        if self._ends is None:
            self._ends = self._monotonic() + self._flush_timeout_s

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be tried."""
        return self._ends is not None and self._monotonic() >= self._ends

    @property
    def call_s(self) -> float | None:
        """Most seconds that one call to the store may take now, None where there is no hurry."""
        if self._ends is not None:
            return max(LEAST_CALL_S, min(self._call_s, self._ends - self._monotonic()))
        return self._call_s if self._is_stopping or self._is_announced else None

    def failed(self, after_s: float) -> None:
        """Note that a call failed after so many seconds: if that was all the time it had, the next one gets more."""
        if self.call_s is not None and after_s >= 0.9 * self._call_s:
            self._call_s *= 2

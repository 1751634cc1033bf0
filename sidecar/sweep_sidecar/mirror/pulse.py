"""Whether the mirror's worker lives: a stuck one must be started again, one that waits for the store must not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

STUCK_AFTER_S = 180.0
"""Longer than anything the worker waits for: a call to the store ends within a minute, pauses within half of one."""
_WORKED_S = 0.001


class Pulse:
    """Beats with each step of the worker. A step without an end, such as the digest of a huge file, shows as CPU time.

    Parameters
    ----------
    monotonic:
        Clock in seconds.
    cpu_s:
        Returns how many seconds of CPU time a thread has used, given its identity.
    """

    def __init__(self, *, monotonic: Callable[[], float], cpu_s: Callable[[int], float] | None = None) -> None:
        self._monotonic = monotonic
        self._cpu_s = cpu_s or cpu_seconds
        self._thread = 0
        self._watching = threading.Lock()
        self._used_s = 0.0
        self._beat_at = monotonic()

    def watch(self) -> None:
        """Watch the thread that calls this."""
        self._thread = threading.get_ident()
        self.beat()

    def beat(self) -> None:
        """Note that the worker has come to its next step."""
        self._beat_at = self._monotonic()

    def end(self) -> None:
        """Note that the worker has done all its work; its thread may end then."""
        with self._watching:
            self._thread = 0

    @property
    def is_stuck(self) -> bool:
        """Whether the worker neither came to a next step nor computed anything for so long."""
        # The clock of a thread that ends while it is read is memory that belongs to nobody any more.
        with self._watching:
            if not self._thread:
                return False
            used_s = self._cpu_s(self._thread)
            if used_s - self._used_s > _WORKED_S:
                self._used_s = used_s
                self.beat()
        return self._monotonic() - self._beat_at > STUCK_AFTER_S


def cpu_seconds(thread: int) -> float:
    """Return the CPU time that a living thread of this process has used."""
    return time.clock_gettime(time.pthread_getcpuclockid(thread))

"""Records that share a way to the disk: after so many, or so many seconds after the first that is not there yet."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class GroupCommit:
    """Calls `commit` for groups of records.

    Parameters
    ----------
    every:
        Most records in a group, None = no limit.
    seconds:
        Most seconds from the first record of a group to its commit, None = no limit. A thread sees to it.
    """

    def __init__(
        self,
        commit: Callable[[], None],
        *,
        every: int | None,
        seconds: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._commit = commit
        self._every = every
        self._seconds = seconds
        self._clock = clock
        self._changed = threading.Condition()
        self._flushing = threading.Lock()
        self._waiting = 0
        self._first_at = 0.0
        self._error: BaseException | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    def recorded(self) -> None:
        """Take in one record.

        Raises
        ------
        OSError
            Where a group, this or an earlier one, could not be brought to disk; it is tried again with the next.
        """
        with self._changed:
            # Counted even where an earlier group's error is raised: it is in the log, and waits like the others.
            self._waiting += 1
            if self._waiting == 1:
                self._first_at = self._clock()
                self._watch()
            self._raise_what_went_wrong()
            is_full = self._every is not None and self._waiting >= self._every
        if is_full:
            self.flush()

    def flush(self) -> None:
        """Bring to disk what is waiting.

        Raises
        ------
        OSError
        """
        # One at a time: two that took the same records off would leave the next ones uncounted.
        with self._flushing:
            with self._changed:
                taken, began = self._waiting, self._clock()
            self._commit()
            with self._changed:
                self._waiting -= taken
                # What was recorded meanwhile may be as old as this.
                self._first_at = began
                self._error = None

    def close(self) -> None:
        """Let the thread end; what is waiting is left to `flush`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        if self._seconds is None:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._flush_in_time, name="group commit", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _flush_in_time(self) -> None:
        assert self._seconds is not None
        while True:
            with self._changed:
                while not self._closed and not self._waiting:
                    self._changed.wait()
                while not self._closed and (left := self._first_at + self._seconds - self._clock()) > 0:
                    self._changed.wait(left)
                if self._closed:
                    return
                is_due = self._waiting > 0
            if is_due:
                try:
                    self.flush()
                except OSError as error:
                    with self._changed:
                        self._error = error
                        self._first_at = self._clock()  # the next try comes after as many seconds

    def _raise_what_went_wrong(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

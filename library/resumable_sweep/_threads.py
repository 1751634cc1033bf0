"""Several items at once, each in a thread of its own, while the caller's thread hands them out and heeds the stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from resumable_sweep._item_ending import ending_of
from resumable_sweep._stopping import StopSignals
from resumable_sweep._sweep import ResumableSweep

POLL_SECONDS = 0.5
"""So often one that waits looks whether its time is over, where no signal's handler says so."""

_END = object()


class RecordingGate:
    """Lets threads record, several at once, until it is shut; then nobody comes in any more.

    A thread cannot be ended. One whose item was abandoned must not write to a log that is closed by the time it is
    done.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._is_shut = False

    def pass_through(self, end: Callable[[], Any]) -> None:
        """Call `end` unless the gate is shut."""
        with self._changed:
            if self._is_shut:
                return
            self._inside += 1
        try:
            end()
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def shut(self) -> None:
        """Shut it, and wait for those that are inside."""
        with self._changed:
            self._is_shut = True
            self._changed.wait_for(lambda: not self._inside)


class Threads:
    """Works on the items of `sweep`, one thread for each of `works`.

    Each thread calls its own of `works` with an item, and records what comes of it: so threads that record at the same
    time share a way to the disk. No more items are taken than there are threads.

    Parameters
    ----------
    abandon:
        Called when what is still at hand does not count any more, with nobody recording.
    """

    def __init__(
        self,
        sweep: ResumableSweep,
        works: Sequence[Callable[[Any], Any]],
        *,
        stop: StopSignals,
        abandon: Callable[[], None] = lambda: None,
    ) -> None:
        self._sweep = sweep
        self._works = works
        self._stop = stop
        self._abandon = abandon
        self._gate = RecordingGate()
        self._at_hand = 0
        self._errors: list[BaseException] = []
        # Unlike Python's conditions these stay whole where a signal's handler raises out of the wait for them.
        self._todo: SimpleQueue[Any] = SimpleQueue()
        self._done: SimpleQueue[None] = SimpleQueue()

    def run(self) -> None:
        """Work on all there is to do.

        Raises
        ------
        BaseException
            What ended it: a stop, an error of the disk, a failure where the sweep has `on_error="raise"`. But for a
            second interrupt, and where the time to stop is over, those at hand are waited for and recorded first.
        """
        # Daemons: the interpreter would wait for the others before it ends, however long an abandoned item takes.
        threads = [
            threading.Thread(target=self._serve, args=(work,), name=f"sweep worker {number}", daemon=True)
            for number, work in enumerate(self._works)
        ]
        try:
            for thread in threads:
                thread.start()
            self._hand_out()
        except BaseException:
            with self._stop.shielded():
                self._gate.shut()
                self._abandon()
            raise
        finally:
            for _ in threads:
                self._todo.put(_END)
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _hand_out(self) -> None:
        pending = self._sweep.pending
        while True:
            self._wait_until_at_hand(len(self._works) - 1)
            if self._errors or self._sweep.stopping:
                # Only then ask for the next: from that on the stop cannot be withdrawn, and nobody watches the time.
                self._wait_until_at_hand(0)
            if self._errors:
                return
            try:
                item = next(pending, _END)
            except (Exception, SystemExit):
                self._wait_until_at_hand(0)
                raise
            if item is _END:
                self._wait_until_at_hand(0)
                return
            self._at_hand += 1
            self._todo.put(item)

    def _wait_until_at_hand(self, most: int) -> None:
        while self._at_hand > most:
            try:
                self._done.get(timeout=seconds_to_wait(self._stop))
            except Empty:
                self._stop.leave_if_overdue()
            else:
                self._at_hand -= 1

    def _serve(self, work: Callable[[Any], Any]) -> None:
        while (item := self._todo.get()) is not _END:
            try:
                self._gate.pass_through(ending_of(self._sweep, item, work))
            except BaseException as error:
                self._errors.append(error)  # `run` raises it
            finally:
                self._done.put(None)


def seconds_to_wait(stop: StopSignals) -> float:
    """Return how long to wait before looking at the time again."""
    deadline = stop.deadline
    return POLL_SECONDS if deadline is None else min(POLL_SECONDS, max(0.0, deadline - time.monotonic()))

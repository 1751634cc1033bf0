"""A restore that was begun ahead of time takes nothing before the attempt before it has ended, or its time is up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from resumable_sweep.contract.report import Answer
from sweep_sidecar import layout
from sweep_sidecar.log.entry import Kind
from sweep_sidecar.log.shard_log import LogReader

LOOK_EVERY_S = 1.0
HEARTBEAT_S = 2.0
"""How often the operator is asked, who may see an end that the log will never show: that of a machine."""
_LOG = logging.getLogger(__name__)


class Turn:
    """Tells when an attempt may take its shard.

    Parameters
    ----------
    most_s:
        Seconds from now that it waits at most; 0 = not at all.
    monotonic:
        Clock in seconds.
    wait_on:
        Waits until the event is set, for so many seconds at most.
    """

    def __init__(
        self,
        most_s: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wait_on: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        self._monotonic = monotonic
        self._wait_on = wait_on
        self._most_s = most_s
        self._until = monotonic() + most_s
        self._told = threading.Event()
        self._newest_key: str | None = None
        self._is_over = False

    @property
    def is_waited_for(self) -> bool:
        """Whether the restore was begun ahead of time."""
        return self._most_s > 0

    def hear(self, answer: Answer) -> None:
        """Take in what the operator has answered to a report."""
        if answer.may_take:
            self._told.set()

    def wait(self, log: LogReader, *, attempt: int) -> None:
        """Return when `attempt` may take the shard: it is for the take itself to say what it finds.

        Raises
        ------
        CheckpointCorrupt, Unreachable
        """
        _LOG.info("waits for the attempt before to end, %.0f s at most", self._until - self._monotonic())
        while (left_s := self._until - self._monotonic()) > 0:
            if self._told.is_set():
                _LOG.info("the operator says that the attempt before has ended")
                return
            if self._has_ended(log, attempt):
                _LOG.info("the log says that the attempt before has ended")
                return
            self._wait_on(self._told, min(LOOK_EVERY_S, left_s))

    def _has_ended(self, log: LogReader, attempt: int) -> bool:
        """Look at the head of the log: one page of a listing, and a read only where it is new."""
        found = log.store.list(layout.log_prefix(log.folder), limit=1)
        key = found[0].key if found else ""
        if key != self._newest_key:
            newest = log.top().newest
            self._is_over = (
                newest is None
                or newest.entry.kind in (Kind.SEAL, Kind.COMPLETE)
                or newest.entry.writer.attempt >= attempt
            )
            self._newest_key = key
        return self._is_over

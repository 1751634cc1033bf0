"""Listening for the cloud's announcements in a thread of its own, which holds nothing up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from sweep_sidecar.notice.announcement import Announcement, Reader
from sweep_sidecar.notice.cloud import found_reader
from sweep_sidecar.notice.metadata import Fetch, NoNotices, NoReply

_LOG = logging.getLogger(__name__)
LOOK_PAUSES_S = (2.0, 5.0, 15.0, 60.0, 300.0)
"""Pauses between the tries to find a metadata server. GKE's takes no questions in the first seconds of a pod's life
(https://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity#limitations)."""
_MOST_PAUSE_S = 30.0


class Wait(Protocol):
    """Waits for the end of the watch."""

    def __call__(self, seconds: float, /) -> bool:
        """Return whether the end has come within so many seconds."""
        ...


class NoticeWatch:
    """Finds out which cloud this is, and follows what it announces, until it is stopped.

    Parameters
    ----------
    changed:
        Called in that thread with what is announced, None where nothing is: first with what stands when the cloud's
        metadata server is found, then with every change.
    clock:
        Unix seconds.
    wait:
        Replaces the wait for `stop`, for tests.
    """

    def __init__(
        self,
        fetch: Fetch,
        *,
        changed: Callable[[Announcement | None], None],
        clock: Callable[[], float] = time.time,
        wait: Wait | None = None,
    ) -> None:
        self._fetch = fetch
        self._changed = changed
        self._clock = clock
        self._ended = threading.Event()
        self._wait: Wait = wait or self._ended.wait
        self._thread = threading.Thread(target=self.follow, name="notice", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Have the thread end soon; it may be waiting for an answer, which nobody has to wait for."""
        self._ended.set()

    def follow(self) -> None:
        """Follow the announcements until the end, or until it is clear that there are none."""
        try:
            reader = self._find()
            if reader is not None:
                self._follow(reader)
        except NoNotices as error:
            _LOG.info("no notices: %s", error)

    def _find(self) -> Reader | None:
        for tries, pause_s in enumerate((0.0, *LOOK_PAUSES_S)):
            if pause_s and self._wait(pause_s):
                return None
            try:
                reader = found_reader(self._fetch, clock=self._clock)
                if reader is not None:
                    return reader
                trouble = "what answers as metadata server is of no cloud that is known here"
            except NoReply as error:
                trouble = f"no metadata server answers ({error})"
            if not tries:
                _LOG.info("no notices of reclaims: %s; asking again for %.0f s", trouble, sum(LOOK_PAUSES_S))
        return None

    def _follow(self, reader: Reader) -> None:
        _LOG.info("listening for the notices of %s", reader.cloud)
        newest: Announcement | None = None
        is_first = True
        failures = 0
        pause_s = 0.0
        while not self._wait(pause_s):
            try:
                announced = reader.read()
            except NoReply as error:
                failures += 1
                pause_s = min(_MOST_PAUSE_S, 2.0 ** (failures - 1))
                if failures == 1:
                    _LOG.warning("the metadata server of %s does not answer: %s", reader.cloud, error)
                continue
            failures, pause_s = 0, reader.pause_s
            if is_first or announced != newest:
                self._tell(announced, before=newest)
                newest, is_first = announced, False

    def _tell(self, announced: Announcement | None, *, before: Announcement | None) -> None:
        if announced is not None:
            left = "" if announced.deadline is None else f", {announced.deadline - self._clock():.0f} s left"
            _LOG.warning("the cloud announces %s%s", announced.kind, left)
        elif before is not None:
            _LOG.warning("the cloud has withdrawn %s", before.kind)
        self._changed(announced)

"""How far a restore has come, for the log and for the operator."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

from resumable_sweep.contract.report import Report
from sweep_sidecar.store import Unreachable

TOLD_AFTER_S = 2.0
"""A restore that takes no longer is not worth a request to the operator."""
LOGGED_EVERY_S = 10.0
_LOG = logging.getLogger(__name__)


class RestoreProgress:
    """Counts what is verified and written. Its methods may be called from any thread.

    Parameters
    ----------
    report:
        What is known when the restore begins.
    tell:
        Called with each new report, once the restore has taken longer than TOLD_AFTER_S or waits for the store.
    monotonic:
        Clock in seconds.
    """

    def __init__(self, report: Report, *, tell: Callable[[Report], None], monotonic: Callable[[], float]) -> None:
        self._report = report
        self._tell = tell
        self._monotonic = monotonic
        self._began = self._logged = monotonic()
        self._has_told = False
        self._lock = threading.Lock()

    @property
    def report(self) -> Report:
        """The newest report."""
        return self._report

    def plan(self, *, size: int, there: int) -> None:
        """Note that a generation of `size` bytes is on its way, of which an earlier try has brought `there`."""
        with self._lock:
            self._change(restore_bytes=size, restored_bytes=there)

    def add(self, size: int) -> None:
        """Note that so many bytes more are verified and written."""
        with self._lock:
            self._change(restored_bytes=self._report.restored_bytes + size)
            now = self._monotonic()
            if now - self._logged >= LOGGED_EVERY_S:
                self._logged = now
                _LOG.info("restored %d of %d bytes", self._report.restored_bytes, self._report.restore_bytes)

    def wait(self, error: Unreachable | None) -> None:
        """Note that the store does not answer, or, with None, that it does again."""
        with self._lock:
            if error is None:
                self._change(problem="", message="")
            else:
                self._change(problem="StoreUnreachable", message=str(error))

    def _change(self, **fields: object) -> None:
        self._report = replace(self._report, **fields)  # type: ignore[arg-type]
        # What was told is also taken back.
        self._has_told |= bool(self._report.problem) or self._monotonic() - self._began >= TOLD_AFTER_S
        if self._has_told:
            self._tell(self._report)

"""The newest report of each attempt, as its sidecar pushed it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable

from resumable_sweep.contract.report import Report


class ReportBoard:
    """Reports by sweep UID and attempt. Held in memory only: sidecars repeat themselves, and the truth is stored.

    `clock` gives Unix seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._heard_at: dict[str, dict[int, float]] = defaultdict(dict)
        self._reports: dict[str, dict[int, Report]] = defaultdict(dict)

    def of(self, sweep_uid: str) -> dict[int, Report]:
        """Return the newest report of each of a sweep's attempts."""
        return dict(self._reports.get(sweep_uid, {}))

    def heard_at(self, sweep_uid: str) -> dict[int, float]:
        """Return when each of a sweep's attempts has last reported (Unix seconds)."""
        return dict(self._heard_at.get(sweep_uid, {}))

    def post(self, sweep_uid: str, report: Report) -> bool:
        """Keep a report unless a newer one is known, and return whether it changes what should be done.

        Progress alone does not: it is read when the status is next written.
        """
        known = self._reports[sweep_uid].get(report.attempt)
        if known is not None and report.sequence <= known.sequence:
            return False
        self._reports[sweep_uid][report.attempt] = report
        self._heard_at[sweep_uid][report.attempt] = self._clock()
        return known is None or _telling_part(known) != _telling_part(report)

    def keep_only(self, sweep_uid: str, attempts: set[int]) -> None:
        """Drop the reports of attempts that are not current any more."""
        for known in (self._reports.get(sweep_uid, {}), self._heard_at.get(sweep_uid, {})):
            for attempt in [attempt for attempt in known if attempt not in attempts]:
                del known[attempt]

    def forget(self, sweep_uid: str) -> None:
        """Drop the reports of a sweep that is gone."""
        self._reports.pop(sweep_uid, None)
        self._heard_at.pop(sweep_uid, None)


def _telling_part(report: Report) -> tuple[object, ...]:
    return report.stage, report.problem, report.notice, report.restore_bytes > 0

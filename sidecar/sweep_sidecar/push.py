"""Progress on its way to the operator: at once when something changes, else as a heartbeat. It holds nothing up."""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from resumable_sweep.contract.report import HEARTBEAT_SECONDS, REPORT_PATH, Answer, NoticeKind, Report, parsed_answer

HEARTBEAT_S = HEARTBEAT_SECONDS
LEAST_PAUSE_S = 1.0
MOST_PAUSE_S = 30.0
NOTICE_PAUSE_S = 1.0
"""Pause before the next try, on top of the least one, until the operator has noted that the machine is taken away."""
_TIMEOUT_S = 5.0
_LOG = logging.getLogger(__name__)


class PushFailed(Exception):
    """The operator did not take a report; it says nothing about the attempt."""


class Operator(Protocol):
    """Where reports go."""

    def tell(self, report: Report) -> Answer:
        """Send a report and return the answer.

        Raises
        ------
        PushFailed
        """
        ...


class HttpOperator:
    """The operator behind its Service, asked with the pod's projected token (read anew each time: it rotates)."""

    def __init__(self, url: str, token_file: Path | None) -> None:
        self._url = f"{url}{REPORT_PATH}"
        self._token_file = token_file
        # The operator is in the cluster: a proxy for the store's sake must not come in between.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def tell(self, report: Report) -> Answer:
        headers = {"Content-Type": "application/json"}
        try:
            if self._token_file is not None:
                headers["Authorization"] = f"Bearer {self._token_file.read_text().strip()}"
            request = urllib.request.Request(self._url, data=report.to_json().encode(), headers=headers, method="POST")
            with self._opener.open(request, timeout=_TIMEOUT_S) as answer:
                return parsed_answer(json.loads(answer.read()))
        except urllib.error.HTTPError as error:
            error.close()
            raise PushFailed(f"{self._url} answered {error.code}") from error
        except (OSError, ValueError) as error:
            raise PushFailed(f"{self._url}: {error}") from error


class ReportNumbers:
    """Numbers that grow with every report of a pod, over restarts of its container too: milliseconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._last = 0
        self._lock = threading.Lock()

    def next(self) -> int:
        """Return the next number."""
        with self._lock:
            self._last = max(self._last + 1, int(self._clock() * 1000))
            return self._last


class Pusher:
    """Sends the newest report from a thread of its own.

    Parameters
    ----------
    heard:
        Called with every answer, in that thread.
    jitter:
        Returns a number from 0 up to 1.
    """

    def __init__(
        self,
        operator: Operator,
        *,
        numbers: ReportNumbers,
        heard: Callable[[Answer], None],
        jitter: Callable[[], float],
        heartbeat_s: float = HEARTBEAT_S,
        least_pause_s: float = LEAST_PAUSE_S,
        notice_pause_s: float = NOTICE_PAUSE_S,
    ) -> None:
        self._operator = operator
        self._numbers = numbers
        self._heard = heard
        self._jitter = jitter
        self._heartbeat_s = heartbeat_s
        self._least_pause_s = least_pause_s
        self._notice_pause_s = notice_pause_s
        self._newest: Report | None = None
        self._noted: tuple[NoticeKind, float | None] | None = None
        self._changed = threading.Event()
        self._hurried = threading.Event()
        self._ended = threading.Event()
        self._sending = threading.Lock()
        self._thread = threading.Thread(target=self._send_all, name="push", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a report on its way is sent to its end."""
        self._ended.set()
        self._changed.set()
        self._hurried.set()
        self._thread.join()

    def note(self, report: Report) -> None:
        """Have `report` sent soon, unless it says what the one before said."""
        if report != self._newest:
            self._newest = report
            self._changed.set()
            if self._is_urgent():
                self._hurried.set()

    def push(self, report: Report) -> Answer | None:
        """Send `report` now and return the answer, None where there is none."""
        with self._sending:
            # Inside the lock, so that an older report of the thread's cannot follow with a higher number.
            self._newest = report
            try:
                return self._tell(report)
            except PushFailed as error:
                _LOG.warning("report not taken: %s", error)
                return None

    def _send_newest(self) -> Answer | None:
        with self._sending:
            return None if self._newest is None else self._tell(self._newest)

    def _tell(self, report: Report) -> Answer:
        answer = self._operator.tell(replace(report, sequence=self._numbers.next()))
        if answer.notice_noted:
            self._noted = _announced(report)
        return answer

    def _is_urgent(self) -> bool:
        """Whether the machine is being taken away, and the operator has not noted it yet."""
        newest = self._newest
        return newest is not None and newest.notice.is_hard and self._noted != _announced(newest)

    def _send_all(self) -> None:
        failures = 0
        while not self._ended.is_set():
            self._pause(failures)
            self._changed.clear()
            self._hurried.clear()
            if self._ended.is_set():
                return
            try:
                answer = self._send_newest()
            except PushFailed as error:
                failures += 1
                _LOG.warning("report not taken: %s", error)
                continue
            failures = 0
            if answer is not None:
                self._heard(answer)
            self._hurried.wait(self._least_pause_s)

    def _pause(self, failures: int) -> None:
        """Wait for what is to be told next; after a failure only for what cannot wait, or the next try."""
        pause_s = paused_s(failures, jitter=self._jitter()) if failures else self._heartbeat_s
        if self._is_urgent():
            pause_s = min(pause_s, self._notice_pause_s)
        (self._hurried if failures else self._changed).wait(pause_s)


def _announced(report: Report) -> tuple[NoticeKind, float | None]:
    return report.notice, report.notice_deadline


def paused_s(failures: int, *, jitter: float) -> float:
    """Return how long to wait after so many failures in a row: doubling, half of it left to chance."""
    longest = min(MOST_PAUSE_S, LEAST_PAUSE_S * 2.0 ** min(failures - 1, 10))
    return max(LEAST_PAUSE_S, longest * (0.5 + jitter / 2))

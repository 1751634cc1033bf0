"""A store whose calls wait for an answer, as long as some call gets one now and then."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from sweep_sidecar.store.protocol import Creation, Listed, Store, Unreachable

_Answer = TypeVar("_Answer")
_LOG = logging.getLogger(__name__)
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 15.0


class PatientStore:
    """Makes each call of `store` again until there is an answer: one that does not come must not cost a whole restore.

    It gives up, with the error of the call, once nothing was answered for `patience_s`, by this call or any other: a
    restore may take hours, and it is no reason to end it that it began long ago. Its calls may be made from any thread.

    Parameters
    ----------
    waiting:
        Called with the error of a call that will be made again, and with None once there is an answer after one.
    sleep:
        Waits so many seconds.
    """

    def __init__(
        self,
        store: Store,
        *,
        patience_s: float,
        waiting: Callable[[Unreachable | None], None] = lambda error: None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._patience_s = patience_s
        self._waiting = waiting
        self._monotonic = monotonic
        self._sleep = sleep
        self._answered_at = monotonic()
        self._is_waiting = False
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return self._store.url

    def create(self, key: str, data: bytes, *, deadline_s: float | None = None) -> Creation:
        return self._answer(lambda: self._store.create(key, data, deadline_s=deadline_s))

    def get(
        self, key: str, *, start: int | None = None, end: int | None = None, deadline_s: float | None = None
    ) -> bytes:
        return self._answer(lambda: self._store.get(key, start=start, end=end, deadline_s=deadline_s))

    def list(self, prefix: str, *, limit: int | None = None, deadline_s: float | None = None) -> list[Listed]:
        return self._answer(lambda: self._store.list(prefix, limit=limit, deadline_s=deadline_s))

    def delete(self, key: str, *, deadline_s: float | None = None) -> None:
        self._answer(lambda: self._store.delete(key, deadline_s=deadline_s))

    def _answer(self, call: Callable[[], _Answer]) -> _Answer:
        asked_at = self._monotonic()
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                answer = call()
            except Unreachable as error:
                if self._is_over(asked_at, pause_s, error):
                    raise
                _LOG.warning("the store does not answer, next try in %.0f s: %s", pause_s, error)
            except Exception:
                self._note_answer()  # that something is not there is an answer too
                raise
            else:
                self._note_answer()
                return answer
            self._sleep(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)

    def _is_over(self, asked_at: float, pause_s: float, error: Unreachable) -> bool:
        with self._lock:
            # What was answered before this call was made says nothing of how long this one has waited.
            since = max(asked_at, self._answered_at)
            if self._monotonic() + pause_s > since + self._patience_s:
                return True
            self._is_waiting = True
            self._waiting(error)
        return False

    def _note_answer(self) -> None:
        with self._lock:
            self._answered_at = self._monotonic()
            if self._is_waiting:
                self._is_waiting = False
                self._waiting(None)

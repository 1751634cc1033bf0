"""The store as the mirror calls it: each call counted, a sign of life, and cut short where the pod has to go."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from sweep_sidecar.mirror.vitals import Vitals
from sweep_sidecar.store import Creation, Listed, NotFound, Store, Unreachable

_Answer = TypeVar("_Answer")
_LOOK_UP_S = 0.25
"""How often it is seen whether the pod has to go, while a call is under way."""
_LATE_S = 0.5
"""A call whose own deadline has come ends by itself, with a better word for it."""


class WatchedStore:
    """Passes each call on to `store`."""

    def __init__(self, store: Store, vitals: Vitals, *, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._vitals = vitals
        self._monotonic = monotonic

    @property
    def url(self) -> str:
        return self._store.url

    def create(self, key: str, data: bytes, *, deadline_s: float | None = None) -> Creation:
        return self._call(
            "create",
            lambda: self._store.create(key, data, deadline_s=self._within(deadline_s)),
            outcome=str,
            size=lambda creation: len(data) if creation is Creation.CREATED else 0,
        )

    def get(
        self, key: str, *, start: int | None = None, end: int | None = None, deadline_s: float | None = None
    ) -> bytes:
        return self._call(
            "get", lambda: self._store.get(key, start=start, end=end, deadline_s=self._within(deadline_s))
        )

    def list(self, prefix: str, *, limit: int | None = None, deadline_s: float | None = None) -> list[Listed]:
        return self._call("list", lambda: self._store.list(prefix, limit=limit, deadline_s=self._within(deadline_s)))

    def delete(self, key: str, *, deadline_s: float | None = None) -> None:
        self._call("delete", lambda: self._store.delete(key, deadline_s=self._within(deadline_s)))

    def _within(self, deadline_s: float | None) -> float | None:
        call_s = self._vitals.grace.call_s
        return call_s if deadline_s is None or call_s is None else min(deadline_s, call_s)

    def _waited_for(self, call: Callable[[], _Answer], name: str) -> _Answer:
        """Return what `call` returns; one under way when the pod has to go is waited for no longer than a new one."""
        outcome: Future[_Answer] = Future()

        def carry_out() -> None:
            try:
                outcome.set_result(call())
            except BaseException as error:
                outcome.set_exception(error)

        # A thread of its own, which nobody waits for at the end: what was given up may hang for a minute.
        threading.Thread(target=carry_out, name="call", daemon=True).start()
        until: float | None = None
        while True:
            done, _ = wait([outcome], timeout=_LOOK_UP_S)
            if done:
                return outcome.result()
            call_s = self._vitals.grace.call_s
            if call_s is None:
                until = None
            elif until is None:
                until = self._monotonic() + call_s + _LATE_S
            elif self._monotonic() > until:
                raise Unreachable(f"a {name} in {self.url} has no answer, and the pod has to go")

    def _call(
        self,
        name: str,
        call: Callable[[], _Answer],
        *,
        outcome: Callable[[_Answer], str] = lambda answer: "ok",
        size: Callable[[_Answer], int] = lambda answer: 0,
    ) -> _Answer:
        vitals = self._vitals
        began = self._monotonic()
        said, stored = "refused", 0
        vitals.pulse.beat()
        try:
            answer = self._waited_for(call, name)
            said, stored = outcome(answer), size(answer)
            return answer
        except NotFound:
            said = "not_found"
            raise
        except Unreachable:
            said = "unreachable"
            vitals.grace.failed(self._monotonic() - began)
            raise
        finally:
            vitals.pulse.beat()
            vitals.metrics.note_call(name, said, seconds=self._monotonic() - began, size=stored)

"""The store as the mirror calls it: each call counted, a sign of life, and cut short where the pod has to go."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sweep_sidecar.mirror.vitals import Vitals
from sweep_sidecar.store import Creation, Listed, NotFound, Store, Unreachable

_Answer = TypeVar("_Answer")


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
            answer = call()
            said, stored = outcome(answer), size(answer)
            return answer
        except NotFound:
            said = "not_found"
            raise
        except Unreachable:
            said = "unreachable"
            vitals.grace.cut_off()
            raise
        finally:
            vitals.pulse.beat()
            vitals.metrics.note_call(name, said, seconds=self._monotonic() - began, size=stored)

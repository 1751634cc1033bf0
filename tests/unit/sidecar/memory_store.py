"""A store in memory whose calls can be made to fail, before or after they have had their effect."""

from __future__ import annotations

from collections.abc import Callable

from sweep_sidecar.store import Creation, Listed, NotFound, Unreachable


class MemoryStore:
    """Several of them may share their `objects` (and `created`), as several processes share a bucket.

    `fault` is asked before each call with its name and key. It returns None (all is well), "lost" (no effect),
    "unanswered" (the effect is there, the reply is not), or a function to call in between and then go on. `created` is
    when each object came by the store's `clock`; those that were put there by other ways came at 0.
    """

    def __init__(
        self,
        objects: dict[str, bytes] | None = None,
        *,
        created: dict[str, float] | None = None,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.objects = {} if objects is None else objects
        self.fault: Callable[[str, str], str | Callable[[], None] | None] = lambda call, key: None
        self.calls: list[tuple[str, str]] = []
        self.created = {} if created is None else created
        self.clock = clock

    @property
    def url(self) -> str:
        return "memory://run"

    def create(self, key: str, data: bytes, *, deadline_s: float | None = None) -> Creation:
        fault = self._asked("create", key)
        if key not in self.objects:
            self.created[key] = self.clock()
        outcome = Creation.CREATED if self.objects.setdefault(key, data) == data else Creation.EXISTS
        if fault == "unanswered":
            raise Unreachable(f"no reply to the create of {key}")
        return outcome

    def get(
        self, key: str, *, start: int | None = None, end: int | None = None, deadline_s: float | None = None
    ) -> bytes:
        self._asked("get", key)
        if key not in self.objects:
            raise NotFound(key)
        return self.objects[key][start:end]

    def list(self, prefix: str, *, limit: int | None = None, deadline_s: float | None = None) -> list[Listed]:
        self._asked("list", prefix)
        found = sorted(key for key in self.objects if key.startswith(prefix))
        return [Listed(key, len(self.objects[key]), modified=self.created.get(key, 0.0)) for key in found[:limit]]

    def delete(self, key: str, *, deadline_s: float | None = None) -> None:
        fault = self._asked("delete", key)
        self.objects.pop(key, None)
        if fault == "unanswered":
            raise Unreachable(f"no reply to the deletion of {key}")

    def _asked(self, call: str, key: str) -> str | None:
        self.calls.append((call, key))
        fault = self.fault(call, key)
        if callable(fault):
            fault()
            return None
        if fault == "lost":
            raise Unreachable(f"{call} of {key} did not get through")
        return fault


class GarblingStore(MemoryStore):
    """One whose `garbled` reads of a key, by number from 0, bring `garbage`."""

    def __init__(self, objects: dict[str, bytes], *, key: str, garbage: bytes, garbled: tuple[int, ...]) -> None:
        super().__init__(objects)
        self._key, self._garbage, self._garbled, self._reads = key, garbage, garbled, 0

    def get(
        self, key: str, *, start: int | None = None, end: int | None = None, deadline_s: float | None = None
    ) -> bytes:
        whole = super().get(key, start=start, end=end, deadline_s=deadline_s)
        if key != self._key:
            return whole
        self._reads += 1
        return self._garbage if self._reads - 1 in self._garbled else whole

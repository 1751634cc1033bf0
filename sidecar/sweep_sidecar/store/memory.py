"""The store in this process's memory: `memory://name`, for tests and trials."""

from __future__ import annotations

import threading
import time

from sweep_sidecar.store.protocol import Creation, Listed, NotFound

_LOCK = threading.Lock()
_PLACES: dict[str, dict[str, bytes]] = {}
_CREATED: dict[str, dict[str, float]] = {}


class MemoryStore:
    """Objects that all stores of the same name share, as long as the process lives."""

    def __init__(self, name: str) -> None:
        self._name = name
        with _LOCK:
            self._objects = _PLACES.setdefault(name, {})
            self._created = _CREATED.setdefault(name, {})

    @property
    def url(self) -> str:
        return f"memory://{self._name}"

    def create(self, key: str, data: bytes, *, deadline_s: float | None = None) -> Creation:
        del deadline_s  # nothing here waits
        with _LOCK:
            if key not in self._objects:
                self._objects[key] = bytes(data)
                self._created[key] = time.time()
            return Creation.CREATED if self._objects[key] == data else Creation.EXISTS

    def get(
        self, key: str, *, start: int | None = None, end: int | None = None, deadline_s: float | None = None
    ) -> bytes:
        del deadline_s
        with _LOCK:
            if key not in self._objects:
                raise NotFound(f"{self.url}/{key} does not exist")
            return self._objects[key][start:end]

    def list(self, prefix: str, *, limit: int | None = None, deadline_s: float | None = None) -> list[Listed]:
        del deadline_s
        with _LOCK:
            found = sorted(key for key in self._objects if key.startswith(prefix))
            return [Listed(key=key, size=len(self._objects[key]), modified=self._created[key]) for key in found[:limit]]

    def delete(self, key: str, *, deadline_s: float | None = None) -> None:
        del deadline_s
        with _LOCK:
            self._objects.pop(key, None)

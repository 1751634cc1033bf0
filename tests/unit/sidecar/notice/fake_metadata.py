"""A metadata server as a table: what it answers to which path."""

from __future__ import annotations

from collections.abc import Mapping

from sweep_sidecar.notice.metadata import NoReply, Reply


class FakeMetadata:
    """Answers from `says`, by method and path without its query; 404 where there is nothing, no reply for None."""

    def __init__(self) -> None:
        self.says: dict[str, Reply | None] = {}
        self.asked: list[tuple[str, Mapping[str, str], float]] = []

    def __call__(self, path: str, headers: Mapping[str, str], *, method: str = "GET", timeout_s: float = 2.0) -> Reply:
        self.asked.append((path, headers, timeout_s))
        reply = self.says.get(f"{method} {path.partition('?')[0]}", Reply(status=404))
        if reply is None:
            raise NoReply("it hangs")
        return reply


class Clock:
    """Unix seconds that pass when told to."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

"""The lines that a sweep adds to its log, with the provenance of this process in them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from resumable_sweep.contract.log_format import (
    COMPLETE,
    FAILED,
    FALLBACK,
    REOPENED,
    RESUMED,
    SKIPPED,
    checked_line,
    line_of,
)

_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Entries:
    """Makes the log's lines. Items go by their key's identity (`name`), times are Unix seconds."""

    def __init__(self, *, attempt: int | None, host: str, clock: Callable[[], float] = time.time) -> None:
        self._origin = {"attempt": attempt, "host": host}
        self._origin_json = _ENCODE(self._origin)[1:-1]
        self._clock = clock

    def started(self, name: str, at: float) -> bytes:
        """An item is handed out."""
        # The key comes last: so a reader of a million of these finds it without parsing.
        return checked_line(f'{{"kind":"started","at":{at!r},"key":{name}'.encode())

    def done(self, name: str, result: str, *, started: float | None, random_state: Any = None) -> bytes:
        """An item's result, given as JSON."""
        times = f'"started":{"null" if started is None else repr(started)},"ended":{self._clock()!r}'
        more = "" if random_state is None else f',"random_state":{_ENCODE(random_state)}'
        return checked_line(
            f'{{"kind":"done","key":{name},"result":{result},{self._origin_json},{times}{more}'.encode()
        )

    def failed(
        self, name: str, *, error: str, traceback: str, started: float | None, random_state: Any = None
    ) -> bytes:
        """A try of an item went wrong."""
        said = {"error": error, "traceback": traceback, **self._origin, "started": started, "ended": self._clock()}
        return self._of_item(FAILED, name, said, random_state)

    def skipped(self, name: str, why: str, *, random_state: Any = None) -> bytes:
        """The program will not do the item."""
        return self._of_item(SKIPPED, name, {"why": why, **self._origin, "at": self._clock()}, random_state)

    def complete(self, *, total: int, keys_sha256: str, skipped: int) -> bytes:
        """All of the shard's items are settled."""
        return line_of({"kind": COMPLETE, "total": total, "keys_sha256": keys_sha256, "skipped": skipped})

    def reopened(self) -> bytes:
        """There are items to do again, after a `complete`."""
        return line_of({"kind": REOPENED, **self._origin, "at": self._clock()})

    def resumed(self, replayed: int) -> bytes:
        """This process goes on with the log."""
        return line_of({"kind": RESUMED, **self._origin, "at": self._clock(), "replayed": replayed})

    def fallback(self, *, source: str, reason: str, kept_as: str | None, used: str) -> bytes:
        """Something damaged was set aside."""
        said = {"source": source, "reason": reason, "kept_as": kept_as, "used": used, "at": self._clock()}
        # Paths may hold bytes that are no UTF-8.
        return checked_line(_ENCODE({"kind": FALLBACK, **said})[:-1].encode("utf-8", "backslashreplace"))

    def _of_item(self, kind: str, name: str, said: dict[str, Any], random_state: Any) -> bytes:
        more = {} if random_state is None else {"random_state": random_state}
        text = _ENCODE({**said, **more})[1:-1]
        # Half of a surrogate pair, as an error's text may hold it, has no form in UTF-8.
        return checked_line(f'{{"kind":"{kind}","key":{name},{text}'.encode("utf-8", "backslashreplace"))

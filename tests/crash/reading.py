"""A reader of logs that knows nothing of the library's: what the harness judges by must not share its mistakes."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Reading:
    """What a log says: its whole `entries` in order, how many lines are `damaged`, whether the last one is `torn`."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    damaged: int = 0
    torn: bool = False

    @property
    def results(self) -> dict[str, Any]:
        """The results by key (as JSON); the last of a key wins."""
        return {named(entry["key"]): entry["result"] for entry in self.entries if entry["kind"] == "done"}

    @property
    def skipped(self) -> set[str]:
        """The keys whose last word is that they are skipped."""
        return self._last("skipped") - set(self.results)

    @property
    def failed(self) -> set[str]:
        """The keys that have ever failed."""
        return {named(entry["key"]) for entry in self.entries if entry["kind"] == "failed"}

    @property
    def gave_up(self) -> set[str]:
        """The keys whose last word is that they failed."""
        return self._last("failed") - set(self.results)

    @property
    def failures(self) -> Counter[str]:
        """How often each key has failed."""
        return Counter(named(entry["key"]) for entry in self.entries if entry["kind"] == "failed")

    @property
    def completion(self) -> dict[str, Any] | None:
        """The entry that calls the log complete, where it is the last one."""
        if self.entries and self.entries[-1]["kind"] == "complete" and not self.damaged:
            return self.entries[-1]
        return None

    def _last(self, kind: str) -> set[str]:
        last = {
            named(entry["key"]): entry["kind"]
            for entry in self.entries
            if entry["kind"] in ("done", "failed", "skipped", "started")
        }
        return {key for key, found in last.items() if found == kind}


def named(key: Any) -> str:
    """Return a key as text that keeps its type."""
    return json.dumps(key, sort_keys=True)


def reading_of(path: Path) -> Reading:
    """Read the log at `path`; one that is not there is an empty one."""
    found = Reading()
    if not path.exists():
        return found
    *lines, torn = path.read_bytes().split(b"\n")
    found.torn = bool(torn)
    for line in lines:
        entry = _entry(line, checked=bool(found.entries) and found.entries[0].get("schema_version", 1) >= 2)
        if entry is None:
            found.damaged += 1
        else:
            found.entries.append(entry)
    return found


def unsettled(reading: Reading, keys: Iterable[Any]) -> list[str]:
    """Return the keys that have neither a result nor were skipped."""
    settled = set(reading.results) | reading.skipped
    return [name for name in map(named, keys) if name not in settled]


def wrong_results(reading: Reading, expected: dict[str, Any]) -> list[str]:
    """Return what the log says of the expected items' results that is not so."""
    return [
        f"{key} is {json.dumps(result):.80}, not {json.dumps(expected[key]):.80}"
        for key, result in reading.results.items()
        if key in expected and json.dumps(result) != json.dumps(expected[key])
    ]


def lost(reading: Reading, told: Iterable[str]) -> list[str]:
    """Return which of the keys are not there, with whatever end."""
    there = set(reading.results) | reading.skipped | reading.failed
    return [key for key in told if key not in there]


def _entry(line: bytes, *, checked: bool) -> dict[str, Any] | None:
    body, comma, check = line.rpartition(b',"crc32":"')
    if comma and not (check[8:] == b'"}' and check[:8].lower() == b"%08x" % zlib.crc32(body)):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if not isinstance(entry, dict) or (checked and not comma):
        return None
    return {"kind": "unknown", **entry}

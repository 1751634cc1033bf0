"""Which items a checkpoint file records: the library's log, and the progress file of `mime-engine`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from resumable_sweep.contract.canonical import identity
from resumable_sweep.contract.log_format import (
    COMPLETE,
    DONE,
    FAILED,
    SKIPPED,
    STARTED,
    LogInvalid,
    entries_of,
    is_sweep_log,
)

LOG_SUFFIX = ".jsonl"
MIME_SUFFIX = ".progress.json"


@dataclass(frozen=True)
class Counted:
    """What a file records: keys by their identity, and the library's own word that they are all (None, "": not given).

    `keys` have a result, `skipped` are those that the program has decided not to do: both need nothing more. Only the
    last entry of a log can be the library's word.
    """

    keys: frozenset[str] = frozenset()
    total: int | None = None
    keys_sha256: str = ""
    skipped: frozenset[str] = frozenset()

    @property
    def settled(self) -> frozenset[str]:
        """The keys with which nothing is left to do."""
        return self.keys | self.skipped if self.skipped else self.keys


def counted_lines(data: bytes, before: Counted) -> Counted:
    """Return what a sweep's log records once the whole lines `data` are added to it.

    Raises
    ------
    LogInvalid
        Where a line is no entry.
    """
    keys = set()
    skipped = set(before.skipped)
    total, keys_sha256 = before.total, before.keys_sha256
    for entry in entries_of(data):
        try:
            if entry.get("kind") != COMPLETE:
                # It counts only as the last entry: whatever follows says that there was more to do after all.
                total, keys_sha256 = None, ""
            if entry.get("kind") == COMPLETE:
                total, keys_sha256 = int(entry["total"]), str(entry["keys_sha256"])
                continue
            if entry.get("kind") == DONE:
                keys.add(identity(entry["key"]))
            elif entry.get("kind") == SKIPPED:
                skipped.add(identity(entry["key"]))
            elif skipped and entry.get("kind") in (FAILED, STARTED):
                # The program has come back to it after all.
                skipped.discard(identity(entry["key"]))
        except (KeyError, TypeError, ValueError) as error:
            raise LogInvalid(f"an entry of kind {entry.get('kind')!r} lacks or garbles a field: {error!r}") from error
    every = before.keys | keys
    return Counted(every, total, keys_sha256, frozenset(skipped - every))


def settled_entries(entries: Iterable[dict[str, Any]]) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Return the entries that settle a key, by the key's identity: results, and what was skipped and has none.

    The last `done` of a key wins; of a key without one the last entry counts.
    """
    results: dict[str, dict[str, Any]] = {}
    skipped: dict[str, dict[str, Any]] = {}
    for entry in entries:
        kind = entry.get("kind")
        if kind == DONE:
            results[identity(entry["key"])] = entry
        elif kind == SKIPPED:
            skipped[identity(entry["key"])] = entry
        elif skipped and kind in (FAILED, STARTED):
            skipped.pop(identity(entry["key"]), None)
    return results, {name: entry for name, entry in skipped.items() if name not in results}


def counted_mime(data: bytes) -> Counted | None:
    """Return what a `mime-engine` progress file records, None where it is not one."""
    records = mime_records(data)
    return None if records is None else Counted(frozenset(records))


def mime_records(data: bytes) -> dict[str, dict[str, Any]] | None:
    """Return the records of a `mime-engine` progress file by the keys' identity, None where it is not one.

    Its form, `{"completed": [{"key", "result"}, ...]}`, is that of mime-engine's `mime.data.sweep_resume`.
    """
    try:
        completed = json.loads(data)["completed"]
        return {identity(record["key"]): dict(record) for record in completed}
    except (ValueError, KeyError, TypeError):
        return None


def starts_sweep_log(data: bytes) -> bool:
    """Return whether a file that starts with `data` is the library's log."""
    first, newline, _ = data.partition(b"\n")
    return bool(newline) and is_sweep_log(first)


def counting(files: Mapping[str, Counted | None], *, named: str) -> tuple[str, ...]:
    """Return the paths whose records count, in order: the named checkpoint where it can be counted, else all that can.

    A later file's record of a key wins over an earlier one's.
    """
    if files.get(named) is not None:
        return (named,)
    return tuple(sorted(path for path, counted in files.items() if counted is not None))

"""Which items a checkpoint file records: the library's log, and the progress file of `mime-engine`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resumable_sweep.contract.canonical import identity
from resumable_sweep.contract.log_format import COMPLETE, DONE, LogInvalid, entries_of, is_sweep_log

LOG_SUFFIX = ".jsonl"
MIME_SUFFIX = ".progress.json"


@dataclass(frozen=True)
class Counted:
    """What a file records: keys by their identity, and the library's own word that they are all (None, "": not given).

    Only the last entry of a log can be that word.
    """

    keys: frozenset[str] = frozenset()
    total: int | None = None
    keys_sha256: str = ""


def counted_lines(data: bytes, before: Counted) -> Counted:
    """Return what a sweep's log records once the whole lines `data` are added to it.

    Raises
    ------
    LogInvalid
        Where a line is no entry.
    """
    keys = set()
    total, keys_sha256 = before.total, before.keys_sha256
    for entry in entries_of(data):
        try:
            if entry.get("kind") != COMPLETE:
                # It counts only as the last entry: whatever follows says that there was more to do after all.
                total, keys_sha256 = None, ""
            if entry.get("kind") == COMPLETE:
                total, keys_sha256 = int(entry["total"]), str(entry["keys_sha256"])
                continue
            total, keys_sha256 = None, ""
            if entry.get("kind") == DONE:
                keys.add(identity(entry["key"]))
        except (KeyError, TypeError, ValueError) as error:
            raise LogInvalid(f"an entry of kind {entry.get('kind')!r} lacks or garbles a field: {error!r}") from error
    return Counted(before.keys | keys, total, keys_sha256)


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

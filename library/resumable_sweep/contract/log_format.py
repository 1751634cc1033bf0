"""Schema version 1 of the library's append-only log of results: JSON Lines, one entry a line.

Entries, by their `kind`:

`header`    first line: `schema_version`, `run_id` (null where none is known), `shard`, `shards`, `created` (Unix
            seconds)
`done`      an item's result: `key`, `result`, and provenance: `attempt` (null outside of a pod), `host`, `started`
            (Unix seconds; null where the item was not handed out by the library) and `ended`
`complete`  all of the shard's items are done: `total`, `keys_sha256`, both over the shard's items
`reopened`  there are items to do again, after a `complete`: `attempt`, `host`, `at` (Unix seconds)

The last `done` of a key wins. A `complete` counts only as the last entry. A torn last line is no entry. Kinds and
fields that a reader does not know are passed over; a `schema_version` above its own is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from resumable_sweep.contract.canonical import identity

SCHEMA_VERSION = 1
HEADER = "header"
DONE = "done"
COMPLETE = "complete"
REOPENED = "reopened"
_MEND = "remove that line, and its item runs again"


class LogInvalid(ValueError):
    """The log cannot be read; the message says where and what to do."""


def entries_of(data: bytes) -> Iterator[dict[str, Any]]:
    """Yield the entries of a log's bytes; what follows the last newline is torn and is no entry.

    Raises
    ------
    LogInvalid
        Where a whole line is not a JSON object, a `done` lacks its key or result, or the header names a newer schema.
    """
    body, newline, _torn = data.rpartition(b"\n")
    if not newline:
        return
    for number, line in enumerate(body.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise LogInvalid(f"line {number} is not JSON: {line[:80]!r}; {_MEND}") from error
        if not isinstance(entry, dict):
            raise LogInvalid(f"line {number} is not a JSON object: {line[:80]!r}; {_MEND}")
        _check(entry, number)
        yield entry


def _check(entry: dict[str, Any], number: int) -> None:
    if entry.get("kind") == HEADER:
        version = entry.get("schema_version")
        if type(version) is not int:
            raise LogInvalid(f"line {number} is a header whose schema_version is {version!r}, not a whole number")
        if version > SCHEMA_VERSION:
            raise LogInvalid(
                f"the log has schema version {version}, this reader knows {SCHEMA_VERSION} at most: "
                "install a newer resumable-sweep"
            )
    if entry.get("kind") == DONE:
        missing = [name for name in ("key", "result") if name not in entry]
        if missing:
            raise LogInvalid(f"line {number} is a result that lacks {' and '.join(missing)}; {_MEND}")


def is_sweep_log(first_line: bytes) -> bool:
    """Return whether a file that starts with `first_line` is such a log."""
    try:
        entry = json.loads(first_line)
    except ValueError:
        return False
    return isinstance(entry, dict) and entry.get("kind") == HEADER and "schema_version" in entry


def results_of(entries: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the winning `done` entry of each key, by the key's identity, in the order of first completion."""
    return {identity(entry["key"]): entry for entry in entries if entry.get("kind") == DONE}


def completion_of(entries: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the `complete` entry that ends the log, None where the log does not end in one."""
    return entries[-1] if entries and entries[-1].get("kind") == COMPLETE else None

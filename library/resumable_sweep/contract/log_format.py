"""Schema version 2 of the library's append-only log of results: JSON Lines, one entry a line.

Entries, by their `kind`; times are Unix seconds:

`header`    first line: `schema_version`, `run_id` (null where none is known), `shard`, `shards`, `created`, and what
            must not change unawares: `config_sha256`, `script_sha256`, `items_sha256`, `seed` (null where unknown).
            A later header says the same of all that follows it.
`started`   an item was handed out: `at`, `key`
`done`      an item's result: `key`, `result`, and provenance: `attempt` (null outside of a pod), `host`, `started`
            (null where the item was not handed out by the library) and `ended`
`failed`    an item's try that went wrong: `key`, `error`, `traceback`, and provenance as above
`skipped`   the program will not do this item: `key`, `why`, `attempt`, `host`, `at`
`complete`  all of the shard's items are done or skipped: `total`, `keys_sha256`, both over all of them, and how many of
            them are `skipped`
`reopened`  there are items to do again, after a `complete`: `attempt`, `host`, `at`
`resumed`   a process went on with the log: `attempt`, `host`, `at`, and how many results it `replayed`
`fallback`  something damaged was set aside: `source`, `reason`, `kept_as`, `used`, `at`

Every line ends in a field `crc32`, the CRC-32 (zlib) of the line's bytes before it, in eight hexadecimal digits. The
last `done` of a key wins, whatever else was said of the key; of a key without one the last entry counts. A `complete`
counts only as the last entry. A torn last line is no entry. Kinds and fields that a reader does not know are passed
over.

Version 1 had no `crc32`, and of the kinds `header`, `done`, `complete` and `reopened` only; it is still read. A newer
version is refused.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from resumable_sweep.contract.canonical import identity

SCHEMA_VERSION = 2
OLDEST_VERSION = 1
HEADER = "header"
STARTED = "started"
DONE = "done"
FAILED = "failed"
SKIPPED = "skipped"
COMPLETE = "complete"
REOPENED = "reopened"
RESUMED = "resumed"
FALLBACK = "fallback"
CRC_START = b',"crc32":"'
CRC_BYTES = len(CRC_START) + 8 + len(b'"}')
"""Length of the end of a line (without the newline) that holds the check."""

_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_REQUIRED = {DONE: ("key", "result"), FAILED: ("key", "error"), SKIPPED: ("key", "why"), STARTED: ("key",)}
_MEND = "remove that line, and its item runs again"


class LogInvalid(ValueError):
    """The log cannot be read; the message says where and what to do."""


def line_of(entry: dict[str, Any]) -> bytes:
    """Return `entry` as a line of the log, with its check and newline.

    Raises
    ------
    TypeError, ValueError
        Where it holds what JSON or UTF-8 have no form for.
    """
    return checked_line(_ENCODE(entry)[:-1].encode())


def checked_line(body: bytes) -> bytes:
    """Return a line with its check and newline, given the JSON object's bytes without the brace that closes it."""
    return b'%s,"crc32":"%08x"}\n' % (body, zlib.crc32(body))


def has_check(line: bytes) -> bool:
    """Return whether a line (without its newline) ends in a check."""
    return line[-CRC_BYTES : -CRC_BYTES + len(CRC_START)] == CRC_START


def check_holds(line: bytes) -> bool:
    """Return whether the check at the end of `line` (without its newline) fits what is before it."""
    try:
        return int(line[-10:-2], 16) == zlib.crc32(memoryview(line)[:-CRC_BYTES]) and line[-2:] == b'"}'
    except ValueError:
        return False


def entry_of(line: bytes, number: int) -> dict[str, Any]:
    """Return the entry that line `number` (from 1) of a log holds; its check is tried where it has one.

    Raises
    ------
    LogInvalid
        Where it is damaged, lacks a field, or is the header of a newer schema.
    """
    if has_check(line) and not check_holds(line):
        raise LogInvalid(f"line {number} does not fit its checksum: {line[:80]!r}; {_MEND}")
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise LogInvalid(f"line {number} is not JSON: {line[:80]!r}; {_MEND}") from error
    if not isinstance(entry, dict):
        raise LogInvalid(f"line {number} is not a JSON object: {line[:80]!r}; {_MEND}")
    entry.pop("crc32", None)
    kind = entry.get("kind")
    if kind == HEADER:
        check_version(entry, f"line {number}")
    missing = [name for name in _REQUIRED.get(kind, ()) if name not in entry] if isinstance(kind, str) else []
    if missing:
        raise LogInvalid(f"line {number} is an entry of kind {kind} that lacks {' and '.join(missing)}; {_MEND}")
    return entry


def check_version(header: dict[str, Any], where: str) -> None:
    """Refuse a header of a schema that this reader does not know.

    Raises
    ------
    LogInvalid
    """
    version = header.get("schema_version")
    if type(version) is not int:
        raise LogInvalid(f"{where} is a header whose schema_version is {version!r}, not a whole number")
    if version > SCHEMA_VERSION:
        raise LogInvalid(
            f"the log has schema version {version}, this reader knows {SCHEMA_VERSION} at most: "
            "install a newer resumable-sweep"
        )
    if version < OLDEST_VERSION:
        raise LogInvalid(f"the log has schema version {version}, this reader knows {OLDEST_VERSION} at least")


def entries_of(data: bytes) -> Iterator[dict[str, Any]]:
    """Yield the entries of a log's bytes; what follows the last newline is torn and is no entry.

    Raises
    ------
    LogInvalid
        Where a whole line is damaged, an entry lacks a field, or the header names a newer schema.
    """
    body, newline, _torn = data.rpartition(b"\n")
    if not newline:
        return
    for number, line in enumerate(body.split(b"\n"), start=1):
        if line.strip():
            yield entry_of(line, number)


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

"""Reading a log once, from its start to its end, without holding more of it than a piece."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, compress, count
from operator import add
from typing import Any
from zlib import crc32

from resumable_sweep._common_lines import (
    DONE_START,
    RESULT,
    STARTED_START,
    bodies_of,
    done_among,
    key_of_done,
    key_of_started,
    keys_of_done,
    keys_of_started,
    kinds_of,
    runs_of,
)
from resumable_sweep._ledger import State
from resumable_sweep.contract.canonical import identity
from resumable_sweep.contract.log_format import (
    COMPLETE,
    CRC_BYTES,
    CRC_START,
    DONE,
    FAILED,
    FALLBACK,
    HEADER,
    RESUMED,
    SKIPPED,
    STARTED,
    LogInvalid,
    entry_of,
)

_PIECE_BYTES = 256 << 10
"""So much is read at once: as much as stays in a processor's cache while it is gone through several times."""
_FEW = 16
"""So few lines are taken in one by one."""
_SIDE_FILE = b'"$sweep.file"'
_DECODER = json.JSONDecoder()
_STATES = {DONE: State.DONE, FAILED: State.FAILED, SKIPPED: State.SKIPPED, STARTED: State.IN_PROGRESS}
_CHECKED_SINCE = 2
"""The schema version from which on a line without a checksum is a damaged one."""

Note = Callable[[State, list[str], Sequence[int], Sequence[int]], None]
"""Takes in what entries say of items: the state, the keys' identities, offsets and sizes (bytes) of the lines."""


@dataclass(frozen=True)
class Damage:
    """A line that cannot be trusted: its bytes are [`offset`, `end`) of the file, its newline among them."""

    offset: int
    end: int
    reason: str


@dataclass(kw_only=True)
class Scan:
    """What a log holds besides its items.

    `end` is where its last whole line ends (bytes), `size` where the file does: what is between is torn. `digest` is
    over the first `end` bytes. Of the `lines`, `checked` have a checksum that fits; those that should have none end at
    `unchecked_end` (bytes; 0 where there is none).
    """

    end: int = 0
    size: int = 0
    lines: int = 0
    checked: int = 0
    unchecked_end: int = 0
    header: dict[str, Any] = field(default_factory=dict)
    completion: dict[str, Any] | None = None
    damaged: list[Damage] = field(default_factory=list)
    with_files: list[tuple[str, int, int]] = field(default_factory=list)
    """Entries that name files beside the log, results and others: the key's identity, offset and size of the line."""
    resumes: int = 0
    fall_backs: int = 0
    first_bytes: bytes = b""
    """How a file without a whole line begins."""
    digest: Any = field(default_factory=hashlib.sha256)

    @property
    def is_log(self) -> bool | None:
        """Whether this is a log at all, None for a file without a whole line.

        A line that fits its checksum can only be one of ours: then it is the header alone that is lost.
        """
        if not self.lines:
            return None
        return bool(self.header) or bool(self.damaged and self.checked)

    @property
    def version(self) -> int:
        """Schema version of the lines that come next, 0 where there is no header yet."""
        return int(self.header.get("schema_version", 0))


def scan(file: int, note: Note, into: Scan | None = None) -> Scan:
    """Read the log behind the descriptor `file`, from where `into` ends on, and tell `note` of the entries of items.

    Damaged lines are listed, not raised: what the others say holds all the same.

    Raises
    ------
    LogInvalid
        Where a whole header names a schema version that is not known here.
    """
    found = into if into is not None else Scan()
    offset = position = found.end
    rest = b""
    # A line of many pieces must not be put together anew with each.
    while piece := os.pread(file, max(_PIECE_BYTES, len(rest)), offset):
        offset += len(piece)
        data = rest + piece if rest else piece
        lines = data.split(b"\n")
        rest = lines.pop()
        size = len(data) - len(rest)
        found.digest.update(memoryview(data)[:size])
        _take_piece(lines, position, found, note, has_files=_SIDE_FILE in data)
        position += size
    found.end = position
    found.size = offset
    if not found.lines:
        found.first_bytes = rest[:200]
    return found


def _take_piece(lines: list[bytes], start: int, found: Scan, note: Note, *, has_files: bool) -> None:
    starts = list(map(add, accumulate(map(len, lines), initial=start), count()))
    bodies = bodies_of(lines)
    if bodies is None:
        for line, at in zip(lines, starts, strict=False):
            _take(line, at, found, note)
        return
    kinds = kinds_of(lines)
    for first, end in runs_of(kinds):
        run = slice(first, end)
        if end - first < _FEW or not _take_run(
            bodies[run], kinds[run], starts[first : end + 1], found, note, has_files=has_files
        ):
            for line, at in zip(lines[run], starts[run], strict=True):
                _take(line, at, found, note)
        if end < len(lines):
            _take(lines[end], starts[end], found, note)


def _take_run(
    bodies: list[bytes], kinds: bytes, starts: list[int], found: Scan, note: Note, *, has_files: bool
) -> bool:
    """Take in lines that seem to be of the two common kinds; return False, having done nothing, where they are not."""
    is_done = done_among(kinds)
    done = list(compress(bodies, is_done))
    ended, begun = keys_of_done(done), keys_of_started(bodies, kinds)
    if ended is None or begun is None:
        return False
    gone = set(ended)
    # A result stands whatever else was said of its key, so that only what has none yet need be told.
    left = [key.decode() for key in begun if key not in gone]
    names = b"\n".join(ended).decode().split("\n") if ended else []
    offsets = list(compress(starts, is_done))
    sizes = [len(body) + CRC_BYTES for body in done]
    note(State.IN_PROGRESS, left, [-1] * len(left), [0] * len(left))
    note(State.DONE, names, offsets, sizes)
    if has_files:
        found.with_files += [
            (name, offset, size)
            for name, offset, size, body in zip(names, offsets, sizes, done, strict=True)
            if _SIDE_FILE in body
        ]
    found.lines += len(bodies)
    found.checked += len(bodies)
    if bodies:
        found.completion = None
    return True


def _take(line: bytes, start: int, found: Scan, note: Note) -> None:
    if line[-CRC_BYTES:-10] == CRC_START and (body := line[:-CRC_BYTES]) and _fits(line, body):
        name = _name_in(body)
        if name is not None:
            state = State.DONE if body.startswith(DONE_START) else State.IN_PROGRESS
            note(state, [name], [start], [len(line)])
            if state is State.DONE and _SIDE_FILE in body:
                found.with_files.append((name, start, len(line)))
            found.completion = None
            found.lines += 1
            found.checked += 1
            return
    _take_entry(line, start, found, note)


def _name_in(body: bytes) -> str | None:
    """Return the identity of the key in an entry of the two common kinds, None where it has to be looked at closer."""
    try:
        if body.startswith(DONE_START):
            key, end = key_of_done(body)
            if not key:
                # As it is written by others, or a list or mapping: only its reader knows where it ends.
                value, end = _value_at(body, len(DONE_START))
                return identity(value) if body.startswith(RESULT, end) else None
            return key.decode() if body.startswith(RESULT, end) else None
        if body.startswith(STARTED_START):
            return key_of_started(body).decode() or None
    except ValueError:  # no UTF-8, or no JSON
        return None
    return None


def _value_at(body: bytes, start: int) -> tuple[Any, int]:
    text = body[start:].decode()
    value, end = _DECODER.raw_decode(text)
    return value, start + len(text[:end].encode())


def _fits(line: bytes, body: bytes) -> bool:
    try:
        return int(line[-10:-2], 16) == crc32(body) and line[-2:] == b'"}'
    except ValueError:
        return False


def _take_entry(line: bytes, start: int, found: Scan, note: Note) -> None:
    if not line.strip():
        return
    found.lines += 1
    end = start + len(line) + 1
    try:
        entry = entry_of(line, found.lines)
    except LogInvalid as error:
        if _is_unknown_version(line):
            raise
        found.damaged.append(Damage(start, end, str(error)))
        return
    kind = entry.get("kind")
    checked = line[-CRC_BYTES:-10] == CRC_START
    found.checked += checked
    if not checked and found.version >= _CHECKED_SINCE:
        found.damaged.append(Damage(start, end, f"line {found.lines} has lost its checksum: {line[:80]!r}"))
        return
    if not checked:
        found.unchecked_end = end
    found.completion = entry if kind == COMPLETE else None
    if kind == HEADER:
        found.header = {**found.header, **entry}
    elif kind == RESUMED:
        found.resumes += 1
    elif kind == FALLBACK:
        found.fall_backs += 1
    elif isinstance(kind, str) and kind in _STATES:
        name = identity(entry["key"])
        note(_STATES[kind], [name], [start], [len(line)])
        if kind != STARTED and _SIDE_FILE in line:
            found.with_files.append((name, start, len(line)))


def _is_unknown_version(line: bytes) -> bool:
    """Return whether `line` is a whole header whose only fault is its version."""
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    if not isinstance(entry, dict) or entry.get("kind") != HEADER or type(entry.get("schema_version")) is not int:
        return False
    if line[-CRC_BYTES:-10] == CRC_START:
        return _fits(line, line[:-CRC_BYTES])
    # Without a checksum a version 1 may have been flipped into another: the versions of old are 1 only.
    return True

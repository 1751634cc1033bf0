"""Append-only files of lines: only what was added is read and sent, cut at the last newline."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from resumable_sweep.contract.log_format import LogInvalid
from sweep_sidecar.capture.pieces import PieceChanged, with_piece
from sweep_sidecar.capture.steady import Fingerprint, Unsteady, fingerprint_of
from sweep_sidecar.content import BLOB_BYTES
from sweep_sidecar.log.generation import FileVersion, Segment
from sweep_sidecar.progress import Counted, Progress, counted_lines, counted_start

if TYPE_CHECKING:
    from hashlib import _Hash

WINDOW_BYTES = 64 << 10
"""How much before the old end must be unchanged for a longer file to count as the old one with lines added."""
REREAD_AFTER_S = 600.0
"""How long the last 64 KiB are trusted before a log that has grown is read in full again."""


@dataclass(frozen=True, kw_only=True)
class GrowingFile:
    """A log as it was captured: its whole lines, and what is needed to recognise it when it has grown."""

    version: FileVersion
    inode: int
    window_sha256: str
    running: _Hash
    """SHA-256 of the captured bytes, ready to go on."""
    counted: Counted | None
    """None where its lines are no records."""
    fingerprint: Fingerprint | None
    """Of the whole file, with the torn line at its end; None where the file has to be read again."""
    read_whole_at_s: float
    """When all of it was read, on a monotonic clock."""


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How logs are captured.

    Parameters
    ----------
    progress:
        In which format records are counted.
    is_settled:
        Whether an unchanged fingerprint will mean an unchanged file.
    now_s:
        Time on a monotonic clock.
    thorough:
        Read the old part too instead of trusting the last 64 KiB before its end.
    """

    store_piece: Callable[[bytes], Segment]
    is_settled: Callable[[Fingerprint], bool]
    now_s: float
    progress: Progress = "auto"
    thorough: bool = False


def capture_growing(file: BinaryIO, before: GrowingFile | None, growth: Growth) -> GrowingFile:
    """Return the log as it is now; `before` itself where nothing was added.

    Raises
    ------
    LogInvalid
        Where it is a log of records with a line that is no entry.
    Unsteady
        Where it was cut short or rewritten meanwhile.
    OSError, Unreachable
    """
    status = os.fstat(file.fileno())
    fingerprint = fingerprint_of(status)
    if before is not None and before.fingerprint == fingerprint and not growth.thorough:
        return before
    read_whole_at_s = before.read_whole_at_s if before else growth.now_s
    if before is not None:
        thorough = growth.thorough or growth.now_s - read_whole_at_s >= REREAD_AFTER_S
        read_whole_at_s = growth.now_s if thorough else read_whole_at_s
        if not _continues(file, status, before, thorough=thorough):
            before = None
    start = before.version.size if before else 0
    try:
        return _captured(file, status, before, growth, start=start, read_whole_at_s=read_whole_at_s)
    except PieceChanged:
        # What was captured is not there any more, further back than anybody looks: it is another file.
        return _captured(file, status, None, growth, start=0, read_whole_at_s=growth.now_s)


def _captured(
    file: BinaryIO,
    status: os.stat_result,
    before: GrowingFile | None,
    growth: Growth,
    *,
    start: int,
    read_whole_at_s: float,
) -> GrowingFile:
    running = before.running.copy() if before else hashlib.sha256()
    added = hashlib.sha256()
    # Where nothing but an empty file was seen so far, nobody has told yet what its lines are.
    counter = _LineCounter(before.counted if before else None, progress=None if start else growth.progress)
    segments = before.version.segments if before else ()
    end = _last_line_end(file, start, status.st_size)
    place = start
    for chunk in _chunks(file, start, end):
        running.update(chunk)
        added.update(chunk)
        place += len(chunk)
        try:
            counter.feed(chunk)
        except LogInvalid as error:
            if _digest(file, start, place) != added.hexdigest():
                raise Unsteady from error
            raise
        segments = with_piece(segments, chunk, file=file, store_piece=growth.store_piece)
    fingerprint = fingerprint_of(status)
    if fingerprint_of(os.fstat(file.fileno())) != fingerprint or not growth.is_settled(fingerprint):
        # Somebody was writing: to the end, or over what was read? What is still there was there all the time.
        is_there = _digest(file, start, end) == added.hexdigest()
        if not is_there or (before is not None and _window(file, start) != before.window_sha256):
            raise Unsteady
    version = FileVersion(
        size=end, sha256=running.hexdigest(), mode=stat.S_IMODE(status.st_mode) & 0o777, segments=segments
    )
    return GrowingFile(
        version=version,
        inode=status.st_ino,
        window_sha256=_window(file, end),
        running=running,
        counted=counter.counted,
        fingerprint=fingerprint if growth.is_settled(fingerprint) else None,
        read_whole_at_s=read_whole_at_s,
    )


def adopted_growing(
    file: BinaryIO, version: FileVersion, *, progress: Progress = "auto", now_s: float
) -> GrowingFile | None:
    """Return a file of which `version` was captured by an earlier process, None where it does not begin like that.

    Raises
    ------
    LogInvalid, Unsteady, OSError
    """
    status = os.fstat(file.fileno())
    if status.st_size < version.size:
        return None
    running = hashlib.sha256()
    for chunk in _chunks(file, 0, version.size):
        running.update(chunk)
    if running.hexdigest() != version.sha256:
        return None
    counter = _LineCounter(None, progress=progress)
    for chunk in _chunks(file, 0, version.size):
        counter.feed(chunk)
    return GrowingFile(
        version=version,
        inode=status.st_ino,
        window_sha256=_window(file, version.size),
        running=running,
        counted=counter.counted,
        fingerprint=None,
        read_whole_at_s=now_s,
    )


class _LineCounter:
    """Counts a log's records from chunks that cut lines anywhere.

    The first chunk tells whether they are records in the format `progress`; None where that is known already.
    """

    def __init__(self, counted: Counted | None, *, progress: Progress | None) -> None:
        self.counted = counted
        self._progress = progress
        self._cut_line = b""

    def feed(self, chunk: bytes) -> None:
        """Count the lines that end in `chunk`.

        Raises
        ------
        LogInvalid
        """
        if self._progress is not None:
            self.counted = counted_start(chunk, self._progress)
        self._progress = None
        if self.counted is None:
            return
        lines, newline, rest = chunk.rpartition(b"\n")
        if newline:
            self.counted = counted_lines(self._cut_line + lines + newline, self.counted)
            self._cut_line = rest
        else:
            self._cut_line += chunk


def _continues(file: BinaryIO, status: os.stat_result, before: GrowingFile, *, thorough: bool) -> bool:
    size = before.version.size
    if status.st_ino != before.inode or status.st_size < size:
        return False
    if not thorough:
        return _window(file, size) == before.window_sha256
    return _digest(file, 0, size) == before.version.sha256


def _digest(file: BinaryIO, start: int, end: int) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(file, start, end):
        digest.update(chunk)
    return digest.hexdigest()


def _window(file: BinaryIO, end: int) -> str:
    start = max(0, end - WINDOW_BYTES)
    file.seek(start)
    return hashlib.sha256(file.read(end - start)).hexdigest()


def _last_line_end(file: BinaryIO, start: int, size: int) -> int:
    """Return where the last whole line before `size` ends; `start` where none has ended since."""
    end = size
    while end > start:
        low = max(start, end - WINDOW_BYTES)
        file.seek(low)
        newline = file.read(end - low).rfind(b"\n")
        if newline >= 0:
            return low + newline + 1
        end = low
    return start


def _chunks(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        file.seek(start)
        chunk = file.read(min(BLOB_BYTES, end - start))
        if not chunk:
            raise Unsteady
        yield chunk
        start += len(chunk)

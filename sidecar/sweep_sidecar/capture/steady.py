"""Files that are copied whole, and only if nobody wrote to them meanwhile."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sweep_sidecar.content import BLOB_BYTES
from sweep_sidecar.log.generation import FileVersion, Segment

INLINE_BYTES = 64 << 10
"""Most bytes that travel in a generation's own entry: one write to the store is then the whole generation."""
_TICK_NS = 50_000_000
"""A file changed more recently than this may change again without its time stamp moving (ticks of the kernel's clock
are 1 to 10 ms; network file systems are coarser)."""

Fingerprint = tuple[int, int, int, int]


class Unsteady(Exception):
    """The file changed while it was read: it is taken at the next look."""


def fingerprint_of(status: os.stat_result) -> Fingerprint:
    """Return what changes whenever a file does: inode, size, and the times of content and inode (nanoseconds)."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def settled(fingerprint: Fingerprint, *, now_ns: int) -> bool:
    """Return whether an unchanged fingerprint will mean an unchanged file."""
    return now_ns - fingerprint[2] > _TICK_NS


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A file that was read through once: whole digest, digests of its chunks (in order), permission bits."""

    fingerprint: Fingerprint
    sha256: str
    chunks: tuple[tuple[int, str], ...]
    mode: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.fingerprint[1]


def measure(path: Path) -> Measured:
    """Read a file through, in chunks of the blobs' size.

    Raises
    ------
    Unsteady
        Where it changed meanwhile.
    OSError
    """
    whole = hashlib.sha256()
    chunks = []
    with path.open("rb") as file:
        before = os.fstat(file.fileno())
        while chunk := file.read(BLOB_BYTES):
            whole.update(chunk)
            chunks.append((len(chunk), hashlib.sha256(chunk).hexdigest()))
        fingerprint = _unchanged(file, before, path)
    return Measured(
        fingerprint=fingerprint,
        sha256=whole.hexdigest(),
        chunks=tuple(chunks),
        mode=stat.S_IMODE(before.st_mode) & 0o777,
    )


def stored_version(
    path: Path, measured: Measured, *, previous: FileVersion | None, store_piece: Callable[[bytes], Segment]
) -> FileVersion:
    """Bring a measured file into the store and return it as a version; what `previous` has is not sent again.

    Raises
    ------
    Unsteady
        Where it is no longer what was measured.
    OSError, Unreachable
    """
    if previous is not None and (previous.size, previous.sha256) == (measured.size, measured.sha256):
        segments = previous.segments
    else:
        segments = tuple(_stored_chunks(path, measured, previous=previous, store_piece=store_piece))
    return FileVersion(size=measured.size, sha256=measured.sha256, mode=measured.mode, segments=segments)


def read_measured(path: Path, measured: Measured) -> bytes:
    """Return the bytes of a measured file.

    Raises
    ------
    Unsteady
        Where they are no longer what was measured.
    OSError
    """
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != measured.sha256:
        raise Unsteady(str(path))
    return data


def _stored_chunks(
    path: Path, measured: Measured, *, previous: FileVersion | None, store_piece: Callable[[bytes], Segment]
) -> list[Segment]:
    there = {segment.sha256: segment for segment in (previous.segments if previous else ()) if segment.inline is None}
    segments = []
    with path.open("rb") as file:
        for size, sha256 in measured.chunks:
            if sha256 in there:
                segments.append(there[sha256])
                file.seek(size, os.SEEK_CUR)
                continue
            chunk = file.read(size)
            if hashlib.sha256(chunk).hexdigest() != sha256:
                raise Unsteady(str(path))
            segments.append(store_piece(chunk))
    return segments


def _unchanged(file: BinaryIO, before: os.stat_result, path: Path) -> Fingerprint:
    fingerprint = fingerprint_of(os.fstat(file.fileno()))
    if fingerprint != fingerprint_of(before):
        raise Unsteady(str(path))
    return fingerprint

"""Files that a program writes to in place, in a format that says or needs more than a steady time stamp."""

from __future__ import annotations

import fcntl
import os
import struct
from typing import BinaryIO

HEAD_BYTES = 16
REST_NS = 10_000_000_000
"""An HDF5 file of a version that cannot say whether it is open counts as closed once it was at rest for so long."""
_HDF5 = b"\x89HDF\r\n\x1a\n"
_HDF5_VERSION, _HDF5_FLAGS = 8, 11
_HDF5_SPEAKING = 3
_HDF5_OPEN = 0x01 | 0x04
"""Open for writing, and for one writer and many readers: bits of the byte "File Consistency Flags" that the library
keeps from version 3 of the superblock on ("HDF5 File Format Specification", II.A)."""
_SQLITE = b"SQLite format 3\0"
_LOCK_BYTES = (0x40000000, 512)
"""Where SQLite's locks lie: pending, reserved, and shared ("File Locking And Concurrency In SQLite Version 3")."""
_FLOCK = "hhqqi4x"


class InUse(Exception):
    """The file cannot be copied while its writer has it open; the message says so, and the mend."""


def is_sqlite(head: bytes) -> bool:
    """Return whether a file that starts with `head` is an SQLite database."""
    return head == _SQLITE


def check_hdf5(head: bytes, status: os.stat_result, *, now_ns: int, at_rest: bool, path: str) -> None:
    """Raise InUse for an HDF5 file that is open for writing, or may be; do nothing for any other file.

    Parameters
    ----------
    at_rest:
        Nobody has it open any more.
    """
    if not head.startswith(_HDF5):
        return
    mend = "write to a temporary name and rename, with a manifest beside it, or close it between two writes"
    if len(head) > _HDF5_FLAGS and head[_HDF5_VERSION] >= _HDF5_SPEAKING:
        if head[_HDF5_FLAGS] & _HDF5_OPEN:
            raise InUse(f"{path} is an HDF5 file that is open for writing, or was not closed: {mend}")
        return
    since_ns = now_ns - max(status.st_mtime_ns, status.st_ctime_ns)
    if not at_rest and 0 <= since_ns < REST_NS:
        raise InUse(f"{path} is an HDF5 file that was written to {since_ns / 1e9:.0f} s ago and may be open: {mend}")


def check_sqlite_unlocked(file: BinaryIO, path: str) -> None:
    """Raise InUse where a connection is writing to a database, or has kept the right to.

    A question only: to take a lock would make the program's own next write fail.
    """
    start, length = _LOCK_BYTES
    asked = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, start, length, 0)
    kind = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))[0]
    if kind != fcntl.F_UNLCK:
        raise InUse(
            f"{path} is an SQLite database that a connection has locked for writing: end transactions soon, and do "
            "not use locking_mode=EXCLUSIVE"
        )

"""Locks between processes: one sweep writes a log, and its forked children append to it one at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PAUSE_S = 0.05
_OBJECT_STORES = ("gcsfuse", "s3fs", "rclone", "mountpoint-s3", "blobfuse", "goofys", "geesefs")
"""File systems over object storage: they upload the whole file at each flush, and know no locks between machines."""


class LogLocked(RuntimeError):
    """Another process (or another sweep of this one) is writing the log."""


def locked(path: Path, *, timeout_s: float) -> int:
    """Open the file `path`, made if need be, and lock it for this process; return its descriptor.

    The lock goes with the descriptor, and with its copies in forked children.

    Raises
    ------
    LogLocked
        Where somebody else holds it, for as long as `timeout_s` seconds.
    OSError
        Where the file system has no locks.
    """
    _check_file_system(path)
    until = time.monotonic() + timeout_s
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        is_mine = False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it before may have put another file in its place, whose lock this one is not.
            is_mine = _is_still(path, file)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise OSError(
                    error.errno, f"{error.strerror}: this file system has no locks, choose another", str(path)
                ) from error
            if time.monotonic() >= until:
                raise LogLocked(
                    f"{path} is being written by another process: wait for its end (lock_timeout=), or give this one "
                    "another checkpoint_path"
                ) from error
        finally:
            if not is_mine:
                os.close(file)
        if is_mine:
            return file
        time.sleep(_PAUSE_S)


class FileLock:
    """A lock for moments, held by one process at a time; the file `path` stays behind, empty."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._owner = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the lock, and hold it."""
        if self._file is None or self._owner != os.getpid():
            # A descriptor that came over a fork shares its lock with the parent: each process needs its own.
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self._owner = os.getpid()
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None and self._owner == os.getpid():
            os.close(self._file)
            self._file = None


def _is_still(path: Path, file: int) -> bool:
    mine = os.fstat(file)
    try:
        theirs = path.stat()
    except FileNotFoundError:
        return False
    return (mine.st_dev, mine.st_ino) == (theirs.st_dev, theirs.st_ino)


def _check_file_system(path: Path) -> None:
    kind = file_system_of(path.parent)
    if kind.removeprefix("fuse.") in _OBJECT_STORES:
        raise OSError(
            errno.ENOTSUP,
            f"this is object storage mounted as files ({kind}), which cannot append durably: write to a local disk and "
            "copy from there, or let a sidecar mirror it",
            str(path),
        )


def file_system_of(folder: Path) -> str:
    """Return the type of the file system that `folder` lies on, "" where nobody can tell (proc(5), mountinfo)."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        device = folder.stat().st_dev
    except OSError:
        return ""
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:
        fields, _, rest = line.partition(" - ")
        if fields.split()[2] == number:
            return rest.split()[0]
    return ""

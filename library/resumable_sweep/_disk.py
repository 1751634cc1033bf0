"""Every change that the library makes to files, so that there is one place where it is made durable.

Only functions of `os` change files here, never buffered file objects: what a crash can come between is then in plain
sight, and can be tried call by call.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_CHUNK_BYTES = 1 << 20
_durable: set[Path] = set()
"""Folders whose names this process knows to be on disk."""


def write_at(file: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data` at `offset` of the descriptor `file`, however many calls that takes."""
    written = os.pwrite(file, data, offset)
    view = memoryview(data)
    while written < len(view):
        written += os.pwrite(file, view[written:], offset + written)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an error of a call on a descriptor, which knows no name, name `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def replace_whole(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Make `path` a file that holds `data`: whoever looks, and whatever crash comes, sees the old one or the new.

    Raises
    ------
    OSError
        Where it could not be written; what was there before is there still.
    """
    temporary = temporary_path(path)
    try:
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        try:
            with naming(path):
                write_at(file, data, 0)
                os.fsync(file)
        finally:
            os.close(file)
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(path.parent)


def temporary_path(path: Path) -> Path:
    """Return where what will be `path` is written first: beside it, under a name that no mirror takes for a result.

    It carries the process's id, so that two processes never write the same one.
    """
    return path.with_name(f".{path.name}.tmp.{os.getpid()}")


def copy_aside(source: Path, target: Path) -> None:
    """Make `target` a durable copy of `source`, in pieces."""
    temporary = temporary_path(target)
    reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        writing = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            with naming(target):
                offset = 0
                while piece := os.pread(reading, _CHUNK_BYTES, offset):
                    write_at(writing, piece, offset)
                    offset += len(piece)
                os.fsync(writing)
        finally:
            os.close(writing)
        os.replace(temporary, target)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        os.close(reading)
    sync_folder(target.parent)


def corrupt_path(path: Path) -> Path:
    """Return the first free name `<path>.corrupt-N`, under which a damaged file is kept."""
    number = 1
    while os.path.lexists(found := path.with_name(f"{path.name}.corrupt-{number}")):
        number += 1
    return found


def make_folder(folder: Path) -> None:
    """Make `folder` and its parents, each one's name durable, or the files' own fsync would be in vain."""
    if not folder.is_dir():
        make_folder(folder.parent)
        with suppress(FileExistsError):
            os.mkdir(folder)
        sync_folder(folder.parent)
    elif folder not in _durable:
        # Who made it may have been killed before its name was on disk. Where the parent may not be read, it was made
        # by somebody else.
        with suppress(PermissionError):
            sync_folder(folder.parent)
    _durable.add(folder)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with naming(folder):
            os.fsync(file)
    except OSError as error:
        # Some network file systems have no fsync for directories: their names are durable as it is.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(file)

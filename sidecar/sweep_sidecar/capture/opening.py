"""Opening a file of the snapshot directory: that file and no other, whatever is renamed or linked meanwhile."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Without O_NONBLOCK, a pipe that has taken the place of a file would hold the mirror until somebody writes to it."""
_NOT_THAT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ESTALE})


class Gone(Exception):
    """The file is not there any more, or something else is in its place."""


class Unreadable(Exception):
    """The sidecar may not read a file or folder; the message says which, whose it is, and the mend."""

    def __init__(self, path: Path | str, error: Exception) -> None:
        super().__init__(
            f"cannot read {path} ({error}{_whose(path)}): set runAsUser in the pod template's securityContext, so that "
            "experiment and sidecar run under the same user"
        )


def opened(root: Path, path: str) -> BinaryIO:
    """Open a file by its path below `root`, following no link.

    A link on the way would be followed with the sidecar's rights: to its token, and from there into the store.

    Raises
    ------
    Gone, Unreadable
    """
    *folders, name = path.split("/")
    folder = -1
    try:
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for part in folders:
            below = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = below
        file = os.open(name, _FILE, dir_fd=folder)
    except OSError as error:
        if error.errno in _NOT_THAT:
            raise Gone(path) from error
        raise Unreadable(root / path, error) from error
    finally:
        if folder >= 0:
            os.close(folder)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise Gone(path)
    return os.fdopen(file, "rb")


def _whose(path: Path | str) -> str:
    with suppress(OSError, ValueError):
        status = os.lstat(path)
        mode = stat.S_IMODE(status.st_mode)
        return f"; mode {mode:04o}, owned by user {status.st_uid}, and the sidecar is user {os.geteuid()}"
    return ""

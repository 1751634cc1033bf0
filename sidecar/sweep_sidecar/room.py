"""Whether a checkpoint fits into the snapshot volume: found out before it is fetched, and told in numbers."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sweep_sidecar.log.generation import FileVersion

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class SnapshotVolumeTooSmall(Exception):
    """The checkpoint does not fit where the experiment is to find it; the message has both sizes and the mend."""


def check_room(folder: Path, files: Iterable[FileVersion]) -> None:
    """Return where the file system of `folder` has room for all `files`, whole blocks counted.

    Raises
    ------
    SnapshotVolumeTooSmall
    """
    system = os.statvfs(folder)
    if not system.f_blocks:
        return  # a file system that does not count, as some mounted over a network
    block = system.f_frsize
    needed = sum(-(-version.size // block) * block for version in files)
    free = system.f_bavail * block
    if needed > free:
        raise SnapshotVolumeTooSmall(_said(folder, needed=needed, free=free))


@contextmanager
def running_out_told(folder: Path, files: Iterable[FileVersion]) -> Iterator[None]:
    """Turn a write that found the disk full, because others have filled it meanwhile, into `SnapshotVolumeTooSmall`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        system = os.statvfs(folder)
        needed = sum(version.size for version in files)
        free = system.f_bavail * system.f_frsize
        raise SnapshotVolumeTooSmall(_said(folder, needed=needed, free=free)) from error


def _said(folder: Path, *, needed: int, free: int) -> str:
    return (
        f"the checkpoint needs {needed} bytes in {folder}, where {free} are free: ask for that much ephemeral-storage "
        "in the pod template (resources.requests and limits), so that the pod gets a node with room for it"
    )

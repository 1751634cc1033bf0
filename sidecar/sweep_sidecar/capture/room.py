"""How much room the snapshot volume has left."""

from __future__ import annotations

import os
from pathlib import Path

_PART = 0.05
_BYTES = 64 << 20
_SMALL_PART = 0.2
"""A volume so small that 64 MiB are much of it is nearly full only below this part."""


def nearly_full(root: Path) -> str | None:
    """Return a sentence on the file system below `root` where it is nearly full, else None.

    What the limit of an emptyDir leaves is not seen by this: the kubelet counts, the file system does not.
    """
    try:
        room = os.statvfs(root)
    except OSError:
        return None  # the look itself says what is wrong with the directory
    size, free = room.f_blocks * room.f_frsize, room.f_bavail * room.f_frsize
    if free >= max(size * _PART, min(_BYTES, size * _SMALL_PART)):
        return None
    return (
        f"{root} has {free / (1 << 20):.0f} MiB free of {size / (1 << 20):.0f} MiB: give the volume a larger "
        "sizeLimit, or let the experiment keep fewer files"
    )

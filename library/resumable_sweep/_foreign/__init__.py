"""Checkpoints of other packages, read as entries of this library's log: mime-engine's and gmat-sweep's.

They are known by what they hold, not by their names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resumable_sweep._foreign.gmat_manifest import gmat_damage, gmat_entries
from resumable_sweep._foreign.mime_progress import (
    is_mime_progress,
    is_said_to_be_mime_progress,
    mime_damage,
    mime_entries,
)
from resumable_sweep.contract.gmat_manifest import is_gmat_header

_HEAD_BYTES = 1 << 20
"""Longest first line that is looked at."""


def foreign_entries(path: Path) -> Iterator[dict[str, Any]] | None:
    """Return what the foreign checkpoint at `path` records as entries of kind done, failed and skipped; else None.

    What those packages do not say (attempt, host, often times) is null. A damaged line of gmat-sweep's is passed over.

    Raises
    ------
    LogInvalid
        Where it is of a newer schema or, while it is iterated, where a progress file of mime-engine's is damaged.
    """
    if is_mime(path):
        return mime_entries(path)
    return gmat_entries(path) if is_gmat_header(head_of(path)) else None


def foreign_damage(path: Path) -> str | None:
    """Return why not all of the checkpoint at `path` can be read, None where all can or where it is no foreign one."""
    if is_mime(path):
        return mime_damage(path)
    return gmat_damage(path) if is_gmat_header(head_of(path)) else None


def is_mime(path: Path) -> bool:
    """Return whether the file at `path` is a progress file of mime-engine, or its manifest says that it was one."""
    return is_mime_progress(head_of(path)) or is_said_to_be_mime_progress(path)


def head_of(path: Path) -> bytes:
    """Return the first line of the file at `path`, of an indented JSON object the first two."""
    with path.open("rb") as file:
        line = file.readline(_HEAD_BYTES)
        return line if line.strip() != b"{" else line + file.readline(_HEAD_BYTES)

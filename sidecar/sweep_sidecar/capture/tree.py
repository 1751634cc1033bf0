"""Which files of a snapshot directory are mirrored, and in which order they are looked at."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from resumable_sweep.contract.environment import PRIVATE_FOLDER
from resumable_sweep.contract.manifest import SUFFIX
from sweep_sidecar.progress import LOG_SUFFIX, MIME_SUFFIX

_TEMPORARY = re.compile(r"\.tmp$|\.lock$|^\..*tmp|^\..+\.[A-Za-z0-9_]{6,8}$")
"""Names of files on their way to another name: `x.tmp`, `.tmpa1b2`, `.x.tmp.3`, and `.x.Ab12Cd` as rsync has it."""


class Unreadable(Exception):
    """The sidecar may not read a file or folder; the message says which, and the mend."""

    def __init__(self, path: Path | str, error: Exception) -> None:
        super().__init__(
            f"cannot read {path} ({error}): set runAsUser in the pod template's securityContext, so that experiment "
            "and sidecar run under the same user"
        )


@dataclass(frozen=True)
class Group:
    """Files that are taken together or not at all: a lone file, or a checkpoint with its `manifest`."""

    path: str
    manifest: str | None = None

    @property
    def is_log(self) -> bool:
        """Whether it is an append-only file of lines."""
        return self.path.endswith(LOG_SUFFIX)


def is_mirrored(path: str) -> bool:
    """Return whether a file, by its path in the snapshot directory, belongs to the experiment's checkpoint."""
    parts = path.split("/")
    return parts[0] != PRIVATE_FOLDER and not _TEMPORARY.search(parts[-1])


def files_in(root: Path) -> list[str]:
    """Return the paths of the mirrored files below `root`; symbolic links and special files are none.

    Raises
    ------
    Unreadable
        Where a folder cannot be listed, or a name is not UTF-8.
    """
    found: list[str] = []
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Unreadable(folder, error) from error
        for entry in entries:
            path = Path(entry.path).relative_to(root).as_posix()
            if not is_mirrored(path):
                continue
            try:
                path.encode()
            except UnicodeEncodeError as error:
                raise Unreadable(repr(path), error) from error
            if entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                found.append(path)
    return sorted(found)


def groups_of(paths: Iterable[str]) -> list[Group]:
    """Return the files in groups, in the order in which they have to be looked at.

    A log's manifest comes before its log: it speaks of what the log held when it was written, and a log only grows.
    Logs come before other files: a line may speak of a file that was written before it, so that file is there too.
    """
    names = set(paths)
    groups: list[tuple[int, Group]] = []
    for path in names:
        base = path.removesuffix(SUFFIX)
        if base != path and base in names:
            if base.endswith(LOG_SUFFIX):
                groups.append((0, Group(path)))
            continue
        if path.endswith(LOG_SUFFIX):
            groups.append((1, Group(path)))
        elif path + SUFFIX in names:
            groups.append((2, Group(path, path + SUFFIX)))
        elif path.endswith(MIME_SUFFIX):
            # Never without its manifest: this is the moment between the two.
            groups.append((2, Group(path, path + SUFFIX)))
        else:
            groups.append((2, Group(path)))
    return [group for _, group in sorted(groups, key=lambda entry: (entry[0], entry[1].path))]

"""Which files are taken together or not at all, and in which order they are looked at."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from resumable_sweep.contract.manifest import SUFFIX
from sweep_sidecar.capture.folders import CheckpointFolder, checkpoint_folders, folder_of
from sweep_sidecar.capture.tree import Tree
from sweep_sidecar.progress import MIME_SUFFIX

COMPANIONS = ("-journal", "-wal", "-shm")
"""What SQLite keeps beside a database, by the endings of the names."""


class Kind(IntEnum):
    """What a group is, in the order in which groups are looked at.

    A log's manifest comes before its log: it speaks of what the log held when it was written, and a log only grows.
    What records comes before all else: a record may speak of a file that was written before it, so that file is there
    too.
    """

    LOG_MANIFEST = 0
    LOG = 1
    PAIR = 2
    FOLDER = 3
    DATABASE = 4
    ALONE = 5


RECORDING = frozenset({Kind.LOG_MANIFEST, Kind.LOG, Kind.PAIR})


@dataclass(frozen=True)
class Group:
    """Files that are taken together or not at all; `path` is that of the folder where it is one."""

    kind: Kind
    path: str
    members: tuple[str, ...] = ()
    folder: CheckpointFolder = field(default=CheckpointFolder(path=""), compare=False)

    @property
    def is_recording(self) -> bool:
        """Whether it may record what other files hold."""
        return self.kind in RECORDING


def groups_of(
    tree: Tree,
    *,
    is_log: Callable[[str], bool],
    commit: Sequence[str] = (),
    known: Collection[str] = (),
    vouched: Collection[str] = (),
    lists: Callable[[str], bool],
) -> list[Group]:
    """Return the files of a directory in groups, in order.

    Parameters
    ----------
    is_log:
        Whether the file of a path only grows, by lines.
    commit:
        Patterns of the markers of folders that count as a whole.
    known:
        Folders that counted as a whole before.
    vouched:
        Files and folders that were taken with a manifest before. Where one is gone and its manifest is not, it is just
        being replaced.
    lists:
        Whether the file of a path is a manifest that lists what must be in a folder.
    """
    folders = checkpoint_folders(tree, commit, known=known, lists=lists)
    inside: dict[str, list[str]] = {path: [] for path in folders}
    names = set(tree.files)
    if folders:
        for path in tree.files:
            around = folder_of(path, folders)
            if around is not None:
                inside[around].append(path)
                names.discard(path)
    groups = []
    for path, folder in folders.items():
        manifest = [folder.manifest] if folder.manifest in names else []
        names.difference_update(manifest)
        if inside[path] or manifest:
            groups.append(Group(Kind.FOLDER, path, (*sorted(inside[path]), *manifest), folder))
    groups += [group for path in names if (group := _group(path, names, is_log, vouched, tree.awaited))]
    return sorted(groups, key=lambda group: (group.kind, group.path))


def _group(
    path: str,
    names: Collection[str],
    is_log: Callable[[str], bool],
    vouched: Collection[str],
    awaited: Collection[str],
) -> Group | None:
    """Return the group that a file leads, None where it belongs to another's."""
    base = path.removesuffix(SUFFIX)
    if base != path and base in names:
        return Group(Kind.LOG_MANIFEST, path, (path,)) if is_log(base) else None
    if base != path and base in vouched:
        return Group(Kind.PAIR, base, (base, path))
    if any(path.endswith(ending) and path.removesuffix(ending) in names for ending in COMPANIONS):
        return None
    if is_log(path):
        return Group(Kind.LOG, path, (path,))
    # Progress never counts without its manifest, nor does a checkpoint of which it waits: this is the moment between.
    if path + SUFFIX in names or path.endswith(MIME_SUFFIX) or path in awaited:
        return Group(Kind.PAIR, path, (path, path + SUFFIX))
    companions = tuple(path + ending for ending in COMPANIONS if path + ending in names)
    if companions:
        return Group(Kind.DATABASE, path, (path, *companions))
    return Group(Kind.ALONE, path, (path,))

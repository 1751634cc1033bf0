"""What is in a snapshot directory at a moment: files by path, folders, and what is left out."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from resumable_sweep.contract.environment import PRIVATE_FOLDER
from resumable_sweep.contract.manifest import awaited_name
from sweep_sidecar.capture.names import is_temporary
from sweep_sidecar.capture.opening import Unreadable
from sweep_sidecar.capture.steady import Fingerprint, fingerprint_of

_KINDS = {stat.S_IFSOCK: "a socket", stat.S_IFIFO: "a pipe", stat.S_IFBLK: "a device", stat.S_IFCHR: "a device"}

_LEADS_NOWHERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""By way of a file, say; or what the link holds was never meant for a path: some programs keep words in one."""


@dataclass(frozen=True)
class Tree:
    """One scan of the directory, or of a folder in it. All paths are relative to the snapshot directory.

    `files` are what belongs to the checkpoint, with their fingerprints; `links` say of those that are symbolic links
    which file they lead to; `folders` are all folders with their inode; `left_out` says of what is no file why;
    `awaited` are the checkpoints whose manifest is on its way, so that they do not count without it;
    `renewed_ns` are the times at which a file was last added to each folder, or removed from it.
    """

    files: dict[str, Fingerprint] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    folders: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    awaited: set[str] = field(default_factory=set)
    renewed_ns: dict[str, int] = field(default_factory=dict)

    def below(self, folder: str) -> Mapping[str, Fingerprint]:
        """Return the files below a folder."""
        start = f"{folder}/" if folder else ""
        return {path: found for path, found in self.files.items() if path.startswith(start)}


def tree_of(root: Path, folder: str = "") -> Tree:
    """Scan `folder` of the snapshot directory `root`.

    Raises
    ------
    Unreadable
        Where a folder cannot be listed, or a name is not UTF-8.
    """
    tree = Tree()
    folders = [folder]
    with suppress(FileNotFoundError, NotADirectoryError):
        tree.renewed_ns[folder] = (root / folder).stat().st_mtime_ns
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if not is_temporary(entry.name) and path != PRIVATE_FOLDER:
                        _note(tree, root, entry, path, folders)
                    elif name := awaited_name(entry.name):
                        tree.awaited.add(f"{folder}/{name}" if folder else name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise Unreadable(root / folder, error) from error
    return tree


def _note(tree: Tree, root: Path, entry: os.DirEntry[str], path: str, folders: list[str]) -> None:
    if not path.isascii():
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise Unreadable(repr(path), error) from error
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):
        tree.folders[path] = status.st_ino
        tree.renewed_ns[path] = status.st_mtime_ns
        folders.append(path)
    elif stat.S_ISREG(status.st_mode):
        tree.files[path] = fingerprint_of(status)
    elif stat.S_ISLNK(status.st_mode):
        _follow(tree, root, path)
    else:
        tree.left_out[path] = _KINDS.get(stat.S_IFMT(status.st_mode), "no file")


def _follow(tree: Tree, root: Path, path: str) -> None:
    """Take a link to a file of the same directory for a copy of that file; leave out all other links."""
    try:
        target = _inside(root, path, (root / path).readlink())
        if target is None or not _is_mirrored(target):
            tree.left_out[path] = "a link to what is not stored"
            return
        status = os.lstat(root / target)
    except OSError as error:
        if error.errno not in _LEADS_NOWHERE:
            raise Unreadable(root / path, error) from error
        tree.left_out[path] = "a link to nothing"
        return
    if stat.S_ISREG(status.st_mode):
        tree.links[path] = target
        tree.files[path] = fingerprint_of(status)
    else:
        tree.left_out[path] = "a link to no file"


def _inside(root: Path, path: str, target: Path) -> str | None:
    """Return where a link leads to, as a path in the snapshot directory; None: out of it, or by another link."""
    parts = list(PurePosixPath(path).parts[:-1])
    way = PurePosixPath(target)
    if way.is_absolute():
        if not way.is_relative_to(root):
            return None
        parts, way = [], way.relative_to(root)
    followed = False
    for part in way.parts:
        # What lies behind a link to a folder is not stored, and is never opened: the look would fail for ever.
        if followed and root.joinpath(*parts).is_symlink():
            return None
        followed = part != ".."
        if followed:
            parts.append(part)
        elif not parts:
            return None
        else:
            parts.pop()
    return "/".join(parts) or None


def _is_mirrored(path: str) -> bool:
    parts = path.split("/")
    return parts[0] != PRIVATE_FOLDER and not any(is_temporary(part) for part in parts)

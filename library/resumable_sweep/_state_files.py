"""A checkpoint of one state on disk: a file or a directory, its manifest, and the older ones that are kept.

The new pair is published so that a kill or a loss of power at any moment leaves one that verifies:

1. The data is written into a hidden folder beside its place and brought to disk.
2. The former pair is kept as `<name>.backup-<N>`, N growing. A file is linked. A directory cannot be: its manifest is
   linked now and it is renamed in step 4.
3. The new manifest is written under a hidden name, the pending one.
4. The data is renamed to its place. From here on it is vouched for by the pending manifest.
5. The pending manifest is renamed to its place.
6. Backups beyond those to keep are removed.

After each of 3, 4 and 5 the folder is synced: else a loss of power could undo a step and leave the one after it.
"""

# Files are changed through functions of `os` alone, as in _disk.py.
# ruff: noqa: PTH104, PTH105, PTH106, PTH108, PTH121, PTH208

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from resumable_sweep._disk import copy_aside, make_folder, replace_whole, sync_folder
from resumable_sweep._invalid import SettingsInvalid
from resumable_sweep.contract.manifest import (
    SUFFIX,
    FileOf,
    Manifest,
    manifest_path,
    parsed_manifest,
    pending_path,
    sha256_of_file,
    sha256_of_files,
)

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}
"""What file systems without hard links answer to `link` (link(2)); EACCES is what some network file systems say."""


class StateInvalid(SettingsInvalid):
    """What is to be saved cannot be; the message says why, and the mend."""


def backups_of(path: Path) -> list[Path]:
    """Return the older checkpoints that are kept of `path`, the newest first; also those that lack a part."""
    pattern = re.compile(re.escape(path.name) + r"\.backup-([1-9][0-9]*)(?:" + re.escape(SUFFIX) + ")?")
    numbers = {int(found[1]) for name in _names_in(path.parent) if (found := pattern.fullmatch(name))}
    return [path.with_name(f"{path.name}.backup-{number}") for number in sorted(numbers, reverse=True)]


def manifest_of(path: Path, extra: object) -> Manifest:
    """Return the manifest of what `path` holds.

    Raises
    ------
    StateInvalid
        Where a directory holds what is neither a file nor a directory.
    OSError
    """
    if not path.is_dir():
        sha256, size = sha256_of_file(path)
        return Manifest(sha256=sha256, size_bytes=size, extra=extra)
    files = tuple(
        sorted(FileOf(file.relative_to(path).as_posix(), *sha256_of_file(file)) for file in _files_below(path))
    )
    total = sum(file.size_bytes for file in files)
    return Manifest(sha256=sha256_of_files(files), size_bytes=total, extra=extra, files=files)


def fault_of(path: Path, manifest: Manifest) -> str | None:
    """Return what of `path` is not as `manifest` says, None where all is.

    Raises
    ------
    FileNotFoundError
        Where it is not there, or goes while it is looked at.
    OSError
    """
    is_directory = path.is_dir()
    if is_directory != (manifest.files is not None):
        return f"it is a {'directory' if is_directory else 'file'}, and its manifest that of the other"
    try:
        if manifest.files is None:
            size = path.stat().st_size
            if size != manifest.size_bytes:
                return f"it has {size} bytes, its manifest says {manifest.size_bytes}"
            found, _ = sha256_of_file(path)
            return None if found == manifest.sha256 else _differs(found, manifest.sha256)
        if sha256_of_files(manifest.files) != manifest.sha256:
            return "its manifest lists other files than it vouches for"
        return _fault_of_directory(path, manifest.files)
    except StateInvalid as error:
        return str(error)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return f"it cannot be read: {error}"


def publish(path: Path, made: Path, manifest: Manifest, *, keep: int) -> None:
    """Put `made` (of the same file system, and on disk) in the place of `path`; keep `keep` checkpoints in all.

    Raises
    ------
    OSError
        What was there before is there still, or is the newest of its backups.
    """
    moved = _keep_former(path, for_directory=made.is_dir(), keep=keep)
    replace_whole(pending_path(path), manifest.to_json().encode())
    if moved is not None:
        os.rename(path, moved)
    os.rename(made, path)
    sync_folder(path.parent)
    os.replace(pending_path(path), manifest_path(path))
    sync_folder(path.parent)
    kept = 0
    for backup in backups_of(path):
        if kept < keep - 1 and backup.exists() and manifest_path(backup).exists():
            kept += 1
        else:
            _remove_checkpoint(backup)


def finish_interrupted(path: Path) -> None:
    """Take the last step of a publication that was cut off before it, or forget one that was cut off earlier."""
    pending = pending_path(path)
    try:
        manifest = parsed_manifest(pending.read_bytes())
        whole = fault_of(path, manifest) is None
    except FileNotFoundError:
        whole = False
    except ValueError:
        whole = False
    if whole:
        os.replace(pending, manifest_path(path))
        sync_folder(path.parent)
    else:
        with suppress(FileNotFoundError):
            os.unlink(pending)


def set_aside(path: Path) -> Path:
    """Rename a damaged checkpoint and its manifest to the first free `<path>.corrupt-N`, and return that."""
    number = 1
    while True:
        target = path.with_name(f"{path.name}.corrupt-{number}")
        if not os.path.lexists(target) and not os.path.lexists(manifest_path(target)):
            break
        number += 1
    with suppress(FileNotFoundError):
        os.rename(path, target)
    # Else a loss of power could leave the damaged data without the manifest that says so.
    sync_folder(path.parent)
    with suppress(FileNotFoundError):
        os.rename(manifest_path(path), manifest_path(target))
    with suppress(FileNotFoundError):
        os.unlink(pending_path(path))
    sync_folder(path.parent)
    return target


def copy_tree(source: Path, target: Path) -> None:
    """Make `target` a copy of the file or directory `source`; a file of it is on disk when this returns.

    Raises
    ------
    StateInvalid
        Where a directory holds what is neither a file nor a directory.
    OSError
    """
    if not source.is_dir():
        copy_aside(source, target)
        return
    make_folder(target)
    for file in _files_below(source):
        copy = target / file.relative_to(source)
        make_folder(copy.parent)
        copy_aside(file, copy)


def sync_tree(path: Path) -> None:
    """Bring a file, or a directory and all that is in it, to disk, and its name too."""
    if path.is_dir():
        for file in _files_below(path):
            _sync_file(file)
        for folder in _folders_below(path):
            sync_folder(folder)
        sync_folder(path)
    else:
        _sync_file(path)
    sync_folder(path.parent)


def remove_tree(path: Path) -> None:
    """Remove a file, or a directory and all that is in it; nothing where it is not there."""
    try:
        is_folder = stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return
    if is_folder:
        for name in _names_in(path):
            remove_tree(path / name)
        os.rmdir(path)
    else:
        os.unlink(path)


def remove_leftovers(path: Path) -> None:
    """Remove what processes that are no more had begun to make for `path`: it can be as large as the checkpoint."""
    pattern = re.compile(
        rf"\.{re.escape(path.name)}(?:\.backup-[0-9]+)?(?:{re.escape(SUFFIX)})?\.tmp\.([0-9]+)"
        rf"|\.{re.escape(pending_path(path).name)}\.tmp\.([0-9]+)"
    )
    for name in _names_in(path.parent):
        found = pattern.fullmatch(name)
        if found and not _runs_elsewhere(int(found[1] or found[2])):
            remove_tree(path.with_name(name))


def _keep_former(path: Path, *, for_directory: bool, keep: int) -> Path | None:
    """Keep the pair at `path` as its newest backup; return where the data has still to be renamed to, if it has."""
    try:
        is_directory = stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return None
    must_move = is_directory or for_directory
    if keep < 2 and not must_move:
        return None
    backups = backups_of(path)
    # Linked by a publication that was cut off: the same one is not kept twice.
    if must_move or not backups or not _same_file(path, backups[0]):
        newest = int(backups[0].name.rpartition("-")[2]) if backups else 0
        backups.insert(0, path.with_name(f"{path.name}.backup-{newest + 1}"))
    backup = backups[0]
    if not must_move:
        _link(path, backup)
    try:
        _link(manifest_path(path), manifest_path(backup))
    except FileNotFoundError:
        # Of a program that writes none: from now on this one says what it held.
        replace_whole(manifest_path(backup), manifest_of(path, {}).to_json().encode())
    return backup if must_move else None


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        copy_aside(path, target)


def _remove_checkpoint(path: Path) -> None:
    # The manifest first: what is left of the data is then no longer taken for a checkpoint.
    with suppress(FileNotFoundError):
        os.unlink(manifest_path(path))
    remove_tree(path)


def _fault_of_directory(path: Path, files: tuple[FileOf, ...]) -> str | None:
    there = {file.relative_to(path).as_posix(): file for file in _files_below(path)}
    for name in sorted(there.keys() ^ {file.path for file in files}):
        return f"its file {name} is not in its manifest" if name in there else f"its file {name} is missing"
    for file in files:
        found, size = sha256_of_file(there[file.path])
        if (found, size) != (file.sha256, file.size_bytes):
            return f"its file {file.path}: {_differs(found, file.sha256)}"
    return None


def _differs(found: str, wanted: str) -> str:
    return f"its SHA-256 is {found:.12}…, its manifest says {wanted:.12}…"


def _files_below(folder: Path) -> Iterator[Path]:
    for path, mode in _entries_below(folder):
        if stat.S_ISREG(mode):
            yield path
        elif not stat.S_ISDIR(mode):
            raise StateInvalid(f"{path} is neither a file nor a directory: leave it out, no mirror would keep it")


def _folders_below(folder: Path) -> Iterator[Path]:
    return (path for path, mode in _entries_below(folder) if stat.S_ISDIR(mode))


def _entries_below(folder: Path) -> Iterator[tuple[Path, int]]:
    for name in _names_in(folder):
        mode = os.lstat(folder / name).st_mode
        yield folder / name, mode
        if stat.S_ISDIR(mode):
            yield from _entries_below(folder / name)


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _sync_file(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _same_file(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except FileNotFoundError:
        return False


def _runs_elsewhere(process: int) -> bool:
    """Return whether another process of that number runs. One of this number left its things and was started again."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True

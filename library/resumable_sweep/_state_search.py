"""Which checkpoint of a state is whole: the newest, or else an older one."""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from dataclasses import dataclass
from glob import glob
from pathlib import Path

from resumable_sweep._state_files import backups_of, fault_of
from resumable_sweep.contract.manifest import (
    SUFFIX,
    Manifest,
    manifest_path,
    parsed_manifest,
    pending_path,
    unreadable,
)

_LOOKS = 5
"""How often a checkpoint is looked at anew because it was replaced meanwhile."""
_NOT_A_CHECKPOINT = re.compile(r"^\.|\.(?:corrupt|backup)-[0-9]+$|" + re.escape(SUFFIX) + "$")


class CheckpointDamaged(ValueError):
    """A checkpoint does not verify and no older one of it does; the message names the fault and the mend."""


class CheckpointTooNew(ValueError):
    """A checkpoint is of a schema version that this release does not read; 1 is the first there was."""


@dataclass(frozen=True)
class Looked:
    """What is at `path`: `fault` None = nothing wrong; `manifest` None = there is none, so nobody can tell more."""

    path: Path
    manifest: Manifest | None
    fault: str | None


@dataclass(frozen=True)
class Found:
    """The newest checkpoint that is whole, and if that is not the one asked for, why: what is wrong with that one."""

    whole: Looked
    asked: Looked | None


def look(path: Path) -> Looked | None:
    """Return what is at `path`, None where nothing is.

    Raises
    ------
    CheckpointTooNew
    OSError
        Where it cannot be read, so that nobody can tell what it holds.
    """
    looked = None
    for _ in range(_LOOKS):
        before = fingerprint_of(path)
        try:
            looked = _look_once(path)
        except FileNotFoundError:
            looked = None  # replaced under our eyes, or a part of it is gone
        if (looked is not None and looked.fault is None) or fingerprint_of(path) == before:
            break
    return looked


def find(path: Path) -> Found | None:
    """Return the newest whole checkpoint of those at `path` and its backups, None where there never was one.

    Raises
    ------
    CheckpointDamaged
        Where there are some, and none is whole.
    CheckpointTooNew
    OSError
        Where one cannot be read.
    """
    asked = look(path)
    if asked is not None and asked.fault is None:
        return Found(asked, None)
    missing = Looked(path, None, "it is not there: it was removed, or a save was interrupted")
    backups = [backup for backup in backups_of(path) if manifest_path(backup).exists() and backup.exists()]
    for backup in backups:
        older = look(backup)
        if older is not None and older.fault is None:
            return Found(older, asked or missing)
    if asked is None and not backups:
        return None
    others = ", and there is no older one"
    if backups:
        others = f", nor is any of {', '.join(backup.name for backup in backups)}"
    raise CheckpointDamaged(
        f"{path} is not whole: {(asked or missing).fault}{others}. Bring back a copy that is, or move these files away "
        "to start afresh"
    )


def newest_in(folder_or_pattern: Path) -> list[Path]:
    """Return the checkpoints in a folder, or of a pattern, the newest first; damaged ones too, backups not.

    Of a folder those with a manifest count. Newest is the one with the highest numbers in its name: what a file system
    says of times is lost when files are copied.
    """
    if folder_or_pattern.is_dir() and not manifest_path(folder_or_pattern).exists():
        found = {_checkpoint_of(entry.name) for entry in folder_or_pattern.iterdir()}
        paths = [folder_or_pattern / name for name in found if name]
    else:
        paths = [Path(name) for name in glob(os.fspath(folder_or_pattern))]  # noqa: PTH207  (it is absolute)
    return sorted((path for path in paths if not _NOT_A_CHECKPOINT.search(path.name)), key=_by_numbers, reverse=True)


def fingerprint_of(path: Path) -> tuple[tuple[int, int, int] | None, ...]:
    """Return what changes when the pair at `path` is replaced: inode, size (bytes) and time of change (ns) of each."""
    return tuple(_status_of(part) for part in (path, manifest_path(path), pending_path(path)))


def _look_once(path: Path) -> Looked | None:
    own = _bytes_or_none(manifest_path(path))
    pending = _bytes_or_none(pending_path(path))
    if not path.exists():
        return None
    fault = None
    for text in (own, pending):
        if text is None:
            continue
        try:
            manifest = parsed_manifest(text)
        except ValueError as error:
            fault = fault or f"its manifest is damaged: {error}"
            continue
        if why := unreadable(manifest):
            raise CheckpointTooNew(f"{path} cannot be read: {why}")
        found = fault_of(path, manifest)
        if found is None:
            return Looked(path, manifest, None)
        fault = fault or found
    if own is None:
        # Another program's, or a save over it was cut off before it touched the data.
        fault = _fault_of_archive(path)
    return Looked(path, None, fault)


def _fault_of_archive(path: Path) -> str | None:
    """Return what is wrong with an `.npz` file that no manifest vouches for: its own checksums."""
    if path.suffix != ".npz" or not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        return f"it has no manifest, and is no .npz file: {error}"
    return None if damaged is None else f"it has no manifest, and its array {damaged} is damaged"


def _checkpoint_of(name: str) -> str | None:
    """Return which checkpoint a file of that name tells of: its manifest does, or one of its backups."""
    if name.startswith(".") or not name.endswith(SUFFIX):
        return None
    return re.sub(r"\.backup-[0-9]+$", "", name.removesuffix(SUFFIX))


def _by_numbers(path: Path) -> list[tuple[int, int, str]]:
    parts = re.findall(r"[0-9]+|[^0-9]+", os.fspath(path))
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def _bytes_or_none(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _status_of(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns

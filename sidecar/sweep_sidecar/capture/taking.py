"""Taking one group of files into the store: whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from resumable_sweep.contract.log_format import LogInvalid
from resumable_sweep.contract.manifest import SUFFIX, Manifest, parsed_manifest, pending_path
from sweep_sidecar.capture.groups import Group, Kind
from sweep_sidecar.capture.growing import GrowingFile, Growth, capture_growing
from sweep_sidecar.capture.in_use import HEAD_BYTES, check_hdf5, check_sqlite_unlocked, is_sqlite
from sweep_sidecar.capture.opening import Gone, Unreadable, opened
from sweep_sidecar.capture.steady import (
    Fingerprint,
    Measured,
    Settling,
    Unsteady,
    fingerprint_of,
    measure,
    read_measured,
    stored_version,
)
from sweep_sidecar.capture.tree import Tree, tree_of
from sweep_sidecar.log.generation import FileVersion
from sweep_sidecar.progress import Counted, counted_mime, may_be_mime


class NotWhole(Exception):
    """Nobody is writing just now, and yet the group is not whole; the message says what is missing."""


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """A file as it was last taken; `fingerprint` None = it was not read by this process."""

    version: FileVersion
    fingerprint: Fingerprint | None = None
    is_settled: bool = False
    """Whether the same fingerprint will mean the same file."""
    counted: Counted | None = None
    growing: GrowingFile | None = None

    def is_still(self, found: Fingerprint | None) -> bool:
        """Return whether a file with the fingerprint `found` needs not be read again."""
        if self.growing is not None:
            return found is not None and self.growing.fingerprint == found
        return found is not None and self.is_settled and self.fingerprint == found


@dataclass(frozen=True, kw_only=True)
class Taker:
    """Takes groups of one scan of the directory `root`.

    Parameters
    ----------
    known:
        What is known of each path: what was not changed since is not read again.
    growth:
        How logs are captured.
    at_rest:
        Nobody writes any more.
    placed_ns:
        Files that were not changed after this time of day were brought here by a restore, and are whole.
    """

    root: Path
    tree: Tree
    known: Mapping[str, Tracked]
    growth: Growth
    settling: Settling
    clock_ns: Callable[[], int]
    at_rest: bool
    placed_ns: int

    def take(self, group: Group) -> dict[str, Tracked]:
        """Return the files of a group as they are now, in the store.

        Raises
        ------
        NotWhole, InUse
            Where it must be left as it was taken before.
        Unsteady
            Where it was being written to.
        Gone
            Where a file of it is not there any more.
        LogInvalid, Unreadable, Unreachable
        """
        try:
            try:
                return self._taken(group)
            except NotWhole:
                named = self._with_pending_manifest(group)
                if named is not None:
                    with suppress(NotWhole, Gone):
                        return named._taken(group)
                raise
        except OSError as error:
            raise Unreadable(self.root / group.path, error) from error

    def _taken(self, group: Group) -> dict[str, Tracked]:
        match group.kind:
            case Kind.LOG:
                return {group.path: self._log(group.path)}
            case Kind.PAIR:
                return self._pair(*group.members)
            case Kind.FOLDER:
                return self._folder(group)
            case Kind.DATABASE:
                return self._database(group)
            case Kind.ALONE | Kind.LOG_MANIFEST:
                return self._alone(group.path)

    def _with_pending_manifest(self, group: Group) -> Taker | None:
        """Return what takes the manifest that waits for the group's; None where none does, or it may yet get its name.

        Whoever was killed between its two renames has left the data whole, and what vouches for them under that name.
        """
        if not self.at_rest or group.path not in self.tree.awaited:
            return None
        manifest, pending = group.path + SUFFIX, pending_path(Path(group.path)).as_posix()
        try:
            files = {**self.tree.files, manifest: fingerprint_of(os.lstat(self.root / pending))}
        except FileNotFoundError:
            return None
        links = {**self.tree.links, manifest: pending}
        return replace(self, tree=replace(self.tree, files=files, links=links))

    def _log(self, path: str) -> Tracked:
        before = self.known.get(path)
        growing = before.growing if before else None
        if before is not None and not self.growth.thorough and before.is_still(self.tree.files[path]):
            return before
        with self._opened(path) as file:
            try:
                growing = capture_growing(file, growing, self.growth)
            except LogInvalid as error:
                after = growing.version.size if growing else 0
                raise LogInvalid(f"{path}, after byte {after}: {error}") from error
        return Tracked(version=growing.version, counted=growing.counted, growing=growing)

    def _alone(self, path: str) -> dict[str, Tracked]:
        before = self._unchanged(path)
        if before is not None:
            return {path: before}
        with self._opened(path) as file:
            head = file.read(HEAD_BYTES)
            if is_sqlite(head):
                return self._joint((path,))
            check_hdf5(head, os.fstat(file.fileno()), now_ns=self.clock_ns(), at_rest=self.at_rest, path=path)
            measured = self._measured(path, file)
            return {path: self._stored(path, file, measured)}

    def _pair(self, path: str, manifest: str) -> dict[str, Tracked]:
        for there, lacking in ((path, manifest), (manifest, path)):
            if lacking not in self.tree.files:
                raise NotWhole(f"{there} has no {lacking} beside it")
        before = self._unchanged(path), self._unchanged(manifest)
        if before[0] and before[1]:
            return {path: before[0], manifest: before[1]}
        with self._opened(path) as data, self._opened(manifest) as beside:
            said, measured_manifest = self._manifest(manifest, beside)
            measured = measure(data)
            if (said.sha256, said.size_bytes) != (measured.sha256, measured.size):
                raise NotWhole(f"{path} is not what {manifest} says it is")
            return {
                path: self._stored(path, data, measured),
                manifest: self._stored(manifest, beside, measured_manifest),
            }

    def _folder(self, group: Group) -> dict[str, Tracked]:
        folder = group.folder
        before = {path: self._unchanged(path) for path in group.members}
        start = f"{group.path}/" if group.path else ""
        known = {path for path in self.known if path.startswith(start)}
        if known <= before.keys() and all(before.values()):
            return {path: tracked for path, tracked in before.items() if tracked}
        self._check_marked(group)
        measured: dict[str, Measured] = {}
        for path in group.members:
            with self._opened(path) as file:
                measured[path] = self._measured(path, file)
        if folder.manifest:
            with self._opened(folder.manifest) as beside:
                said, measured[folder.manifest] = self._manifest(folder.manifest, beside)
            found = {path.removeprefix(start): (file.sha256, file.size) for path, file in measured.items()}
            found.pop(folder.manifest, None)
            if found != {file.path: (file.sha256, file.size_bytes) for file in said.files or ()}:
                raise NotWhole(f"{group.path} is not what {folder.manifest} says it is")
        taken = {}
        for path, found_as in measured.items():
            with self._opened(path) as file:
                taken[path] = self._stored(path, file, found_as)
        self._check_still(group, measured)
        return taken

    def _check_marked(self, group: Group) -> None:
        folder = group.folder
        if folder.manifest:
            if folder.manifest not in self.tree.files:
                raise NotWhole(f"{group.path} has no {folder.manifest} beside it")
            return
        if not folder.markers:
            raise NotWhole(f"{group.path or 'the directory'} has no commit marker")
        if not folder.is_marked_last:
            return
        marked_ns = max(self.tree.files[path][2] for path in folder.markers)
        for path in group.members:
            if self.tree.files[path][2] > max(marked_ns, self.placed_ns):
                raise NotWhole(f"{path} is younger than the commit marker {folder.markers[0]}, which has to come last")

    def _check_still(self, group: Group, measured: Mapping[str, Measured]) -> None:
        """Raise Unsteady where the folder is not what it was when it was scanned: it may be another by that name."""
        again = tree_of(self.root, group.path)
        start = f"{group.path}/" if group.path else ""
        folders = {path: inode for path, inode in self.tree.folders.items() if path.startswith(start)}
        inside = {path: self.tree.files[path] for path in group.members if path.startswith(start)}
        if again.files != inside or again.folders != folders:
            raise Unsteady(group.path)
        if any(file.fingerprint != self.tree.files[path] for path, file in measured.items()):
            raise Unsteady(group.path)

    def _database(self, group: Group) -> dict[str, Tracked]:
        with self._opened(group.path) as file:
            head = file.read(HEAD_BYTES)
        if head and not is_sqlite(head):
            taken: dict[str, Tracked] = {}
            for path in group.members:
                taken |= self._alone(path)
            return taken
        return self._joint(tuple(path for path in group.members if not path.endswith("-shm")))

    def _joint(self, paths: tuple[str, ...]) -> dict[str, Tracked]:
        """Take a database with its journal as they are at one moment: what a program that dies leaves behind.

        SQLite makes the state before or after a transaction of that. Its index of the log (`-shm`) it makes anew.
        """
        before = {path: self._unchanged(path) for path in paths}
        if all(before.values()) and not self._appeared(paths):
            return {path: tracked for path, tracked in before.items() if tracked}
        with ExitStack() as stack:
            files = {path: stack.enter_context(self._opened(path)) for path in paths}
            statuses = {path: self.settling.status(path, file) for path, file in files.items()}
            measured = {path: measure(file, statuses[path]) for path, file in files.items()}
            if len(paths) == 1 or not any(statuses[path].st_size for path in paths[1:]):
                check_sqlite_unlocked(files[paths[0]], paths[0])
            for path in paths:
                if self._fingerprint_now(path) != measured[path].fingerprint:
                    raise Unsteady(path)  # or gone: every transaction ends with the removal of its journal
            if self._appeared(paths) or any(
                fingerprint_of(statuses[path]) != measured[path].fingerprint for path in paths
            ):
                raise Unsteady(paths[0])
            return {path: self._stored(path, files[path], measured[path]) for path in paths}

    def _fingerprint_now(self, path: str) -> Fingerprint | None:
        try:
            return fingerprint_of(os.lstat(self.root / self._source(path)))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _appeared(self, paths: tuple[str, ...]) -> bool:
        beside = {paths[0] + ending for ending in ("-journal", "-wal")} - set(paths)
        return any(os.path.lexists(self.root / path) for path in beside)

    def _manifest(self, path: str, file: BinaryIO) -> tuple[Manifest, Measured]:
        measured = measure(file)
        try:
            return parsed_manifest(read_measured(file, measured)), measured
        except (ValueError, TypeError) as error:
            raise NotWhole(f"{path} is no manifest: {error}") from error

    def _measured(self, path: str, file: BinaryIO) -> Measured:
        status = self.settling.status(path, file)
        known = self.known.get(path)
        if known is not None and known.is_settled and known.fingerprint is not None:
            inode, size, changed_ns, _ = known.fingerprint
            if (inode, changed_ns) == (status.st_ino, status.st_mtime_ns) and size > status.st_size:
                raise Unsteady(path)  # it is being cut, and has its new size before its new time stamp
        return measure(file, status)

    def _stored(self, path: str, file: BinaryIO, measured: Measured) -> Tracked:
        before = self.known.get(path)
        version = stored_version(
            file, measured, previous=before.version if before else None, store_piece=self.growth.store_piece
        )
        counted = None
        if may_be_mime(path, self.growth.progress):
            counted = counted_mime(read_measured(file, measured))
        return Tracked(
            version=version,
            fingerprint=measured.fingerprint,
            is_settled=self.growth.is_settled(measured.fingerprint),
            counted=counted,
        )

    def _unchanged(self, path: str) -> Tracked | None:
        known = self.known.get(path)
        return known if known is not None and known.is_still(self.tree.files.get(path)) else None

    def _source(self, path: str) -> str:
        return self.tree.links.get(path, path)

    def _opened(self, path: str) -> BinaryIO:
        return opened(self.root, self._source(path))

"""The file of results: append-only JSON Lines that one sweep writes, and that a crash at any moment leaves readable."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from resumable_sweep._disk import make_folder, naming, replace_whole, sync_folder, write_at
from resumable_sweep._file_lock import FileLock, locked
from resumable_sweep._leavings import remove_leavings
from resumable_sweep._salvage import Salvaged, salvaged_log
from resumable_sweep._scan import Damage, Note, Scan, scan
from resumable_sweep.contract.log_format import HEADER, SCHEMA_VERSION, LogInvalid, line_of
from resumable_sweep.contract.manifest import Manifest, manifest_path, parsed_manifest

_HEADER_START = b'{"kind":"header"'
"""What every log starts with, so that a torn first line is told apart from a file that is no log."""
_CHUNK_BYTES = 4 << 20
_READ_AHEAD_BYTES = 256 << 10
_NOTHING = nullcontext()
_open_logs: weakref.WeakSet[ResultLog] = weakref.WeakSet()


class ResultLog:
    """The log at `path`, locked for writing while it is open.

    Its bytes only ever grow, but for a torn last line, which is cut off before anything is appended: what one crash
    left half written would else spoil the next entry as well. Any thread may call its methods; a forked child may
    append, too.

    `scan` says what the log holds besides its items. When it was opened, `salvaged` is what had to be set aside, and
    `missing_bytes` what the manifest knew of and the file has no more; `was_there` tells an old log from a new one, and
    `was_complete` one that ended in a `complete`.
    """

    def __init__(self, path: Path, file: int, *, note: Note) -> None:
        """Take over `file`, the log's open descriptor; `opened` is the way to get there."""
        self.path = path
        self.scan = Scan()
        self.salvaged: Salvaged | None = None
        self.missing_bytes = 0
        self.was_there = False
        self.was_complete = False
        self._file = file
        self._note = note
        self._manifest: Manifest | None = None
        self._writing = threading.Lock()
        self._syncing = threading.Lock()
        self._synced = 0
        self._unsynced: list[bytes] = []
        self._promised = False
        self._write_anew = False
        self._digest_synced: Any = None
        self._cuts = 0
        self._peers: FileLock | None = None
        _open_logs.add(self)

    @classmethod
    def opened(
        cls,
        path: Path,
        header: dict[str, Any],
        *,
        note: Note,
        forget: Callable[[], None] = lambda: None,
        lock_timeout_s: float = 0.0,
    ) -> ResultLog:
        """Open the log at `path`, telling `note` of the items in it; where there is none, start it with `header`.

        The header's `kind` and `schema_version` are added here; where its `run_id` is not None, a log of another run
        is refused. Damaged lines are set aside in a copy of the whole file, and all others kept; `forget` is called
        before `note` hears of those again.

        Raises
        ------
        LogLocked
            Where somebody else is writing it, `lock_timeout_s` seconds long.
        LogInvalid
            Where it is no log, is of a newer schema, or belongs to another run.
        """
        make_folder(path.parent)
        file = locked(path, timeout_s=lock_timeout_s)
        log = cls(path, file, note=note)
        try:
            remove_leavings(path)
            log._recover(header, forget)
        except BaseException:
            log.close()
            raise
        return log

    def append(self, lines: list[bytes], *, sync: bool = True, promised: bool = False) -> int:
        """Append `lines` (from `line_of`), and return where they begin (bytes).

        Parameters
        ----------
        sync:
            They are on disk when this returns; one call to the disk serves all threads that wait for it.
        promised:
            The caller counts on them although they are not on disk yet: an error of the disk does not remove them,
            they are written again with the next `sync`.

        Raises
        ------
        OSError
            Where they could not be written (a full disk, say).
        """
        data = b"".join(lines)
        with self._writing, self._alone():
            start = self.scan.end
            try:
                write_at(self._file, data, start)
            except BaseException as error:
                # Also after KeyboardInterrupt: half a line must not stay.
                with suppress(OSError):
                    os.ftruncate(self._file, start)
                raise self._explained(error) from error
            self.scan.end += len(data)
            self.scan.completion = None
            self.scan.digest.update(data)
            self._unsynced.append(data)
            self._promised = self._promised or promised
            end, cuts = self.scan.end, self._cuts
        if sync:
            self._sync_to(end, cuts)
        return start

    def sync(self) -> None:
        """Bring to disk what was appended without `sync`.

        Raises
        ------
        OSError
        """
        with self._writing:
            end, cuts = self.scan.end, self._cuts
        self._sync_to(end, cuts)

    @property
    def end(self) -> int:
        """Length of the log in bytes."""
        return self.scan.end

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes of the log from `offset`."""
        pieces = []
        while size:
            piece = os.pread(self._file, size, offset)
            if not piece:
                raise OSError(errno.EIO, "the log is shorter than it was", str(self.path))
            pieces.append(piece)
            offset += len(piece)
            size -= len(piece)
        return b"".join(pieces)

    def read_each(self, places: Iterable[tuple[int, int]]) -> Iterator[bytes]:
        """Yield what stands at each offset of that size (bytes), with few reads where they follow on one another."""
        start, held, cuts = 0, b"", self._cuts
        for offset, size in places:
            if cuts != self._cuts:  # what was read ahead may have been written anew
                held, cuts = b"", self._cuts
            if not start <= offset <= offset + size <= start + len(held):
                is_near = start <= offset <= start + len(held) + _READ_AHEAD_BYTES
                # Behind the end there may be half a line.
                ahead = min(_READ_AHEAD_BYTES, self.scan.end - offset) if is_near else size
                start, held = offset, self.read(offset, max(size, ahead))
            yield held[offset - start : offset - start + size]

    def write_manifest(self) -> None:
        """Write the manifest of what the log holds now, if that is not what it says already.

        It replaces the one before in a single step. A log that has grown since still begins with what its manifest
        vouches for. It repeats the header, the one line that nothing else in the log could stand in for.
        """
        self.sync()
        with self._writing:
            manifest = Manifest(
                sha256=self.scan.digest.hexdigest(), size_bytes=self.scan.end, extra={"header": self.scan.header}
            )
        if manifest != self._manifest:
            replace_whole(manifest_path(self.path), manifest.to_json().encode())
            self._manifest = manifest

    @property
    def is_shared(self) -> bool:
        """Whether forked children may append as well."""
        return self._peers is not None

    def catch_up(self) -> None:
        """Take in what forked children have appended."""
        with self._writing, self._alone():
            pass

    def close(self) -> None:
        """Close the log and give up its lock; one who is writing is waited for, one who comes later gets an error."""
        _open_logs.discard(self)
        with self._syncing, self._writing:
            os.close(self._file)
            self._file = -1  # the number may be another file's by now
        if self._peers is not None:
            self._peers.close()

    def _recover(self, header: dict[str, Any], forget: Callable[[], None]) -> None:
        try:
            found = scan(self._file, self._note, self.scan)
        except LogInvalid as error:
            raise LogInvalid(f"{self.path}: {error}") from error
        self._check_is_log(found)
        self._check_against_manifest(found)
        while found.damaged:
            new, self.salvaged = salvaged_log(self.path, self._file, found)
            os.close(self._file)
            self._file = new
            forget()
            found = self.scan = scan(new, self._note)
        self.was_there = found.lines > 0
        self.was_complete = found.completion is not None
        theirs, mine = found.header.get("run_id"), header["run_id"]
        if mine is not None and theirs is not None and theirs != mine:
            raise LogInvalid(
                f"{self.path} holds the results of run {theirs}, but this is run {mine}: choose another path, or "
                "move it away"
            )
        if found.size > found.end:
            with naming(self.path):
                os.ftruncate(self._file, found.end)
                os.fsync(self._file)
        self._note_synced(found.end, found.digest.copy(), 0)
        if found.version < SCHEMA_VERSION:
            # The lock is held, so nobody else starts the same log. One of an older schema is told apart from here on.
            known = {name: value for name, value in found.header.items() if value is not None}
            found.header = {"kind": HEADER, **header, **known, "schema_version": SCHEMA_VERSION}
            self.append([line_of(found.header)])
            sync_folder(self.path.parent)

    def _check_is_log(self, found: Scan) -> None:
        start = found.first_bytes
        # A file of zeros is what some file systems leave of one whose bytes never came to the disk.
        is_log = (
            found.is_log
            if found.lines
            else start[: len(_HEADER_START)] in (_HEADER_START[: len(start)],) or (not start.strip(b"\0"))
        )
        if not is_log:
            raise LogInvalid(f"{self.path} is not a sweep's log of results: move it away, or choose another path")

    def _check_against_manifest(self, found: Scan) -> None:
        """Hold a log whose lines have no checksums against its manifest, and any log against its length there."""
        try:
            manifest = parsed_manifest(manifest_path(self.path).read_bytes())
        except (OSError, ValueError, TypeError):
            return  # it is written anew, and the lines speak for themselves
        if found.end < manifest.size_bytes:
            self.missing_bytes = manifest.size_bytes - found.end
            return
        unchecked = found.unchecked_end and not found.damaged
        if unchecked and self._sha256_of_start(manifest.size_bytes) != manifest.sha256:
            reason = "the log does not fit its manifest, and its lines have no checksums to tell which are good"
            found.damaged.append(Damage(0, found.unchecked_end, reason))

    def _sha256_of_start(self, size: int) -> str:
        digest, offset = hashlib.sha256(), 0
        while offset < size:
            piece = self.read(offset, min(_CHUNK_BYTES, size - offset))
            digest.update(piece)
            offset += len(piece)
        return digest.hexdigest()

    def _alone(self) -> AbstractContextManager[None]:
        """Keep forked relatives from appending, and take in what they have."""
        return _NOTHING if self._peers is None else self._held(self._peers)

    @contextmanager
    def _held(self, peers: FileLock) -> Iterator[None]:
        with peers.held():
            if os.fstat(self._file).st_size > self.scan.end:
                scan(self._file, self._note, self.scan)
                if self.scan.size > self.scan.end:
                    os.ftruncate(self._file, self.scan.end)  # one of them was killed in the middle of a line
            yield

    def _sync_to(self, end: int, cuts: int) -> None:
        with self._syncing:
            with self._writing:
                if self._cuts != cuts:
                    raise OSError(errno.EIO, "an error of the disk took it away again", str(self.path))
                if self._synced >= end:
                    return
                # Other threads go on appending meanwhile, and nobody can tell what of that is on disk.
                target, digest, count = self.scan.end, self.scan.digest.copy(), len(self._unsynced)
            try:
                if self._write_anew:
                    write_at(self._file, b"".join(self._unsynced[:count]), self._synced)
                os.fsync(self._file)
            except BaseException as error:
                with self._writing:
                    kept = self._keep_or_cut()
                raise self._explained(error, kept=kept) from error
            with self._writing:
                self._write_anew = False
                self._note_synced(target, digest, count)

    def _note_synced(self, end: int, digest: Any, count: int) -> None:
        """Note that the first `end` bytes (with their `digest`) are on disk, and so are `count` of the appends."""
        self._synced = end
        self._digest_synced = digest
        del self._unsynced[:count]
        self._promised = self._promised and bool(self._unsynced)

    def _keep_or_cut(self) -> bool:
        """Remove what is not on disk for certain, unless somebody counts on it; return whether it was kept.

        After an error of fsync the kernel takes the pages for clean, so that a second fsync would succeed without
        having written anything ("PostgreSQL's fsync() surprise", LWN, 2018): only writing anew helps.
        """
        if self._promised or self._peers is not None:
            self._write_anew = self._peers is None
            return True
        self._cuts += 1
        with suppress(OSError):
            os.ftruncate(self._file, self._synced)
        self.scan.end = self._synced
        self.scan.digest = self._digest_synced.copy()
        self._unsynced.clear()
        return False

    def _explained(self, error: BaseException, *, kept: bool = False) -> BaseException:
        if not isinstance(error, OSError):
            return error
        fate = "it may not be on disk yet" if kept else "nothing was added to the log, what it held is whole"
        return OSError(error.errno, f"{error.strerror}: {fate}", str(self.path))

    def _expect_children(self) -> None:
        if self._peers is None:
            self._peers = FileLock(self.path.with_name(f".{self.path.name}.lock"))

    def _start_as_child(self) -> None:
        # Another thread of the parent may have held them when this process was forked.
        self._writing, self._syncing = threading.Lock(), threading.Lock()
        self._unsynced = []
        self._expect_children()


def _after_fork_in_parent() -> None:
    for log in tuple(_open_logs):
        log._expect_children()


def _after_fork_in_child() -> None:
    for log in tuple(_open_logs):
        log._start_as_child()


os.register_at_fork(after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)

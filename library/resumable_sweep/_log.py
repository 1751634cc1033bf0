"""The file of results: append-only JSON Lines that one process writes and a crash at any moment leaves readable."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from resumable_sweep.contract.canonical import canonical_json
from resumable_sweep.contract.log_format import HEADER, SCHEMA_VERSION, LogInvalid, entries_of, is_sweep_log
from resumable_sweep.contract.manifest import Manifest, manifest_path

_CHUNK_BYTES = 1 << 20
_HEADER_START = canonical_json({"kind": HEADER}).encode().removesuffix(b"}")
"""What every log starts with, so that a torn first line is told apart from a file that is no log."""


class LogLocked(RuntimeError):
    """Another process (or another sweep of this one) is writing the log."""


def encoded(entry: dict[str, Any]) -> bytes:
    """Return `entry` as a line of the log.

    Raises
    ------
    TypeError, ValueError
        Where it holds what JSON or UTF-8 have no form for.
    """
    return json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def read_entries(path: Path, run_id: str | None) -> list[dict[str, Any]]:
    """Return the entries of the log at `path`.

    Raises
    ------
    LogInvalid
        Where it is no log, is damaged, or belongs to another run than `run_id`.
    """
    return _checked_entries(path.read_bytes(), path, run_id)


class ResultLog:
    """The log at `path`, locked for writing while it is open.

    Its bytes only ever grow, but for a torn last line, which is cut off before anything is appended: what one crash
    left half written would else spoil the next entry as well.
    """

    def __init__(self, path: Path, file: int) -> None:
        """Take over `file`, the log's open descriptor; `opened` is the way to get there."""
        self.path = path
        self._file = file
        self._manifest: Manifest | None = None
        self._digest = hashlib.sha256()
        self._end = 0

    @classmethod
    def opened(cls, path: Path, header: dict[str, Any]) -> tuple[ResultLog, list[dict[str, Any]]]:
        """Open the log at `path` and return it with its entries; where there is none, start it with `header`.

        The header's `kind` and `schema_version` are added here; where its `run_id` is not None, a log of another run
        is refused.

        Raises
        ------
        LogLocked
            Where somebody else is writing it.
        LogInvalid
            Where it cannot be read, or belongs to another run.
        """
        _make_folder(path.parent)
        log = cls(path, os.open(path, os.O_RDWR | os.O_CREAT, 0o666))
        try:
            log._lock()
            entries = log._recover(header["run_id"])
            if not entries:
                # The lock is held, so nobody else starts the same log.
                entries = [{"kind": HEADER, "schema_version": SCHEMA_VERSION, **header}]
                log.append([encoded(entries[0])])
                _sync_folder(path.parent)
        except BaseException:
            log.close()
            raise
        return log, entries

    def append(self, lines: Iterable[bytes]) -> None:
        """Append `lines` (from `encoded`); when this returns, they are on disk.

        Raises
        ------
        OSError
            Where they could not be written (a full disk, say): the log is then what it was before.
        """
        data = b"".join(lines)
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._file, data[written:], self._end + written)
            os.fsync(self._file)
        except BaseException as error:
            # Also after KeyboardInterrupt: half a line must not stay, and a whole one that nobody was told of may go.
            with suppress(OSError):
                os.ftruncate(self._file, self._end)
                os.fsync(self._file)
            if isinstance(error, OSError):
                text = f"{error.strerror}: nothing was added to the log, what it held is whole"
                raise OSError(error.errno, text, str(self.path)) from error
            raise
        self._end += len(data)
        self._digest.update(data)

    def write_manifest(self) -> None:
        """Write the manifest of what the log holds now, if that is not what it says already.

        It replaces the one before in a single step. A log that has grown since still begins with what its manifest
        vouches for.
        """
        manifest = Manifest(sha256=self._digest.hexdigest(), size_bytes=self._end)
        if manifest == self._manifest:
            return
        target = manifest_path(self.path)
        temporary = target.with_name(f".{target.name}.tmp")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                file.write(manifest.to_json())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except OSError:
            with suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(target.parent)
        self._manifest = manifest

    def close(self) -> None:
        """Close the log and give up its lock."""
        os.close(self._file)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise LogLocked(
                    f"{self.path} is being written by another process: wait for its end, or give this one another "
                    "checkpoint_path"
                ) from error
            raise OSError(
                error.errno, f"{error.strerror}: this file system has no locks, choose another", str(self.path)
            ) from error

    def _recover(self, run_id: str | None) -> list[dict[str, Any]]:
        data = self._read()
        entries = _checked_entries(data, self.path, run_id)
        self._end = data.rfind(b"\n") + 1
        if self._end < len(data):
            os.ftruncate(self._file, self._end)
            os.fsync(self._file)
        self._digest.update(memoryview(data)[: self._end])
        return entries

    def _read(self) -> bytes:
        pieces, offset = [], 0
        while piece := os.pread(self._file, _CHUNK_BYTES, offset):
            pieces.append(piece)
            offset += len(piece)
        return b"".join(pieces)


def _checked_entries(data: bytes, path: Path, run_id: str | None) -> list[dict[str, Any]]:
    first, newline, _ = data.partition(b"\n")
    is_log = is_sweep_log(first) if newline else first[: len(_HEADER_START)] == _HEADER_START[: len(first)]
    if not is_log:
        raise LogInvalid(f"{path} is not a sweep's log of results: move it away, or choose another path")
    try:
        entries = list(entries_of(data))
    except LogInvalid as error:
        raise LogInvalid(f"{path}: {error}") from error
    theirs = entries[0].get("run_id") if entries else None
    if run_id is not None and theirs is not None and theirs != run_id:
        raise LogInvalid(
            f"{path} holds the results of run {theirs}, but this is run {run_id}: choose another path, or move it away"
        )
    return entries


def _make_folder(folder: Path) -> None:
    """Make `folder` and its parents, each one's name durable, or the log's own fsync would be in vain."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    except OSError as error:
        # Some network file systems have no fsync for directories: their names are durable as it is.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(file)

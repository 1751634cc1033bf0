"""The store in a plain directory: `file:///path`, for one machine or a network file system with hard links."""

from __future__ import annotations

import contextlib
import heapq
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from sweep_sidecar.durable import sync_folder
from sweep_sidecar.store.protocol import Creation, Listed, NotFound, Unreachable

_STAGING_PREFIX = ".creating-"


class LocalStore:
    """Objects as files below `root`.

    An object comes into being by `link(2)`, which fails where the name is taken: exclusive among processes, and the
    file under that name is always whole, because it was written and synced under another name before. A process that
    is killed in between leaves a `.creating-*` file, which no listing shows.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def url(self) -> str:
        return f"file://{self._root}"

    def create(self, key: str, data: bytes, *, deadline_s: float | None = None) -> Creation:
        del deadline_s  # a local disk has no deadline to wait for: what hangs here hangs in the kernel
        target = self._path(key)
        staged = target.parent / f"{_STAGING_PREFIX}{uuid.uuid4().hex}"
        try:
            _make_folder(target.parent)
            try:
                _write_synced(staged, data)
                os.link(staged, target)
            except FileExistsError:
                return Creation.CREATED if target.read_bytes() == data else Creation.EXISTS
            finally:
                with contextlib.suppress(FileNotFoundError):
                    staged.unlink()
            sync_folder(target.parent)
        except OSError as error:
            raise Unreachable(f"cannot create {target}: {error}") from error
        return Creation.CREATED

    def get(
        self, key: str, *, start: int | None = None, end: int | None = None, deadline_s: float | None = None
    ) -> bytes:
        del deadline_s
        target = self._path(key)
        try:
            with target.open("rb") as file:
                file.seek(start or 0)
                return file.read() if end is None else file.read(max(0, end - (start or 0)))
        except FileNotFoundError as error:
            raise NotFound(f"{target} does not exist") from error
        except OSError as error:
            raise Unreachable(f"cannot read {target}: {error}") from error

    def list(self, prefix: str, *, limit: int | None = None, deadline_s: float | None = None) -> list[Listed]:
        del deadline_s
        folder = self._path(prefix.rpartition("/")[0]) if "/" in prefix else self._root
        try:
            found = (entry for entry in self._walk(folder) if entry.key.startswith(prefix))
            return sorted(found) if limit is None else heapq.nsmallest(limit, found)
        except OSError as error:
            raise Unreachable(f"cannot list {folder}: {error}") from error

    def delete(self, key: str, *, deadline_s: float | None = None) -> None:
        del deadline_s
        target = self._path(key)
        try:
            target.unlink(missing_ok=True)
        except OSError as error:
            raise Unreachable(f"cannot delete {target}: {error}") from error

    def _walk(self, folder: Path) -> Iterator[Listed]:
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            return  # a folder nobody has written into yet is empty
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(Path(entry.path))
            elif not entry.name.startswith(_STAGING_PREFIX):
                key = Path(entry.path).relative_to(self._root).as_posix()
                status = entry.stat(follow_symlinks=False)
                yield Listed(key=key, size=status.st_size, modified=status.st_mtime)

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if ".." in parts or key.startswith("/"):
            raise ValueError(f"{key!r} is no key: it must stay inside the folder")
        return self._root.joinpath(*parts)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _make_folder(folder: Path) -> None:
    """Create a folder and its parents, each durable in the one above it."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)

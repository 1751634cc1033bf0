"""Stands between a process and all it does to the files of one folder: also through file objects, also what it reads.

Only for a forked child: what is patched stays patched.
"""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crash.interposer import CHANGING, Call, Director, Interposer

_LOOKS = ("read", "pread", "scandir", "get", "list")


class EveryFile(Interposer):
    """As `Interposer`, with file objects, with reads and listings, and with names that are relative to a descriptor."""

    def __init__(self, root: Path, director: Director) -> None:
        super().__init__(root, director)
        self._really_open = io.open

    def install(self) -> None:
        super().install()
        for name in ("read", "pread"):
            self._patch_read(name)
        for name in ("unlink", "rmdir"):
            self._patch_relative_name(name)
        self._patch_scandir()
        io.open = builtins.open = self._opened  # type: ignore[assignment]

    def seen(self, name: str, path: str, perform: Callable[[], Any]) -> Any:
        """Let something that is no call of `os` go through the director."""
        with self._alone:
            return self._direct(perform, name=name, path=path)

    def forget(self, file: int) -> None:
        """Note that a descriptor is being closed by whoever does not ask `os` for it."""
        with self._alone:
            self._open.pop(file, None)

    def _opened(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        known = file in self._open if isinstance(file, int) else self._below(file) is not None
        if not known or opener is not None:
            return self._really_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = _Raw(self, file, "".join(letter for letter in mode if letter not in "bt"), closefd)
        if buffering == 0:
            return raw
        buffered: Any
        if "+" in mode:
            buffered = io.BufferedRandom(raw)
        else:
            buffered = io.BufferedReader(raw) if "r" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    def _patch_read(self, name: str) -> None:
        really = getattr(os, name)

        def patched(file: int, *given: int) -> bytes:
            with self._alone:
                if file not in self._open:
                    return bytes(really(file, *given))
                path, opened = self._open[file]
                return bytes(self._direct(lambda: really(file, *given), name=name, path=path, opened=opened))

        setattr(os, name, patched)

    def _patch_relative_name(self, name: str) -> None:
        by_path = getattr(os, name)

        def patched(path: Any, *, dir_fd: int | None = None) -> None:
            by_path(path if dir_fd is None else Path(f"/proc/self/fd/{dir_fd}").readlink() / path)

        setattr(os, name, patched)

    def _patch_scandir(self) -> None:
        really = os.scandir

        def patched(path: Any = ".") -> Any:
            below = self._below(path)
            if below is None:
                return really(path)
            with self._alone:
                return self._direct(lambda: really(path), name="scandir", path=below)

        os.scandir = patched  # type: ignore[assignment]


class _Raw(io.FileIO):
    """A file whose every call goes through `os`, where it is seen."""

    def __init__(self, interposer: EveryFile, file: Any, mode: str, closefd: bool) -> None:
        self._interposer = interposer
        super().__init__(file, mode, closefd, None if isinstance(file, int) else _created)  # type: ignore[arg-type]

    def write(self, data: Any) -> int:
        return os.write(self.fileno(), data)

    def readinto(self, buffer: Any) -> int:
        data = os.read(self.fileno(), len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1) -> bytes:
        return self.readall() if size is None or size < 0 else os.read(self.fileno(), size)

    def readall(self) -> bytes:
        pieces = []
        while piece := os.read(self.fileno(), 1 << 20):
            pieces.append(piece)
        return b"".join(pieces)

    def truncate(self, size: int | None = None) -> int:
        size = self.tell() if size is None else size
        os.ftruncate(self.fileno(), size)
        return size

    def close(self) -> None:
        if not self.closed:
            self._interposer.forget(self.fileno())
        super().close()


def _created(path: str, flags: int) -> int:
    return os.open(path, flags, 0o666)


def changes(call: Call) -> bool:
    """Return whether a call changes what is on disk, or makes it last."""
    if call.name == "open":
        return bool(call.flags & CHANGING)
    return call.name not in _LOOKS

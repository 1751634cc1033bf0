"""Stands between a process and `os`, so that every change to the files of one folder can be counted, broken or noted.

Only for a forked child: what is patched stays patched.
"""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

CHANGING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of `os` below the folder.

    `number` counts from 0 over the life of the process; `path` and `target` (of a rename or link, else None) are
    relative to the folder ("" is the folder itself); `size` is that of what a write was given (bytes); `opened` tells
    descriptors apart although their numbers are used again, None for calls on names; `flags` are those of an open.
    """

    number: int
    name: str
    path: str
    target: str | None = None
    size: int = 0
    data: bytes = b""
    offset: int | None = None
    opened: int | None = None
    flags: int = 0


Perform = Callable[..., Any]
"""Does what was asked for; of a write, with an argument, only that many bytes."""


class Director(Protocol):
    """Decides what becomes of a call: performs it, or not, or not quite; returns (or raises) what the caller gets."""

    def __call__(self, call: Call, perform: Perform) -> Any: ...


def perform_all(call: Call, perform: Perform) -> Any:
    """Let every call through."""
    return perform()


class Interposer:
    """From `install` on, calls that concern files below `root` go through `director`, one at a time.

    Buffered file objects go past it; that nothing does is for a comparison of what was seen with what is there.
    """

    def __init__(self, root: Path, director: Director) -> None:
        self._root = f"{os.path.realpath(root)}/"
        self._director = director
        self._alone = threading.RLock()
        self._open: dict[int, tuple[str, int]] = {}
        self._calls = 0
        self._opens = 0

    def install(self) -> None:
        """Patch `os`."""
        self._patch_open_and_close()
        for name in ("write", "pwrite"):
            self._patch_write(name)
        for name in ("fsync", "fdatasync", "ftruncate"):
            self._patch_descriptor_call(name)
        for name in ("replace", "rename", "link", "unlink", "remove", "mkdir", "rmdir"):
            self._patch_name_call(name)

    def _patch_open_and_close(self) -> None:
        really, close = os.open, os.close

        def patched(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
            below = self._below(path)
            if below is None:
                return really(path, flags, mode, **more)
            with self._alone:
                opened = self._opens
                self._opens += 1

                def perform() -> int:
                    file = really(path, flags, mode, **more)
                    self._open[file] = (below, opened)
                    return file

                return int(self._direct(perform, name="open", path=below, flags=flags, opened=opened))

        def patched_close(file: int) -> None:
            with self._alone:
                self._open.pop(file, None)
                close(file)

        os.open, os.close = patched, patched_close  # type: ignore[assignment]

    def _patch_write(self, name: str) -> None:
        really = getattr(os, name)

        def patched(file: int, data: Any, *given: int) -> int:
            with self._alone:
                if file not in self._open:
                    return int(really(file, data, *given))
                path, opened = self._open[file]
                whole = bytes(data)
                offset = given[0] if given else self._position(file)

                def perform(size: int = len(whole)) -> int:
                    return int(really(file, whole[:size], *given))

                return int(
                    self._direct(
                        perform, name=name, path=path, data=whole, size=len(whole), offset=offset, opened=opened
                    )
                )

        setattr(os, name, patched)

    def _patch_descriptor_call(self, name: str) -> None:
        really = getattr(os, name)

        def patched(file: int, *given: Any) -> None:
            with self._alone:
                if file not in self._open:
                    really(file, *given)
                    return
                path, opened = self._open[file]
                offset = given[0] if given else None
                self._direct(lambda: really(file, *given), name=name, path=path, offset=offset, opened=opened)

        setattr(os, name, patched)

    def _patch_name_call(self, name: str) -> None:
        really = getattr(os, name)

        def patched(path: Any, *given: Any, **more: Any) -> None:
            two = name in ("replace", "rename", "link")
            below, target = self._below(path), self._below(given[0]) if two else None
            if below is None and target is None:
                really(path, *given, **more)
                return
            if below is None or (two and target is None):
                raise AssertionError(f"{name} of {path} into or out of {self._root}: not modelled")
            with self._alone:
                self._direct(lambda: really(path, *given, **more), name=name, path=below, target=target)

        setattr(os, name, patched)

    def _direct(self, perform: Perform, **fields: Any) -> Any:
        call = Call(number=self._calls, **fields)
        self._calls += 1
        return self._director(call, perform)

    @staticmethod
    def _position(file: int) -> int:
        appends = fcntl.fcntl(file, fcntl.F_GETFL) & os.O_APPEND
        return os.fstat(file).st_size if appends else os.lseek(file, 0, os.SEEK_CUR)

    def _below(self, path: Any) -> str | None:
        if isinstance(path, int):
            return None
        text = os.path.abspath(os.fspath(path))  # noqa: PTH100 - as the program gave it, links and all
        if text == self._root[:-1]:
            return ""
        return text[len(self._root) :] if text.startswith(self._root) else None


@dataclass(frozen=True)
class KillAt:
    """Ends the process without warning at call `number`: `how` is `before`, `after`, or how many bytes get written."""

    number: int
    how: str | int

    def __call__(self, call: Call, perform: Perform) -> Any:
        if call.number != self.number:
            return perform()
        if self.how == "after":
            perform()
        elif isinstance(self.how, int) and call.size:
            perform(self.how % call.size)
        return die()


def die() -> NoReturn:
    """End this process as the kernel does when memory runs out: at once, and nothing of it runs any more."""
    os.kill(os.getpid(), signal.SIGKILL)
    while True:  # until the signal has reached this thread
        signal.pause()


@dataclass
class FailFrom:
    """Fails call `number` with `code`; and, where `lasting`, all after it that need room, until `mended` is called.

    `kept` bytes of a write that fails are written all the same, as a disk does that runs full.
    """

    number: int
    code: int
    lasting: bool
    kept: int = 0
    failed: int = 0
    over: bool = False

    needing_room = ("open", "write", "pwrite", "fsync", "fdatasync", "replace", "rename", "link", "mkdir")

    def mended(self) -> None:
        """Let every call through from here on."""
        self.over = self.failed > 0

    def __call__(self, call: Call, perform: Perform) -> Any:
        struck = call.number == self.number or (
            self.lasting and call.number > self.number and call.name in self.needing_room and self._needs_room(call)
        )
        if self.over or not struck:
            return perform()
        self.failed += 1
        if call.size and self.kept % call.size:
            perform(self.kept % call.size)
        if call.opened is None or call.name == "open":
            raise OSError(self.code, os.strerror(self.code), call.path)
        raise OSError(self.code, os.strerror(self.code))  # a descriptor has no name

    @staticmethod
    def _needs_room(call: Call) -> bool:
        return call.name != "open" or bool(call.flags & os.O_CREAT)


@dataclass(frozen=True)
class ShortWrites:
    """Writes at most `size` bytes a call, as the kernel may."""

    size: int

    def __call__(self, call: Call, perform: Perform) -> Any:
        return perform(min(self.size, call.size)) if call.size else perform()


@dataclass(frozen=True)
class Listing:
    """Lets every call through and keeps it in `calls`."""

    calls: list[Call]

    def __call__(self, call: Call, perform: Perform) -> Any:
        self.calls.append(call)
        return perform()


def chain(directors: Sequence[Director]) -> Director:
    """Return a director that is all of `directors`, the first one outermost."""
    *outer, last = directors
    combined: Director = last
    for director in reversed(outer):
        combined = _wrapped(director, combined)
    return combined


def _wrapped(outer: Director, inner: Director) -> Director:
    return lambda call, perform: outer(call, lambda *size: inner(call, lambda *cut: perform(*(cut or size))))

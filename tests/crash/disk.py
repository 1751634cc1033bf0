"""What a disk may hold after the power went: a model of what was made durable, and of what was only on its way.

POSIX promises of written data nothing before an fsync of the file, of names nothing before an fsync of their folder.
What real file systems leave of the rest differs, and is what ALICE (Pillai et al., OSDI 2014) and CrashMonkey (Mohan et
al., OSDI 2018) went through: writes torn at the sectors, writes of different files and changes of different names
reordered, files that have got their size but not their data. After an fsync that failed, the kernel takes the pages for
clean, so that a later one that succeeds vouches for nothing of them ("Can Applications Recover from fsync Failures?",
Rebello et al., USENIX ATC 2020).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
PAGE = 4096
Tree = dict[str, bytes | None]
"""What a folder holds: bytes of a file, None for a folder, by relative path."""


@dataclass(frozen=True, kw_only=True)
class Op:
    """A change that took place: `what` is open, write, cut, sync, unsynced (failed), move, link, unlink, mkdir, rmdir.

    `opened` names a descriptor from its open on; `said` is a word that the program told at this moment.
    """

    what: str
    path: str = ""
    target: str = ""
    opened: int = -1
    offset: int = 0
    data: bytes = b""
    made: bool = False
    emptied: bool = False
    said: tuple[str, object] | None = None


@dataclass
class _Change:
    """A piece of a file's history: `data` at `offset`, or where it is None the size became `offset`."""

    offset: int
    data: bytes | None
    doomed: bool = False

    def pages(self) -> range:
        return range(self.offset // PAGE, (self.offset + len(self.data or b"")) // PAGE + 1)


@dataclass
class _File:
    durable: bytes = b""
    pending: list[_Change] = field(default_factory=list)

    def change(self, change: _Change) -> None:
        touched = change.pages()
        for before in self.pending:
            # Writing to a page that was wrongly taken for clean has all of it written to the disk again.
            if before.doomed and before.data and before.offset // PAGE in touched:
                before.doomed = False
        self.pending.append(change)

    def sync(self) -> None:
        if any(change.doomed for change in self.pending):
            # What is doomed stays undecided: only the rest is certain, and comes after it.
            sure = [change for change in self.pending if not change.doomed]
            doomed = [change for change in self.pending if change.doomed]
            self.durable = _applied(self.durable, sure)
            size = len(_applied(self.durable, self.pending))
            self.durable = self.durable[:size].ljust(size, b"\0")
            self.pending = [
                _Change(change.offset, (change.data or b"")[: size - change.offset], doomed=True)
                for change in doomed
                if change.offset < size
            ]
        else:
            self.durable = self.live()
            self.pending = []

    def fail_to_sync(self) -> None:
        pieces = []
        for change in self.pending:
            if change.data is None:
                pieces.append(change)
                continue
            for start in _starts(change.offset, len(change.data), PAGE):
                end = min((start // PAGE + 1) * PAGE, change.offset + len(change.data))
                data = change.data[start - change.offset : end - change.offset]
                pieces.append(_Change(start, data, doomed=True))
        self.pending = pieces

    def live(self) -> bytes:
        return _applied(self.durable, self.pending)

    def after_power_loss(self, rng: random.Random, share: float, *, sizes: float) -> bytes:
        """Return what may be left: each sector that is pending with probability `share`, the size with `sizes`."""
        content = bytearray(self.durable)
        for change in self.pending:
            if change.data is None:
                if rng.random() < share:
                    _resize(content, change.offset)
                continue
            for start in _starts(change.offset, len(change.data), SECTOR):
                end = min((start // SECTOR + 1) * SECTOR, change.offset + len(change.data))
                if rng.random() < share:
                    _put(content, start, change.data[start - change.offset : end - change.offset])
        size = len(self.live())
        if len(content) < size and rng.random() < sizes:
            _resize(content, size)
        return bytes(content)


@dataclass(eq=False)
class _Rename:
    """A change of names: `sets` gives for (folder, name) the node from now on, None for nothing."""

    sets: dict[tuple[int, str], int | None]


class Disk:
    """The files of one folder, through every change, as they are and as a power loss may leave them."""

    def __init__(self, start: Mapping[str, bytes | None]) -> None:
        self._numbers = itertools.count()
        self._files: dict[int, _File] = {}
        self._folders: set[int] = set()
        self._live: dict[tuple[int, str], int | None] = {}
        self._durable: dict[tuple[int, str], int | None] = {}
        self._pending: list[_Rename] = []
        self._opened: dict[int, int] = {}
        self._root = self._new_folder()
        for path, content in sorted(start.items()):
            node = self._new_folder() if content is None else self._new_file(content)
            self._live[self._place(path)] = node
        self._durable = dict(self._live)

    def apply(self, op: Op) -> None:
        """Let a change take place."""
        if op.what == "open":
            self._open(op)
        elif op.what == "write":
            self._files[self._opened[op.opened]].change(_Change(op.offset, op.data))
        elif op.what == "cut":
            self._files[self._opened[op.opened]].change(_Change(op.offset, None))
        elif op.what in ("sync", "unsynced"):
            self._sync(self._opened[op.opened], succeeded=op.what == "sync")
        elif op.what == "move":
            source = self._place(op.path)
            self._rename({source: None, self._place(op.target): self._live[source]})
        elif op.what == "link":
            self._rename({self._place(op.target): self._live[self._place(op.path)]})
        elif op.what in ("unlink", "rmdir"):
            self._rename({self._place(op.path): None})
        elif op.what == "mkdir":
            self._rename({self._place(op.path): self._new_folder()})
        elif op.what != "said":
            raise AssertionError(f"unknown change {op.what}")

    def live(self) -> Tree:
        """Return what every process sees now."""
        return self._tree(self._live, {number: file.live() for number, file in self._files.items()})

    def after_power_loss(self, rng: random.Random, *, kept: float | None = None, sizes: float | None = None) -> Tree:
        """Return what may be there when the power comes back.

        `kept` is the probability that something pending has reached the disk, `sizes` that a file has got the size of
        what it lacks (NULs then); where None, drawn anew for each file and each folder's names.
        """
        names = dict(self._durable)
        shares: dict[int, float] = {}
        ordered = rng.random() < 0.5  # as a journal keeps them
        for rename in self._pending:
            folder = min(folder for folder, _ in rename.sets)
            if folder not in shares:
                shares[folder] = kept if kept is not None else rng.choice((0.0, 0.5, 0.8, 1.0))
            if rng.random() < shares[folder]:
                names.update(rename.sets)
            elif ordered:
                shares[folder] = 0.0
        contents = {}
        for number, file in self._files.items():
            share = kept if kept is not None else rng.choice((0.0, 0.5, 0.9, 1.0))
            size = sizes if sizes is not None else rng.choice((0.0, 0.0, 1.0))
            contents[number] = file.after_power_loss(rng, share, sizes=size)
        return self._tree(names, contents)

    def _open(self, op: Op) -> None:
        place = self._place(op.path) if op.path else None
        if op.made and place is not None:
            self._rename({place: self._new_file(b"")})
        node = self._root if place is None else self._live[place]
        assert node is not None, op
        self._opened[op.opened] = node
        if op.emptied:
            self._files[node].change(_Change(0, None))

    def _sync(self, node: int, *, succeeded: bool) -> None:
        if node in self._files:
            if succeeded:
                self._files[node].sync()
            else:
                self._files[node].fail_to_sync()
        elif succeeded:
            for rename in [rename for rename in self._pending if any(folder == node for folder, _ in rename.sets)]:
                self._durable.update(rename.sets)
                self._pending.remove(rename)

    def _rename(self, sets: dict[tuple[int, str], int | None]) -> None:
        self._live.update(sets)
        self._pending.append(_Rename(sets))

    def _place(self, path: str) -> tuple[int, str]:
        """Return the folder's node and the last name of `path`."""
        folder = self._root
        *parents, name = path.split("/")
        for parent in parents:
            node = self._live[folder, parent]
            assert node is not None, path
            folder = node
        return folder, name

    def _new_file(self, content: bytes) -> int:
        number = next(self._numbers)
        self._files[number] = _File(durable=content)
        return number

    def _new_folder(self) -> int:
        number = next(self._numbers)
        self._folders.add(number)
        return number

    def _tree(self, names: dict[tuple[int, str], int | None], contents: dict[int, bytes]) -> Tree:
        found: Tree = {}

        def walk(folder: int, prefix: str) -> None:
            for (parent, name), node in names.items():
                if parent != folder or node is None:
                    continue
                found[prefix + name] = contents.get(node)
                if node in self._folders:
                    walk(node, f"{prefix}{name}/")

        walk(self._root, "")
        return found


def _starts(offset: int, size: int, step: int) -> list[int]:
    """Return where a stretch begins in each of the blocks of `step` bytes that it touches."""
    if not size:
        return []
    return [offset, *range((offset // step + 1) * step, offset + size, step)]


def _applied(content: bytes, changes: list[_Change]) -> bytes:
    result = bytearray(content)
    for change in changes:
        if change.data is None:
            _resize(result, change.offset)
        else:
            _put(result, change.offset, change.data)
    return bytes(result)


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        _resize(content, offset)
    content[offset : offset + len(data)] = data


def _resize(content: bytearray, size: int) -> None:
    del content[size:]
    content.extend(bytes(size - len(content)))


def tree_of(root: Path) -> Tree:
    """Return what the folder `root` holds."""
    return {
        path.relative_to(root).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in sorted(root.rglob("*"))
    }


def lay_out(tree: Mapping[str, bytes | None], root: Path) -> None:
    """Make `root` a new folder that holds `tree`."""
    root.mkdir()
    for path, content in sorted(tree.items()):
        if content is None:
            (root / path).mkdir()
        else:
            (root / path).write_bytes(content)

"""An experiment on reins: it changes a file when it is let, so that each schedule meets it at the same places.

What it has made visible goes into a truth log, which no node's death reaches.
"""

from __future__ import annotations

import hashlib
import os
import random
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crash.every_file import changes
from crash.interposer import Call, Perform

_CUT_SHORT = 0.3
"""Part of the writes that the experiment makes in two, and is caught between them."""
_hear, _say = os.read, os.write


@dataclass(frozen=True)
class Bridle:
    """The two pipes between an experiment and whoever lets it go on: a byte for each step, and one back."""

    heard: int
    telling: int
    hearing: int
    said: int

    @classmethod
    def made(cls) -> Bridle:
        """Make the pipes."""
        heard, telling = os.pipe()
        hearing, said = os.pipe()
        return cls(heard, telling, hearing, said)

    def close(self) -> None:
        """Close all ends."""
        for end in (self.heard, self.telling, self.hearing, self.said):
            os.close(end)


class Reins:
    """The end of the pipes at which somebody lets the experiment go on."""

    def __init__(self, bridle: Bridle) -> None:
        self.alone = threading.RLock()
        self.ended = False
        self._bridle = bridle

    def advance(self, steps: int = 1) -> None:
        """Let the experiment change files so many times; it waits before the next one when this returns."""
        with self.alone:
            for _ in range(steps):
                _say(self._bridle.telling, b".")
                self.ended = _hear(self._bridle.hearing, 1) == b"e"


class Gate:
    """The director of an experiment: holds it back before each change until it is let, and notes what came of it.

    `truth` is the file to which each content that a file of `root` has had is added: path and digest.
    """

    def __init__(self, bridle: Bridle, root: Path, truth: Path, rng: random.Random) -> None:
        self._bridle = bridle
        self._root = root
        self._rng = rng
        self._has_moved = False
        self._truth = os.open(truth, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._known = _contents(root, {})

    def __call__(self, call: Call, perform: Perform) -> Any:
        if not changes(call) or call.path.startswith(".sweep"):
            return perform()
        self._arrive()
        if call.size > 1 and self._rng.random() < _CUT_SHORT:
            done = perform(self._rng.randrange(1, call.size))
        else:
            done = perform()
        found = _contents(self._root, self._known)
        new = [(path, *seen[1:]) for path, seen in found.items() if self._known.get(path) != seen]
        self._known = found
        _say(self._truth, "".join(f"{path}\t{whole}\t{lines}\n" for path, whole, lines in new).encode())
        return done

    def pause(self, seconds: float) -> None:
        """Be held back once where the experiment waits for something."""
        self._arrive()

    def run_out(self) -> None:
        """Say at every step from now on that the experiment has ended."""
        while True:
            if self._has_moved:
                _say(self._bridle.said, b"e")
            _hear(self._bridle.heard, 1)
            self._has_moved = True

    def _arrive(self) -> None:
        if self._has_moved:
            _say(self._bridle.said, b"w")
        _hear(self._bridle.heard, 1)
        self._has_moved = True


Seen = tuple[tuple[int, int, int], str, str]


def _contents(root: Path, known: dict[str, Seen]) -> dict[str, Seen]:
    """Return by path what tells each file's state: status, digest, and digest of its whole lines."""
    found = {}
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name != ".sweep"]
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), root)  # noqa: PTH118 - this runs at every step
            status = (root / path).stat()
            mark = (status.st_ino, status.st_size, status.st_mtime_ns)
            before = known.get(path)
            if before is not None and before[0] == mark:
                found[path] = before
                continue
            file = _really_opened(root / path)
            found[path] = (mark, digest_of(file), digest_of(file[: file.rfind(b"\n") + 1]))
    return found


def _really_opened(path: Path) -> bytes:
    file = _open(path, os.O_RDONLY)
    try:
        return b"".join(iter(lambda: _hear(file, 1 << 20), b""))
    finally:
        _close(file)


_open, _close = os.open, os.close


def digest_of(data: bytes) -> str:
    """Return the digest under which the truth log knows a content."""
    return hashlib.sha256(data).hexdigest()


def visible_states(truth: Path) -> dict[str, set[str]]:
    """Return by path the digests of all contents that a truth log has of it, and of their whole lines."""
    states: dict[str, set[str]] = {}
    for line in truth.read_text(encoding="utf-8").splitlines() if truth.exists() else []:
        path, whole, lines = line.split("\t")
        states.setdefault(path, set()).update((whole, lines))
    return states

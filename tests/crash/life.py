"""One life of a program: forked from a warm process, which costs milliseconds, and told of through a pipe."""

from __future__ import annotations

import gc
import os
import pickle
import selectors
import signal
import struct
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crash.interposer import Director, Interposer, perform_all

_LENGTH = struct.Struct("<I")
_LONGEST = 120
"""Seconds after which a life is ended (by SIGALRM): a program that hangs must not hold up those who wait for it."""
_pipe_write = os.write


@dataclass
class Life:
    """What became of a process: `said` are the words it told, `status` its exit status, negative for a signal.

    `error` is the traceback it ended with.
    """

    said: list[tuple[str, Any]] = field(default_factory=list)
    status: int = 0
    error: str = ""

    @property
    def killed(self) -> bool:
        return self.status == -signal.SIGKILL

    def values(self, word: str) -> list[Any]:
        """Return what was told under `word`, in order."""
        return [value for said, value in self.said if said == word]

    def __str__(self) -> str:
        words = " ".join(f"{word}={value!r:.60}" for word, value in self.said[-6:])
        return f"status {self.status}, ... {words}\n{self.error}"


Tell = Callable[[str, Any], None]
Heard = Callable[[str, Any], None]


def lived(
    run: Callable[[Path, Tell], None],
    root: Path,
    director: Director | None = perform_all,
    *,
    heard: Heard | None = None,
    at_end: Callable[[Tell], None] | None = None,
) -> Life:
    """Run `run(root, tell)` in a forked child whose calls of `os` below `root` go through `director` (None: untouched).

    `heard` is called in the child for each word as it is told; `at_end` in the child when `run` has ended, however.
    """
    (life,) = ended([begun(run, root, director, heard=heard, at_end=at_end)])
    return life


def begun(
    run: Callable[[Path, Tell], None],
    root: Path,
    director: Director | None = perform_all,
    *,
    heard: Heard | None = None,
    at_end: Callable[[Tell], None] | None = None,
) -> tuple[int, int]:
    """Start a life; return its process id and the pipe to give to `ended`."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    status = 70
    try:
        os.setpgid(0, 0)  # so that its children end with it
        signal.alarm(_LONGEST)
        os.close(reading)
        status = _live(run, root, director, writing, heard, at_end)
    finally:
        os._exit(status)


def ended(processes: Sequence[tuple[int, int]], *, kill_after: Sequence[int] | None = None) -> list[Life]:
    """Read what the lives have to say until the end of each; kill each after the bytes that `kill_after` says."""
    pieces: dict[int, list[bytes]] = {pipe: [] for _, pipe in processes}
    with selectors.DefaultSelector() as readable:
        for number, (_, pipe) in enumerate(processes):
            readable.register(pipe, selectors.EVENT_READ, number)
        while readable.get_map():
            for key, _ in readable.select():
                pid, pipe = processes[key.data]
                piece = os.read(pipe, 1 << 16)
                pieces[pipe].append(piece)
                if not piece:
                    readable.unregister(pipe)
                    os.close(pipe)
                elif kill_after is not None and sum(map(len, pieces[pipe])) >= kill_after[key.data]:
                    os.killpg(pid, signal.SIGKILL)
    return [_life(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), b"".join(pieces[pipe])) for pid, pipe in processes]


def _life(status: int, data: bytes) -> Life:
    life = Life(status=status)
    for word, value in _frames(data):
        if word == "error":
            life.error = value
        else:
            life.said.append((word, value))
    return life


def _live(
    run: Callable[[Path, Tell], None],
    root: Path,
    director: Director | None,
    pipe: int,
    heard: Heard | None,
    at_end: Callable[[Tell], None] | None,
) -> int:
    sys.settrace(None)  # nobody counts the lines of a process that will not live to report them
    gc.disable()  # it would write to, and so copy, every page that is shared with the parent
    _take_away_the_pod()
    _stand_still()
    alone = threading.Lock()

    def send(word: str, value: Any) -> None:
        data = pickle.dumps((word, value))
        frame = _LENGTH.pack(len(data)) + data
        with alone:
            while frame:
                frame = frame[_pipe_write(pipe, frame) :]

    def tell(word: str, value: Any) -> None:
        if heard is not None:
            heard(word, value)
        send(word, value)

    def note(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        tell("warned", f"{category.__name__}: {message}")

    warnings.resetwarnings()
    warnings.simplefilter("always")
    warnings.showwarning = note  # type: ignore[assignment]
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    interposer = Interposer(root, director) if director is not None else None
    if interposer is not None:
        interposer.install()
    status = 0
    try:
        run(root, tell)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        send("error", traceback.format_exc())
        status = 1
    if at_end is not None:
        at_end(send)
    return status


def _frames(data: bytes) -> list[tuple[str, Any]]:
    found, place = [], 0
    while place + _LENGTH.size <= len(data):
        (length,) = _LENGTH.unpack_from(data, place)
        place += _LENGTH.size + length
        if place > len(data):  # it was killed in the middle of a word
            break
        found.append(pickle.loads(data[place - length : place]))
    return found


def _take_away_the_pod() -> None:
    for name in list(os.environ):
        if name.startswith("SWEEP_"):
            del os.environ[name]


def _stand_still() -> None:
    """Give the wall clock steps of its own, so that the same schedule writes the same bytes."""
    step = iter(range(1, 1 << 40))
    time.time = lambda: 1_700_000_000.0 + next(step)  # type: ignore[assignment]

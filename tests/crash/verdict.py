"""What must hold after every life and at the end, whatever happened."""

from __future__ import annotations

import functools
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crash.interposer import Call, Listing
from crash.life import Life, Tell, lived
from crash.program import LOG, Program
from crash.programs import PROGRAMS
from crash.reading import Reading, lost, reading_of, unsettled, wrong_results

_MOST_LIVES = 12


@dataclass(frozen=True)
class Oracle:
    """What the program comes to when nothing happens: its results in order, and what its log says.

    `calls` are the calls of `os` of its first life.
    """

    completed: str
    results: dict[str, Any]
    skipped: frozenset[str]
    gave_up: frozenset[str]
    calls: tuple[Call, ...]


@functools.cache
def oracle_of(name: str) -> Oracle:
    """Return what the program of that name comes to, uninterrupted."""
    program = PROGRAMS[name]
    with fresh_folder() as folder:
        root = prepared(program, folder)
        calls: list[Call] = []
        first = lived(program.run, root, Listing(calls), at_end=lambda tell: _tell_all(tell, calls))
        if first.status != 0:
            raise AssertionError(f"the program {name} does not run: {first}")
        _import_all(first.values("modules")[0])
        last = finished(program, root)
        if isinstance(last, str):
            raise AssertionError(f"the program {name} does not end: {last}")
        reading = reading_of(root / LOG)
        return Oracle(
            completed=completed_of(last),
            results=reading.results,
            skipped=frozenset(reading.skipped),
            gave_up=frozenset(reading.gave_up),
            calls=tuple(first.values("listing")[0]),
        )


def _tell_all(tell: Tell, calls: list[Call]) -> None:
    tell("listing", calls)
    tell("modules", sorted(sys.modules))


def _import_all(modules: Sequence[str]) -> None:
    """Import what the program has imported on its way, so that not every life does so again."""
    for name in modules:
        if name not in sys.modules:
            with suppress(ImportError):
                importlib.import_module(name)


@contextmanager
def fresh_folder() -> Iterator[Path]:
    """Yield a folder that goes away again; in memory where possible: a kill leaves the same on every file system."""
    memory = Path("/dev/shm")
    where = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="resumable-sweep-crash-", dir=where))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def prepared(program: Program, folder: Path) -> Path:
    """Make what is there before the program's first life, and return its folder."""
    root = folder / "root"
    root.mkdir()
    life = lived(lambda root, tell: program.prepare(root), root)
    if life.status != 0:
        raise AssertionError(f"the program {program.name} cannot be prepared: {life}")
    return root


def finished(program: Program, root: Path) -> Life | str:
    """Let the program live until it finds nothing left to do; return its last life, or what is wrong."""
    for _ in range(_MOST_LIVES):
        life = lived(program.run, root)
        if life.status != 0:
            return f"it does not come up again: {life}"
        if not life.values("ran"):
            return life
    return f"after {_MOST_LIVES} lives it still finds work: {life}"


def after_each_life(program: Program, root: Path, lives: Sequence[Life], *, bound: int, whole: bool) -> list[str]:
    """Return what is wrong with what `lives` left; `whole` where nothing of the log may be damaged."""
    wrong = []
    reading = reading_of(root / LOG)
    if missing := lost(reading, [key for life in lives for key in promised(life, bound)]):
        wrong.append(f"lost although record had returned: {missing}")
    wrong += wrong_results(reading, oracle_of(program.name).results)
    wrong += _falsely_complete(program, reading)
    most = program.parameters.get("max_attempts", 3)
    wrong += [f"{key} failed {n} times, at most {most} were allowed" for key, n in reading.failures.items() if n > most]
    if whole and reading.damaged:
        wrong.append(f"{reading.damaged} lines are damaged")
    if whole:
        wrong += [f"it warned: {text}" for life in lives for text in life.values("warned")]
    return wrong


def at_the_end(program: Program, root: Path, lives: Sequence[Life], *, bound: int, whole: bool) -> list[str]:
    """Finish the program, and return what is wrong with what it comes to."""
    last = finished(program, root)
    if isinstance(last, str):
        return [last]
    wrong = after_each_life(program, root, [*lives, last], bound=bound, whole=whole)
    oracle = oracle_of(program.name)
    reading = reading_of(root / LOG)
    if completed_of(last) != oracle.completed:
        wrong.append(f"the results are {completed_of(last):.300}, not {oracle.completed:.300}")
    if reading.results != oracle.results or list(reading.results) != list(dict.fromkeys(reading.results)):
        wrong.append("the log's results are others")
    if reading.skipped != oracle.skipped:
        wrong.append(f"skipped are {sorted(reading.skipped)}, not {sorted(oracle.skipped)}")
    if reading.gave_up != oracle.gave_up:
        wrong.append(f"failed for good are {sorted(reading.gave_up)}, not {sorted(oracle.gave_up)}")
    wrong += ran_again(lives, bound=bound)
    wrong += [f"{path.name} was left behind" for path in _temporaries(root / LOG)]
    return wrong


def _temporaries(log: Path) -> list[Path]:
    return [*log.parent.glob(f".{log.name}*.tmp.*"), *log.parent.glob(f"{log.name}.files/.*.tmp.*")]


def promised(life: Life, bound: int) -> list[str]:
    """Return the keys of the items whose end the library had taken and promised to keep: not the last `bound`."""
    told = [key for word, key in life.said if word in ("recorded", "failed")]
    return told[: len(told) - bound]


def ran_again(lives: Sequence[Life], *, bound: int = 0) -> list[str]:
    """Return which items ran although an earlier life had been told that they are recorded."""
    known: set[str] = set()
    wrong = []
    for life in lives:
        again = known & set(life.values("ran"))
        wrong += [f"{key} ran again although it was recorded" for key in sorted(again)]
        known |= set(promised(life, bound)) & set(life.values("recorded"))
    return wrong


def _falsely_complete(program: Program, reading: Reading) -> list[str]:
    if reading.completion is None:
        return []
    total, settled = reading.completion["total"], len(set(reading.results) | reading.skipped)
    if total != settled:
        return [f"called complete with {total} items of which {settled} are settled"]
    left = unsettled(reading, program.keys)
    # A log of fewer items, as the program found it, stays complete until it is gone on with.
    return [f"called complete without {left}"] if left and total >= len(program.keys) else []


def completed_of(life: Life) -> str:
    """Return the results that a life found recorded, in order, as text that is the same for the same results only."""
    return "\n".join(map(repr, life.values("replayed")[0]))

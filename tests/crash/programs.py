"""The standard programs: sweeps as people write them, small enough that every call they make can be tried."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crash.life import Tell
from crash.reading import named
from resumable_sweep import ResumableSweep

LOG = "out/results.jsonl"
Repair = Callable[[], None]


def nothing(root: Path) -> None:
    """Prepare nothing."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A sweep over `items` (mappings with a `key`) with the library's `parameters`.

    `prepare(root)` makes what is there before its first life. Of records that returned, the last `kill_bound` may be
    lost by a kill and the last `power_bound` by a power loss: those that the library did not promise.
    """

    name: str
    items: tuple[dict[str, Any], ...]
    parameters: dict[str, Any] = field(default_factory=dict)
    source: str | None = None
    prepare: Callable[[Path], None] = nothing
    work: Callable[[ResumableSweep, dict[str, Any], Tell, Path], None]
    power_bound: int = 0
    kill_bound: int = 0

    def run(self, root: Path, tell: Tell, repair: Repair | None = None) -> None:
        """Run the sweep; where `repair` is given, an error of the disk is repaired and the call made again."""
        parameters = dict(self.parameters)
        if self.source is not None:
            parameters["resume_from"] = root / self.source
        with ResumableSweep(self.items, checkpoint_path=root / LOG, **parameters) as sweep:
            tell("replayed", sweep.completed)
            for item in sweep.pending:
                tell("ran", named(item["key"]))
                self._work(sweep, item, tell, root, repair)
        tell("ended", None)

    def _work(self, sweep: ResumableSweep, item: dict[str, Any], tell: Tell, root: Path, repair: Repair | None) -> None:
        try:
            self.work(sweep, item, tell, root)
        except OSError as error:
            if repair is None:
                raise
            tell("seen", f"{type(error).__name__}: {error}")
            repair()
            self.work(sweep, item, tell, root)


def result_of(item: dict[str, Any]) -> Any:
    """Return the result of an item: the same in every life, of another length for every item."""
    return {"square": item["x"] ** 2, "text": "ä" * (item["x"] * 7 % 50), "loss": [item["x"] / 7, float("inf")]}


def record(sweep: ResumableSweep, item: dict[str, Any], tell: Tell, root: Path) -> None:
    """Record the item's result."""
    sweep.record(item, result_of(item))
    tell("recorded", named(item["key"]))


def items(*numbers: int) -> tuple[dict[str, Any], ...]:
    """Return items whose keys are of different types."""
    return tuple({"key": f"{x}" if x % 3 else x, "x": x} for x in numbers)


def in_place(root: Path) -> Program:
    """Return the program that `prepare` functions run in the folder `root` before the first life of another."""
    return Program(name="before", items=items(*range(3)), work=record)


def _finished(root: Path) -> None:
    in_place(root).run(root, lambda word, value: None)


def _elsewhere(root: Path) -> None:
    _finished(root / "elsewhere")
    shutil.move(root / "elsewhere" / "out", root / "before")
    (root / "elsewhere").rmdir()


def _half(root: Path) -> None:
    """Leave a log whose sweep was cut off in the middle of its third line."""
    _finished(root)
    log = root / LOG
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:2]) + lines[2][:20])


def _each(programs: Sequence[Program]) -> dict[str, Program]:
    return {program.name: program for program in programs}


CALL_BY_CALL = _each(
    [
        Program(name="durable", items=items(*range(6)), work=record),
        Program(name="torn", items=items(*range(4)), work=record, prepare=_half),
        Program(name="reopened", items=items(*range(5)), work=record, prepare=_finished),
        Program(name="moved", items=items(*range(5)), work=record, prepare=_elsewhere, source="before/results.jsonl"),
    ]
)
"""So small that every call can be tried."""
BUSY = _each([Program(name="many", items=items(*range(300)), work=record)])
"""So long that a kill finds them at work."""
PROGRAMS = {**CALL_BY_CALL, **BUSY}
PROCESSES = 8
"""How many are started on one log."""

"""The standard programs: sweeps as people write them, small enough that every call they make can be tried."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crash.life import Tell
from crash.reading import named, reading_of
from resumable_sweep import ResumableSweep

LOG = "out/results.jsonl"
Repair = Callable[[], None]


def nothing(root: Path) -> None:
    """Prepare nothing."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A sweep over `items` (mappings with a `key`) with the library's `parameters`, of which `paths` lie in its folder.

    `prepare(root)` makes what is there before its first life. Of records that returned, the last `kill_bound` may be
    lost by a kill and the last `power_bound` by a power loss: those that the library did not promise. `share` is its
    shard, and of how many.
    """

    name: str
    items: tuple[dict[str, Any], ...]
    parameters: dict[str, Any] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[Path], None] = nothing
    work: Callable[[ResumableSweep, dict[str, Any], Tell, Path], None]
    power_bound: int = 0
    kill_bound: int = 0
    share: tuple[int, int] = (0, 1)

    @property
    def keys(self) -> list[Any]:
        """The keys of the items that are this program's to do."""
        return [item["key"] for item in self.items[self.share[0] :: self.share[1]]]

    def run(self, root: Path, tell: Tell, repair: Repair | None = None) -> None:
        """Run the sweep; where `repair` is given, an error of the disk is repaired and the call made again."""
        paths = {name: root / path for name, path in self.paths.items()}
        parameters = {"script": False, **self.parameters, **paths}
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


def record_large(sweep: ResumableSweep, item: dict[str, Any], tell: Tell, root: Path) -> None:
    """Record a result that goes into a side file; of every second item the same one."""
    sweep.record(item, {"weights": bytes([item["x"] % 2]) * 70_000, "of": item["x"]})
    tell("recorded", named(item["key"]))


def try_and_skip(sweep: ResumableSweep, item: dict[str, Any], tell: Tell, root: Path) -> None:
    """Do an item that works, always fails, fails the first time, or is skipped, by its number."""
    name = named(item["key"])
    if item["x"] % 5 == 3:
        sweep.skip(item, "too large for this machine")
        tell("recorded", name)
        return
    fails = item["x"] % 5 == 1 or (item["x"] % 5 == 2 and name not in reading_of(root / LOG).failed)
    with sweep.trying(item):
        if fails:
            raise ValueError(f"item {item['x']} does not work")
        record(sweep, item, tell, root)
    if fails:
        tell("failed", name)


def record_by_chance(sweep: ResumableSweep, item: dict[str, Any], tell: Tell, root: Path) -> None:
    """Record a result that hangs on the item's seed."""
    seed = sweep.seed_of(item)
    sweep.record(item, [seed.integer(), seed.random().random()])
    tell("recorded", named(item["key"]))


def items(*numbers: int) -> tuple[dict[str, Any], ...]:
    """Return items whose keys are of different types."""
    return tuple({"key": f"{x}" if x % 3 else x, "x": x} for x in numbers)


def _silent(word: str, value: Any) -> None:
    """Tell nobody."""


def _finished(root: Path, count: int = 3, **parameters: Any) -> None:
    program = Program(name="before", items=items(*range(count)), work=record, parameters=parameters)
    program.run(root, _silent)


def _elsewhere(root: Path, **parameters: Any) -> None:
    _finished(root / "elsewhere", **parameters)
    shutil.move(root / "elsewhere" / "out", root / "before")
    (root / "elsewhere").rmdir()


def _large_elsewhere(root: Path) -> None:
    program = Program(name="before", items=items(*range(3)), work=record_large)
    program.run(root / "elsewhere", _silent)
    shutil.move(root / "elsewhere" / "out", root / "before")
    (root / "elsewhere").rmdir()


def _half(root: Path) -> None:
    """Leave a log whose sweep was cut off in the middle of its last line."""
    _finished(root)
    log = root / LOG
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-2]) + lines[-2][:20])
    log.with_name(f"{log.name}.manifest.json").unlink()


def _scripted(root: Path) -> None:
    (root / "script.py").write_text("print('the experiment')\n", encoding="utf-8")


def _version_1(root: Path) -> None:
    """Leave a log of the schema before this one, without its manifest."""
    (root / LOG).parent.mkdir()
    entries: list[dict[str, Any]] = [
        {"kind": "header", "schema_version": 1, "run_id": None, "shard": 0, "shards": 1, "created": 1.0}
    ]
    for item in items(*range(2)):
        done = {"kind": "done", "key": item["key"], "result": result_of(item)}
        entries.append({**done, "attempt": None, "host": "h", "started": 1.0, "ended": 2.0})
    lines = [json.dumps(entry, separators=(",", ":"), ensure_ascii=False) + "\n" for entry in entries]
    (root / LOG).write_text("".join(lines), encoding="utf-8")


def _each(programs: Sequence[Program]) -> dict[str, Program]:
    return {program.name: program for program in programs}


FIVE = items(*range(5))
CALL_BY_CALL = _each(
    [
        Program(name="durable", items=items(*range(6)), work=record),
        Program(name="torn", items=items(*range(4)), work=record, prepare=_half),
        Program(name="reopened", items=FIVE, work=record, prepare=_finished),
        Program(name="version-1", items=items(*range(4)), work=record, prepare=_version_1),
        Program(
            name="moved", items=FIVE, work=record, prepare=_elsewhere, paths={"resume_from": "before/results.jsonl"}
        ),
        Program(
            name="resharded",
            items=items(*range(8)),
            parameters={"shard": (1, 3)},
            share=(1, 3),
            work=record,
            prepare=lambda root: _elsewhere(root, count=8, shard=(1, 2)),
            paths={"resume_from": "before/results.jsonl"},
        ),
        Program(name="grouped", items=items(*range(8)), parameters={"checkpoint_every": 3}, work=record, power_bound=2),
        Program(
            name="tried",
            items=items(*range(7)),
            parameters={"max_attempts": 2, "on_error": "ignore"},
            work=try_and_skip,
        ),
        Program(name="large", items=items(*range(3)), work=record_large),
        Program(
            name="large-moved",
            items=items(*range(4)),
            work=record_large,
            prepare=_large_elsewhere,
            paths={"resume_from": "before/results.jsonl"},
        ),
        Program(
            name="configured",
            items=items(*range(3)),
            parameters={"config": {"lr": 0.1, "layers": [4, 2]}, "seed": 7, "run_id": "run-7", "random_state": True},
            paths={"script": "script.py"},
            work=record_by_chance,
            prepare=_scripted,
        ),
    ]
)
"""So small that every call can be tried."""
BUSY = _each(
    [
        Program(name="many", items=items(*range(300)), work=record),
        Program(name="waiting", items=items(*range(300)), parameters={"lock_timeout": 60.0}, work=record),
        Program(name="many-grouped", items=items(*range(300)), parameters={"checkpoint_every": 20}, work=record),
    ]
)
"""So long that a kill finds them at work."""
PROGRAMS = {**CALL_BY_CALL, **BUSY}
PROCESSES = 8
"""How many are started on one log."""

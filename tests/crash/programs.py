"""The standard programs: small enough that every call they make can be tried, or long enough to be met at work."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crash.program import (
    LOG,
    Program,
    in_children,
    in_threads,
    items,
    record,
    record_by_chance,
    record_large,
    result_of,
    try_and_skip,
)


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
        Program(name="threaded", items=items(*range(6)), work=record, drive=in_threads),
        Program(name="one-by-one", items=items(*range(4)), work=record, one_by_one=True),
        Program(name="exported", items=items(*range(3)), work=record, paths={"progress_json": "out/progress"}),
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
        Program(name="in-children", items=items(*range(120)), work=record, drive=in_children),
        Program(name="in-threads", items=items(*range(300)), work=record, drive=in_threads),
        Program(name="many-grouped", items=items(*range(300)), parameters={"checkpoint_every": 20}, work=record),
    ]
)
"""So long that a kill finds them at work."""
PROGRAMS = {**CALL_BY_CALL, **BUSY}
PROCESSES = 8
"""How many are started on one log."""

"""Bits flip, files are cut off or go missing: then the results are the same, or a refusal names the file and the mend.

Never a wrong result in silence.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

from crash.disk import Tree, lay_out, tree_of
from crash.interposer import KillAt
from crash.life import Life, lived
from crash.program import LOG, Program
from crash.programs import CALL_BY_CALL, PROGRAMS
from crash.reading import reading_of
from crash.schedules import Kind, Schedule
from crash.verdict import completed_of, finished, fresh_folder, oracle_of, prepared

_BYTE_BY_BYTE = ("durable",)
"""The program in whose files every byte is tried, but for large files and those for people; in all others some."""
_READ_BACK = (".jsonl", ".manifest.json", ".sweep.json")
_SOME = 30
_LARGE = 16_384
_CUTS = 12
_KILLED = 0.2
"""The share of lives on something damaged that are killed on top of it."""


@functools.cache
def victims(name: str) -> dict[str, Tree]:
    """Return the files of the program of that name, as its end leaves them and as a kill in the middle does."""
    program = PROGRAMS[name]
    found = {}
    for state, calls in (("ended", None), ("killed", len(oracle_of(name).calls) * 2 // 3)):
        with fresh_folder() as folder:
            root = prepared(program, folder)
            if calls is None:
                finished(program, root)
            else:
                lived(program.run, root, KillAt(calls, "after"))
            found[state] = tree_of(root)
    return found


def schedules() -> Iterator[Schedule]:
    """Yield a flipped bit in every byte (of some files in some), each file cut off, emptied and removed."""
    for name in CALL_BY_CALL:
        for state, tree in victims(name).items():
            for path, content in tree.items():
                if content is None:
                    continue
                every_byte = name in _BYTE_BY_BYTE and path.endswith(_READ_BACK) and len(content) < _LARGE
                step = 1 if every_byte else max(1, len(content) // _SOME)
                place = path.replace("/", ":")
                for at in range(0, len(content), step):
                    yield Schedule("damage", name, at, f"{state}-flip-{place}")
                for cut in sorted({len(content) * part // _CUTS for part in range(_CUTS)}):
                    yield Schedule("damage", name, cut, f"{state}-cut-{place}")
                yield Schedule("damage", name, 0, f"{state}-remove-{place}")


def tried(schedule: Schedule) -> list[str]:
    """Damage a file as the schedule says, and let the program finish on what is left, some after another kill."""
    program = PROGRAMS[schedule.program]
    state, what, place = schedule.how.split("-", 2)
    path = place.replace(":", "/")
    tree = dict(victims(schedule.program)[state])
    content = tree[path]
    assert content is not None
    if what == "remove":
        del tree[path]
    elif what == "cut":
        tree[path] = content[: schedule.at]
    else:
        flipped = content[schedule.at] ^ (1 << schedule.rng.randrange(8))
        tree[path] = content[: schedule.at] + bytes([flipped]) + content[schedule.at + 1 :]
    with fresh_folder() as folder:
        root = folder / "root"
        lay_out(tree, root)
        rng = schedule.rng
        if rng.random() < _KILLED:
            lived(program.run, root, KillAt(rng.randrange(len(oracle_of(program.name).calls)), "before"))
        last = finished(program, root)
        if isinstance(last, Life):
            return _differences(program, last) + _left_alone(root / LOG)
        wrong = [] if _is_refusal(last, Path(path).name) else [f"neither the same results nor a refusal: {last}"]
        if tree_of(root).get(path) != tree.get(path):
            wrong.append("it refused, and changed the file all the same")
        return wrong


def _differences(program: Program, last: Life) -> list[str]:
    found, wanted = completed_of(last), oracle_of(program.name).completed
    if program.one_by_one:
        # Such results are replayed as they were done, and what was damaged was done again, after the others.
        found, wanted = ("\n".join(sorted(text.split("\n"))) for text in (found, wanted))
    if found != wanted:
        return [f"in silence the results are {found:.300}, not {wanted:.300}"]
    return []


def _left_alone(log: Path) -> list[str]:
    reading = reading_of(log)
    return [f"{reading.damaged} damaged lines were left in the log"] if reading.damaged else []


def _is_refusal(text: str, name: str) -> bool:
    """Return whether the program ended with one of the library's errors that names the file and says what to do."""
    lines = text.rstrip().splitlines()
    last = next((line for line in reversed(lines) if line.startswith("resumable_sweep.")), "")
    return name.split(".")[0] in last and any(word in last for word in (": ", "remove", "move", "install"))


KIND = Kind("damage", schedules, tried)

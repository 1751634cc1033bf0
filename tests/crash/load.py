"""Real processes under load, killed whenever it happens to be, and several of them started on one log."""

from __future__ import annotations

from collections.abc import Iterator

from crash.life import Life, begun, ended
from crash.program import Program
from crash.programs import BUSY, PROCESSES, PROGRAMS
from crash.reading import named
from crash.schedules import Kind, Schedule
from crash.verdict import after_each_life, at_the_end, fresh_folder, prepared, ran_again

_SEEDS = 20
_HOW = ("alone", "together")
_MOST_SAID = 12_000
"""Bytes; a life of these programs says about twice that."""


def schedules() -> Iterator[Schedule]:
    """Yield lives of the busy programs, killed one after the other or several at a time."""
    for name in BUSY:
        for how in _HOW:
            for seed in range(_SEEDS):
                yield Schedule("load", name, 0, how, seed)


def tried(schedule: Schedule) -> list[str]:
    """Start and kill as the schedule says, and let the program finish."""
    program = PROGRAMS[schedule.program]
    rng = schedule.rng
    with fresh_folder() as folder:
        root = prepared(program, folder)
        lives: list[Life] = []
        for _ in range(rng.randint(1, 5)):
            count = 1 if schedule.how == "alone" else PROCESSES
            started = [begun(program.run, root, None) for _ in range(count)]
            found = ended(started, kill_after=[rng.randrange(1, _MOST_SAID) for _ in range(count)])
            workers = [life for life in found if life.values("ran")]
            wrong = [f"it failed on its own: {life}" for life in found if not (life.killed or _ended_well(life))]
            # Of several that came in one after the other nobody knows the order here.
            lives += workers if count == 1 else [merged(workers)]
            wrong += after_each_life(program, root, lives, bound=program.kill_bound, whole=True)
            wrong += ran_again(lives, bound=program.kill_bound)
            if wrong:
                return wrong
        return at_the_end(program, root, lives, bound=program.kill_bound, whole=True)


def merged(lives: list[Life]) -> Life:
    """Return what several processes said as if one had."""
    return Life(said=[said for life in lives for said in life.said])


def _ended_well(life: Life) -> bool:
    return life.status == 0 or "LogLocked: " in life.error


def all_at_once(program: Program) -> list[str]:
    """Start several processes on one log and let them all end; return what is wrong."""
    with fresh_folder() as folder:
        root = prepared(program, folder)
        found = ended([begun(program.run, root, None) for _ in range(PROCESSES)])
        wrong = [f"it failed on its own: {life}" for life in found if not _ended_well(life)]
        ran = [key for life in found for key in life.values("ran")]
        if sorted(ran) != sorted(map(named, program.keys)):
            wrong.append(f"{len(ran)} items ran, {len(set(ran))} different ones, of {len(program.items)}")
        if program.parameters.get("lock_timeout") and any(life.status for life in found):
            wrong.append("one did not wait")
        return wrong + at_the_end(program, root, [merged(found)], bound=0, whole=True)


KIND = Kind("load", schedules, tried)

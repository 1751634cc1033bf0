"""SIGKILL at every call that changes files: before it, after it, and in the middle of what it writes."""

from __future__ import annotations

from collections.abc import Iterator

from crash.interposer import KillAt
from crash.life import Life, lived
from crash.programs import CALL_BY_CALL, PROGRAMS
from crash.schedules import Kind, Schedule
from crash.verdict import after_each_life, at_the_end, fresh_folder, oracle_of, prepared, ran_again

_DEEPEST = 4
_EVERY_BYTE = "durable"
"""The program of whose writes every cut is tried; of the others a few."""


def schedules() -> Iterator[Schedule]:
    """Yield a kill at every call of every program."""
    for name in CALL_BY_CALL:
        for call in oracle_of(name).calls:
            for how in ("before", "after", *_cuts(name, call.size)):
                yield Schedule("kill", name, call.number, str(how))


def _cuts(name: str, size: int) -> list[int]:
    if name == _EVERY_BYTE and size < 2000:
        return list(range(1, size))
    return sorted({1, size // 3, size // 2, size - 1} - {0, size, -1})


def tried(schedule: Schedule) -> list[str]:
    """Kill the program as the schedule says, then up to three times more at random, and let it finish."""
    program = PROGRAMS[schedule.program]
    rng = schedule.rng
    calls = len(oracle_of(schedule.program).calls)
    kill = KillAt(schedule.at, int(schedule.how) if schedule.how.isdigit() else schedule.how)
    with fresh_folder() as folder:
        root = prepared(program, folder)
        lives: list[Life] = []
        for _ in range(rng.randint(1, _DEEPEST)):
            life = lived(program.run, root, kill)
            lives.append(life)
            if not life.killed and life.status != 0:
                return [f"it failed on its own: {life}"]
            wrong = after_each_life(program, root, lives, bound=program.kill_bound, whole=True)
            wrong += ran_again(lives, bound=program.kill_bound)
            if wrong:
                return wrong
            kill = KillAt(rng.randrange(calls), rng.choice(("before", "after", rng.randrange(1, 4000))))
        return at_the_end(program, root, lives, bound=program.kill_bound, whole=True)


KIND = Kind("kill", schedules, tried)

"""The disk refuses: full, over quota or broken, at every call, once or until somebody has made room."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator

from crash.disk import lay_out, tree_of
from crash.interposer import FailFrom
from crash.life import Life, lived
from crash.power import recorded, struck
from crash.programs import CALL_BY_CALL, PROGRAMS
from crash.schedules import Kind, Schedule
from crash.verdict import after_each_life, at_the_end, fresh_folder, oracle_of, prepared, ran_again

_HOW = (
    *(f"{code}-{how}" for code in ("ENOSPC", "EIO") for how in ("once", "lasting", "mended", "power")),
    "EDQUOT-once",
)


def schedules() -> Iterator[Schedule]:
    """Yield each refusal at every call of every program.

    `once` only that call; `lasting` all that need room from there on, until the program has ended; `mended` until it
    has seen the error, upon which it makes its call again; `power` the same, and then the power goes.
    """
    for name in CALL_BY_CALL:
        for call in oracle_of(name).calls:
            for how in _HOW:
                yield Schedule("disk", name, call.number, how)


def tried(schedule: Schedule) -> list[str]:
    """Refuse as the schedule says, and then let the program finish on a disk that works."""
    program = PROGRAMS[schedule.program]
    rng = schedule.rng
    code, how = schedule.how.split("-")
    fault = FailFrom(
        schedule.at, getattr(errno, code), lasting=how != "once", kept=rng.choice((0, rng.randrange(4000)))
    )
    if how == "power":
        return _with_power_loss(schedule, fault, rng)
    mend = fault.mended if how == "mended" else None
    with fresh_folder() as folder:
        root = prepared(program, folder)
        life = lived(lambda root, tell: program.run(root, tell, mend), root, fault)
        wrong = _badly_told(life, code)
        wrong += after_each_life(program, root, [life], bound=program.kill_bound, whole=False)
        return wrong or at_the_end(program, root, [life], bound=program.kill_bound, whole=False)


def _with_power_loss(schedule: Schedule, fault: FailFrom, rng: random.Random) -> list[str]:
    """After an fsync that failed nothing may count on what it was to make durable, whatever a later one says."""
    program = PROGRAMS[schedule.program]
    with fresh_folder() as folder:
        root = prepared(program, folder)
        start = tree_of(root)
        life, ops = recorded(program, root, fault, repair=fault.mended)
        after = sum(op.said is None for op in ops)
        tree, before = struck(
            start, ops, at=rng.randint(min(schedule.at, after), after), rng=rng, kept=None, sizes=None
        )
        root = folder / "after"
        lay_out(tree, root)
        wrong = _badly_told(life, schedule.how.split("-")[0])
        wrong += after_each_life(program, root, [before], bound=program.power_bound, whole=False)
        wrong += ran_again([before], bound=program.power_bound)
        return wrong or at_the_end(program, root, [before], bound=program.power_bound, whole=False)


def _badly_told(life: Life, code: str) -> list[str]:
    """Return what is wrong with how the program was told of the fault: it must be an OSError that names the file."""
    if life.status == 0:
        return []
    wanted = f"[Errno {getattr(errno, code)}]"
    last = life.error.rstrip().splitlines()[-1] if life.error else "nothing"
    return [] if wanted in last and last.endswith("'") else [f"the program was told {last:.300} of {wanted}"]


KIND = Kind("disk", schedules, tried)

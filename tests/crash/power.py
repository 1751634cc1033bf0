"""The power goes at every moment of a program's life, and what the disk has kept of the rest is a matter of chance.

A life is run once and recorded; what the disk may hold after any part of it is then computed, not provoked.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from crash.disk import Disk, Op, Tree, lay_out, tree_of
from crash.interposer import Director, perform_all
from crash.life import Life, lived
from crash.program import Program, Repair
from crash.programs import CALL_BY_CALL, PROGRAMS
from crash.recorder import Recorder
from crash.schedules import Kind, Schedule
from crash.verdict import after_each_life, at_the_end, fresh_folder, oracle_of, prepared, ran_again

_EXTREMES = {"nothing": (0.0, 0.0), "everything": (1.0, 1.0), "sizes": (0.0, 1.0)}
"""Nothing of what is pending was kept, all of it, or of the data no more than the size: probabilities for `Disk`."""
_SEEDS = 3
_DEEPEST = 3


def schedules() -> Iterator[Schedule]:
    """Yield a power loss after every call of every program, in its extremes, by chance, and after a kill."""
    for name in CALL_BY_CALL:
        for at in range(len(oracle_of(name).calls) + 1):
            for how in (*_EXTREMES, "after-a-kill"):
                yield Schedule("power", name, at, how)
            for seed in range(_SEEDS):
                yield Schedule("power", name, at, "chance", seed)


def tried(schedule: Schedule) -> list[str]:
    """Cut the power as the schedule says, then up to twice more, and let the program finish on what is left."""
    program = PROGRAMS[schedule.program]
    rng = schedule.rng
    with fresh_folder() as folder:
        root = prepared(program, folder)
        start: Tree = tree_of(root)
        lives: list[Life] = []
        at: int | None = schedule.at
        kept, sizes = _EXTREMES.get(schedule.how, (None, None))
        before_kill: list[Op] = []
        if schedule.how == "after-a-kill":
            root, before_kill, life = _after_a_kill(program, root, folder / "after-kill", schedule.at)
            lives.append(life)
            at = None
        for depth in range(rng.randint(1, _DEEPEST)):
            life, ops = recorded(program, root)
            if at is None:
                at = rng.randrange(_calls(ops) + 1)
            tree, before = struck(start, ops, at=at, rng=rng, kept=kept, sizes=sizes, earlier=before_kill)
            lives.append(before)
            before_kill = []
            if life.status != 0:
                return [f"it failed on its own: {life}"]
            root = folder / f"after-{depth}"
            lay_out(tree, root)
            wrong = after_each_life(program, root, lives, bound=program.power_bound, whole=False)
            wrong += ran_again(lives, bound=program.power_bound)
            if wrong:
                return wrong
            start, at, kept, sizes = tree, None, None, None
        return at_the_end(program, root, lives, bound=program.power_bound, whole=False)


def recorded(
    program: Program, root: Path, inner: Director = perform_all, repair: Repair | None = None
) -> tuple[Life, list[Op]]:
    """Let the program live once, and return that with all that it did and said."""
    recorder = Recorder(root, inner)
    life = lived(
        lambda root, tell: program.run(root, tell, repair),
        root,
        recorder,
        heard=recorder.heard,
        at_end=lambda send: send("ops", recorder.ops),
    )
    (ops,) = life.values("ops")
    life.said = [(word, value) for word, value in life.said if word != "ops"]
    return life, ops


def struck(
    start: Tree,
    ops: Sequence[Op],
    *,
    at: int,
    rng: random.Random,
    kept: float | None,
    sizes: float | None,
    earlier: Sequence[Op] = (),
) -> tuple[Tree, Life]:
    """Return what the disk may hold when the power goes after `at` changes, and what the program had said by then.

    `earlier` are those of a life before, of which the disk may still owe some.
    """
    disk = Disk(start)
    for op in earlier:
        disk.apply(op)
    before = Life()
    changes = 0
    for op in ops:
        if op.said is not None:
            before.said.append(op.said)
            continue
        if changes == at:
            break
        disk.apply(op)
        changes += 1
    return disk.after_power_loss(rng, kept=kept, sizes=sizes), before


def _after_a_kill(program: Program, root: Path, after: Path, at: int) -> tuple[Path, list[Op], Life]:
    """Return what a kill after `at` changes leaves (as `after`), with the changes and what was said before it."""
    start = tree_of(root)
    _, ops = recorded(program, root)
    done: list[Op] = []
    life = Life()
    disk = Disk(start)
    for op in ops:
        if op.said is not None:
            life.said.append(op.said)
            continue
        if len(done) == at:
            break
        disk.apply(op)
        done.append(op)
    lay_out(disk.live(), after)
    return after, done, life


def _calls(ops: Sequence[Op]) -> int:
    return sum(op.said is None for op in ops)


KIND = Kind("power", schedules, tried)

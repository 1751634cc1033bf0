"""The kinds of faults around the operator, and their schedules: program is the script that its sweep goes through."""

from __future__ import annotations

import functools
import multiprocessing
import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from crash.schedules import Kind, Schedule
from fire import ground
from fire.scripts import SCRIPTS
from fire.stand import Stand, Stuck
from fire.strikes import Dropped, Kill, LostAnswer, Refusal, Strike, Travel, Watching
from fire.verdict import differences

_WATCHED = ("pods", "nodes", "sweeps")
_REFUSALS = ("429", "500", "503", "504", "slow", "hangs")
_PAIRS = 12
"""So many pairs of events of each collection are dropped, of all that there are."""


_SURE = 0.75
"""Of the requests and events of a calm run this part comes in each; how many more depends on what falls together."""


@dataclass(frozen=True)
class Calm:
    """What a script comes to where nothing goes wrong, and what is asked and answered on the way."""

    came_to: dict[str, Any]
    writes: int
    calls: dict[str, int]
    events: dict[str, int]
    wrong: tuple[str, ...]


@functools.cache
def calm(script: str) -> Calm:
    """Return what a script comes to; in this process."""
    watching = Watching()
    with ground.stand(lambda stand: watching) as stand:
        for operator in stand.operators:
            operator.start()
        came_to = SCRIPTS[script](stand)
        wrong = tuple(stand.wrong())
    calls = Counter({str(call): count for call, count in watching.calls.items() if call.resource and not call.tries})
    return Calm(came_to, watching.writes, dict(calls), dict(watching.events), wrong)


def _counted(script: str) -> Calm:
    """Return the same from a process of its own: one with threads must not be forked, and workers will be."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        return pool.submit(calm, script).result()


_count = functools.cache(_counted)


def _kills() -> Iterator[Schedule]:
    for script in SCRIPTS:
        for at in range(1, _count(script).writes + 1):
            for how in ("unsent", "unread", "read"):
                yield Schedule("operator-kill", script, at, how)


def _lost() -> Iterator[Schedule]:
    for script in SCRIPTS:
        for at in range(1, _count(script).writes + 1):
            yield Schedule("operator-lost", script, at, "answer")


def _travels() -> Iterator[Schedule]:
    """Back to the beginning where the seed is 0, else by chance."""
    for script in SCRIPTS:
        for at in range(2, _count(script).writes + 1):
            for how in ("all", *_WATCHED):
                yield Schedule("operator-travel", script, at, how, at % 3)


def _drops() -> Iterator[Schedule]:
    for script in SCRIPTS:
        for resource in _WATCHED:
            number = _count(script).events.get(resource, 0)
            for at in range(1, number + 1):
                yield Schedule("operator-drop", script, at, f"one-{resource}")
                yield Schedule("operator-drop", script, at, f"gap-{resource}")
            pairs = [(first, second) for second in range(2, number + 1) for first in range(1, second)]
            chosen = random.Random(f"{script} {resource}").sample(pairs, min(_PAIRS, len(pairs)))
            for first, second in chosen:
                yield Schedule("operator-drop", script, first, f"pair-{resource}", second)


def _refusals() -> Iterator[Schedule]:
    for script in SCRIPTS:
        for call, number in sorted(_count(script).calls.items()):
            for at in sorted({1, 2, (number + 1) // 2, number} - {0}):
                for how in _REFUSALS:
                    if at <= number:
                        yield Schedule("operator-refused", script, at, f"{how}-{call}", 1 + (at + len(call)) % 3)


def _twins() -> Iterator[Schedule]:
    for script in SCRIPTS:
        for seed in range(6):
            yield Schedule("operator-twins", script, 0, "both", seed)


def _strike_of(schedule: Schedule, stand: Stand) -> Strike:
    kind, at, how = schedule.kind, schedule.at, schedule.how
    if kind == "operator-kill":
        return Kill(at, how, again=stand.again)
    if kind == "operator-lost":
        return LostAnswer(at)
    if kind == "operator-travel":
        resources = _WATCHED if how == "all" else (how,)
        rng = schedule.rng if schedule.seed else None
        return Travel(
            at,
            again=stand.again,
            namespace=stand.namespace,
            resources=resources,
            back=lambda length: rng.randint(1, max(1, length)) if rng else length,
        )
    if kind == "operator-drop":
        way, resource = how.split("-")
        places = (at, schedule.seed) if way == "pair" else (at,)
        return Dropped(resource, places, gap=way == "gap")
    if kind == "operator-refused":
        way, call = how.split("-", 1)
        return Refusal(call, at, way, count=schedule.seed)
    return Watching()


def tried(schedule: Schedule, *, flaw: str = "") -> list[str]:
    """Bring a schedule about, and return what went wrong; `flaw` names how the operator is broken."""
    undisturbed = calm(schedule.program)
    if undisturbed.wrong:
        return [f"even where nothing happens: {wrong}" for wrong in undisturbed.wrong]
    operators = 2 if schedule.kind == "operator-twins" else 1
    with ground.stand(functools.partial(_strike_of, schedule), operators=operators, flaw=flaw) as stand:
        try:
            for operator in stand.operators:
                operator.start()
            came_to = SCRIPTS[schedule.program](stand)
        except Stuck as stuck:
            return [str(stuck)]
        wrong = [*stand.wrong(), *differences(came_to, undisturbed.came_to)]
        if not stand.strike.struck and _must_come(schedule, undisturbed):
            wrong.append("its place has never come")
        return wrong


def _must_come(schedule: Schedule, undisturbed: Calm) -> bool:
    """Return whether a schedule's place is well within those of a calm run: the last ones come in some runs only."""
    kind, last = schedule.kind, schedule.at
    if kind == "operator-twins":
        return False
    if kind == "operator-drop":
        way, resource = schedule.how.split("-")
        last = schedule.seed if way == "pair" else last
        there = undisturbed.events.get(resource, 0)
    elif kind == "operator-refused":
        there = undisturbed.calls.get(schedule.how.partition("-")[2], 0)
    else:
        there = undisturbed.writes
    return last <= there * _SURE


_SCHEDULES: dict[str, Callable[[], Iterator[Schedule]]] = {
    "operator-kill": _kills,
    "operator-lost": _lost,
    "operator-travel": _travels,
    "operator-drop": _drops,
    "operator-refused": _refusals,
    "operator-twins": _twins,
}
KINDS: tuple[Kind, ...] = tuple(Kind(name, schedules, tried) for name, schedules in _SCHEDULES.items())

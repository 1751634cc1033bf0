"""The kinds of changes, and their schedules: `kind/phase/at/field=how/seed`."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from crash.schedules import Kind, Schedule
from mutations.fields import fields
from mutations.mutation import mutations_of
from mutations.played import CREATED, PHASES
from mutations.stage import Stage, running
from mutations.sweeps import sweep_with

AT_A_TIME = 8
_PAIRS = 120
_SEED = 7
_on: list[Stage] = []


@contextmanager
def on_stage(*, at_a_time: int = AT_A_TIME, flaw: str = "") -> Iterator[Stage]:
    """A stage on which schedules can be tried, with the results of a sweep that nobody has changed."""
    with running(at_a_time=at_a_time, flaw=flaw) as stage:
        from mutations.reference import take_reference

        take_reference(stage)
        _on.append(stage)
        try:
            yield stage
        finally:
            _on.pop()


def _singles() -> Iterable[Schedule]:
    """Every field in every phase: each time in another way, until all of them have been."""
    for number, field in enumerate(fields()):
        for place, phase in enumerate(PHASES):
            found = mutations_of(field, sweep_with(str(field), phase=phase))
            mutation = found[(place + number) % len(found)]
            yield Schedule("mutation", phase, int((place + number) % 5 == 4), str(mutation), 0)


def _every_way() -> Iterable[Schedule]:
    """Every way to change every field, in a phase that is drawn for it."""
    rng = random.Random(_SEED)
    for field in fields():
        for mutation in mutations_of(field, sweep_with(str(field))):
            phase = rng.choice(PHASES)
            if mutation in mutations_of(field, sweep_with(str(field), phase=phase)):
                yield Schedule("mutation-way", phase, 0, str(mutation), 0)


def _pairs() -> Iterable[Schedule]:
    """Two fields at once."""
    rng = random.Random(_SEED)
    free = [field for field in fields() if not str(field).startswith("items.")]
    for number in range(_PAIRS):
        one, other = rng.sample(free, 2)
        phase = PHASES[number % len(PHASES)]
        spec = sweep_with(str(one), phase=phase)
        first, second = (rng.choice(mutations_of(field, spec)) for field in (one, other))
        if one.path[: len(other.path)] == other.path or other.path[: len(one.path)] == one.path:
            continue
        yield Schedule("mutation-pair", phase, 0, f"{first}+{second}", 0)


def _tried(schedule: Schedule) -> list[str]:
    from mutations.transition import Transition

    (stage,) = _on
    with stage.namespace() as namespace:
        return Transition(stage, namespace, schedule).run()


def _by_hand() -> Iterable[Schedule]:
    from mutations.hand import ACTS

    for name, act in ACTS.items():
        for phase in act.phases:
            yield Schedule("by-hand", phase, 0, name, 0)


def _tried_by_hand(schedule: Schedule) -> list[str]:
    from mutations.hand import tried_by_hand

    (stage,) = _on
    with stage.namespace() as namespace:
        return tried_by_hand(stage, namespace, schedule)


def _anew() -> Iterable[Schedule]:
    """Every way to change every field of which a sweep can be created as well."""
    for field in fields():
        for mutation in mutations_of(field, sweep_with(str(field))):
            yield Schedule("created", CREATED, 0, str(mutation), 0)


def _tried_anew(schedule: Schedule) -> list[str]:
    from mutations.creation import tried_anew

    (stage,) = _on
    with stage.namespace() as namespace:
        return tried_anew(stage, namespace, schedule)


def _rest() -> Iterable[Schedule]:
    yield Schedule("mutation-rest", "all", 0, "", 0)


def _tried_rest(schedule: Schedule) -> list[str]:
    """Return what is wrong once all others have ended: whoever has all namespaces is alone on the stage."""
    from mutations.residents import all_left

    (stage,) = _on
    with ExitStack() as alone:
        for _ in range(stage.namespaces):
            alone.enter_context(stage.namespace())
        return [*all_left(stage), *stage.farewell()]


def came_to(stage: Stage) -> dict[str, dict[str, int]]:
    """Return how many transitions of each phase were refused, applied, or named by a condition."""
    counted: dict[str, Counter[str]] = {phase: Counter() for phase in (*PHASES, CREATED)}
    for schedule, outcome, _ in stage.found:
        counted[schedule.split("/")[1]][outcome] += 1
    return {phase: dict(outcomes) for phase, outcomes in counted.items()}


KINDS: tuple[Kind, ...] = (
    Kind("mutation", _singles, _tried),
    Kind("mutation-way", _every_way, _tried),
    Kind("mutation-pair", _pairs, _tried),
    Kind("created", _anew, _tried_anew),
    Kind("by-hand", _by_hand, _tried_by_hand),
    Kind("mutation-rest", _rest, _tried_rest),
)

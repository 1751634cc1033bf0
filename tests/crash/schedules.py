"""A schedule says what goes wrong, so precisely that its name alone brings the same thing about again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Schedule:
    """Of `kind`, to `program`: something happens `at` a call (or byte), in the way of `how`, the rest by `seed`.

    Its text is `kind/program/at/how/seed`.
    """

    kind: str
    program: str
    at: int = 0
    how: str = ""
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.kind}/{self.program}/{self.at}/{self.how}/{self.seed}"

    @property
    def rng(self) -> random.Random:
        """A source of chance that depends on the whole of the schedule."""
        return random.Random(str(self))


def parsed_schedule(text: str) -> Schedule:
    """Return the schedule of a text.

    Raises
    ------
    ValueError
        Where it has not five parts.
    """
    parts = text.split("/")
    if len(parts) != 5 or not (parts[2].isdigit() and parts[4].isdigit()):
        raise ValueError(f"{text!r} is no schedule: write kind/program/at/how/seed, as a failure is reported")
    return Schedule(parts[0], parts[1], int(parts[2]), parts[3], int(parts[4]))


@dataclass(frozen=True)
class Kind:
    """A kind of fault: `schedules()` are all of it, `tried(schedule)` are the ways in which one went wrong."""

    name: str
    schedules: Callable[[], Iterable[Schedule]]
    tried: Callable[[Schedule], list[str]]


def sampled(schedules: Iterable[Schedule], count: int, *, seed: int) -> list[Schedule]:
    """Return `count` of the schedules, at random but the same for the same seed; each program gets its share."""
    by_program: dict[str, list[Schedule]] = {}
    for schedule in schedules:
        by_program.setdefault(schedule.program, []).append(schedule)
    rng = random.Random(seed)
    shares = list(_shares(count, list(by_program.values())))
    return [chosen for of_one, share in shares for chosen in rng.sample(of_one, share)]


def _shares(count: int, groups: Sequence[list[Schedule]]) -> Iterator[tuple[list[Schedule], int]]:
    left = count
    for number, group in enumerate(sorted(groups, key=len)):
        share = min(len(group), left // (len(groups) - number))
        left -= share
        yield group, share

"""Whether what was sampled of a process stays as it is, or grows with the time that it runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

_FEWEST_WINDOWS = 3
_SURE = 2.0
"""So many standard errors above nothing is a slope that noise does not explain."""


@dataclass(frozen=True)
class Sample:
    """What was seen `at_s` seconds after the beginning."""

    at_s: float
    values: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Bound:
    """How much a quantity may grow: `most_an_hour`, None = it must not be more in the second half than in the first.

    What is leaked never goes away, so that it shows in the least of each window of time, whatever the peaks; `of`
    another kind is what is meant on the average, such as a share of the processor's time.
    """

    quantity: str
    unit: str
    most_an_hour: float | None = None
    of: Literal["least", "mean"] = "least"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What became of a quantity: the median of its windows in either half, and how it grew in the second one."""

    quantity: str
    unit: str
    first: float
    second: float
    an_hour: float
    uncertain: float
    """Twice the standard error of `an_hour`: less than this cannot be told from noise."""
    most_an_hour: float | None
    holds: bool


def verdict_on(
    samples: Sequence[Sample], bounds: Sequence[Bound], *, warm_up_s: float, window_s: float
) -> list[Finding]:
    """Return a finding for each bound; what comes before `warm_up_s` does not count.

    Raises
    ------
    ValueError
        Where a quantity was not sampled, or not often enough to say anything.
    """
    return [_finding(samples, bound, warm_up_s, window_s) for bound in bounds]


def _finding(samples: Sequence[Sample], bound: Bound, warm_up_s: float, window_s: float) -> Finding:
    name = bound.quantity
    points = [(one.at_s, one.values[name]) for one in samples if name in one.values and one.at_s >= warm_up_s]
    if not points:
        raise ValueError(f"{name} was not sampled after {warm_up_s:.0f} s")
    middle = (points[0][0] + points[-1][0]) / 2
    reduced: Callable[[Sequence[float]], float] = min if bound.of == "least" else statistics.fmean
    first = _windows([point for point in points if point[0] <= middle], window_s, reduced)
    second = _windows([point for point in points if point[0] > middle], window_s, reduced)
    if len(second) < _FEWEST_WINDOWS:
        raise ValueError(
            f"{name}: {len(second)} windows of {window_s:.0f} s in the second half, at least {_FEWEST_WINDOWS} are "
            "needed: let it run longer"
        )
    before, after = (statistics.median(value for _, value in half) for half in (first, second))
    an_hour, uncertain = _slope(second)
    is_within = after <= before if bound.most_an_hour is None else an_hour <= max(bound.most_an_hour, uncertain)
    return Finding(
        quantity=name,
        unit=bound.unit,
        first=before,
        second=after,
        an_hour=an_hour,
        uncertain=uncertain,
        most_an_hour=bound.most_an_hour,
        holds=is_within,
    )


def _windows(
    points: Sequence[tuple[float, float]], window_s: float, reduced: Callable[[Sequence[float]], float]
) -> list[tuple[float, float]]:
    """Return the middle of each window, in hours, with what its values come to."""
    windows: dict[int, list[tuple[float, float]]] = {}
    for at_s, value in points:
        windows.setdefault(int((at_s - points[0][0]) / window_s), []).append((at_s, value))
    return [
        (statistics.fmean(at_s for at_s, _ in window) / 3600, reduced([value for _, value in window]))
        for window in windows.values()
    ]


def _slope(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the slope of the least squares' line, and twice its standard error."""
    hours, values = [at for at, _ in points], [value for _, value in points]
    line = statistics.linear_regression(hours, values)
    off = sum((value - line.slope * at - line.intercept) ** 2 for at, value in points)
    middle = statistics.fmean(hours)
    spread = sum((at - middle) ** 2 for at in hours)
    return line.slope, _SURE * math.sqrt(off / (len(points) - 2) / spread)

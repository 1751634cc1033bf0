"""Durations as Kubernetes users write them: `10s`, `1m30s`, `500ms`."""

from __future__ import annotations

import re
from fractions import Fraction

PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
"""The part of Go's time.ParseDuration that makes sense for people: no sign, nothing below a millisecond."""

_PIECE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
# Fractions, so that 0.1s three times is 0.3 s and not 0.30000000000000004 s.
_SECONDS = {"ms": Fraction(1, 1000), "s": Fraction(1), "m": Fraction(60), "h": Fraction(3600)}


def seconds_of(duration: str) -> float:
    """Return how many seconds `duration` lasts.

    Raises
    ------
    ValueError
        Where it is not a duration.
    """
    if not re.fullmatch(PATTERN.strip("^$"), duration):
        raise ValueError(f"{duration!r} is not a duration: write it like 10s, 1m30s or 500ms")
    return float(sum(Fraction(number) * _SECONDS[unit] for number, unit in _PIECE.findall(duration)))

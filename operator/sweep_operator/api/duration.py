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


def duration_text(seconds: float) -> str:
    """Return a duration for people, in its two largest units: `45s`, `3m20s`, `2h5m`, `3d4h`.

    Negative durations are `0s`; fractions of a second are rounded up, so that what is not over never reads as over.
    """
    left = max(0, -int(-seconds // 1))
    days, left = divmod(left, 86_400)
    hours, left = divmod(left, 3_600)
    minutes, left = divmod(left, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (left, "s")]
    while len(parts) > 1 and parts[0][0] == 0:
        parts.pop(0)
    largest, *rest = parts
    text = f"{largest[0]}{largest[1]}"
    return text + (f"{rest[0][0]}{rest[0][1]}" if rest and rest[0][0] else "")

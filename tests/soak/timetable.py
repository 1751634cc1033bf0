"""Which troubles there are at which moment: in each cycle all of them, some at the same time."""

from __future__ import annotations

from enum import StrEnum


class Trouble(StrEnum):
    """What goes wrong around a mirror that lives for long."""

    STORE_REFUSES = "the store answers that it is overloaded"
    STORE_SILENT = "the store does not answer"
    STORE_RESETS = "the store resets connections in the middle of a request"
    OPERATOR_AWAY = "the operator does not answer"
    SUPERSEDED_HINT = "the operator hints that another attempt has the shard"
    NOTICE = "the cloud announces that it takes the machine"


_STORE = (Trouble.STORE_REFUSES, Trouble.STORE_SILENT, Trouble.STORE_RESETS)
_STORE_FAILS = (1 / 6, 2 / 6)
_AT_TIMES: tuple[tuple[Trouble, float, float], ...] = (
    (Trouble.OPERATOR_AWAY, 0.25, 0.45),
    (Trouble.NOTICE, 0.55, 0.65),
    (Trouble.SUPERSEDED_HINT, 0.75, 0.85),
)
"""From and until which part of a cycle. The end of each is calm, so that what it has left behind can go."""


def troubles_at(at_s: float, *, cycle_s: float) -> frozenset[Trouble]:
    """Return the troubles `at_s` seconds after the beginning; a store fails in another way in each cycle."""
    number, part = divmod(at_s / cycle_s, 1.0)
    found = {trouble for trouble, begin, end in _AT_TIMES if begin <= part < end}
    if _STORE_FAILS[0] <= part < _STORE_FAILS[1]:
        found.add(_STORE[int(number) % len(_STORE)])
    return frozenset(found)

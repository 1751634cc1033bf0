"""How much an object keeps in its containers: what must be as little as ever, once all that it was told of is gone."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

_COLLECTIONS = (list, set, frozenset, deque)
_DEEPEST = 2
"""A dictionary of dictionaries counts with all that is in them; what lies deeper are values."""


def held(it: object) -> dict[str, int]:
    """Return the number of entries by attribute, for each attribute of `it` that is a container."""
    return {name: counted for name, value in vars(it).items() if (counted := _entries(value, _DEEPEST)) is not None}


def _entries(value: Any, depth: int) -> int | None:
    """Return how many entries a container has, None where it is none."""
    if isinstance(value, asyncio.Queue):
        return value.qsize()
    inside: Iterable[Any]
    if isinstance(value, Mapping):
        inside = list(value.values())
    elif isinstance(value, _COLLECTIONS):
        inside = list(value)
    else:
        return None
    if depth == 1:
        return len(value)
    return len(value) + sum(_entries(each, depth - 1) or 0 for each in inside)

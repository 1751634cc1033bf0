"""A style in which programs write checkpoints."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

STEPS = 6
ITEMS = tuple({"key": f"item-{number}", "x": number} for number in range(STEPS))
LARGE = 70_000
"""Bytes; more than an entry takes inline, so that a generation sends blobs too."""
Files = Mapping[str, bytes]
Durable = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Style:
    """A way of writing.

    `run(snapshot, durable)` goes on from what is there, calls `durable(n)` where it was told that a progress of `n` is
    in the store, and ends when all is done. `wrong(files)` says what no relaunch could go on from, `progress(files)`
    how far they are, `comes_to(files)` what is the same of all that have ended. With `counts` the run has items, and
    its merged results are what it comes to.
    """

    name: str
    run: Callable[[Path, Durable], None]
    wrong: Callable[[Files], Iterator[str]]
    progress: Callable[[Files], int]
    comes_to: Callable[[Files], dict[str, bytes]] = dict
    counts: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


def result_of(number: int) -> str:
    """Return the result of an item, the same in every life."""
    return hashlib.sha256(f"result {number}".encode()).hexdigest() * 3

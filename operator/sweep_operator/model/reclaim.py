"""One attempt that was taken away."""

from __future__ import annotations

from dataclasses import dataclass

from sweep_operator.model.signals import Signal


@dataclass(frozen=True, kw_only=True)
class Reclaim:
    """A reclaim of a shard's attempt, first seen at `time` (Unix seconds).

    `relaunch_seconds` is None until the replacement is there.
    """

    time: float
    node: str
    shard: int
    attempt: int
    signal: Signal
    items_safe: int
    relaunch_seconds: float | None = None

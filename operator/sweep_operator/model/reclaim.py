"""One attempt that was taken away."""

from __future__ import annotations

from dataclasses import dataclass

from sweep_operator.model.signals import Signal


@dataclass(frozen=True, kw_only=True)
class Reclaim:
    """A reclaim of a shard's attempt, first seen at `time` (Unix seconds): its notice, where there was one.

    `relaunch_seconds` is None until the replacement is there.
    """

    time: float
    node: str
    shard: int
    attempt: int
    signal: Signal
    items_safe: int
    relaunch_seconds: float | None = None

    def told(self, *, replacement: int, seconds: float) -> str:
        """Return the sentence for people; `replacement` is the attempt that was created `seconds` after the reclaim."""
        return (
            f"shard {self.shard} was reclaimed from node {self.node or 'unknown'} ({self.signal}): "
            f"{self.items_safe} items safe, attempt {replacement} created after {seconds:.1f} s"
        )

"""What has been seen of a namespace's pods, and what of it must never be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fire.kube import Json


@dataclass(frozen=True)
class Made:
    """An attempt's pod that was made."""

    sweep_uid: str
    shard: int
    attempt: int
    pod_uid: str


class Journal:
    """All pods of attempts that were ever made in a namespace, and which of their experiments run."""

    def __init__(self) -> None:
        self.made: list[Made] = []
        self.wrong: list[str] = []
        self.beside: list[str] = []
        """Attempts that were made while nothing was wrong with the one before: the shard's log lets only one write."""
        self._running: dict[str, Made] = {}

    def note_made(self, pod: Json, *, is_current: Callable[[str], bool]) -> None:
        """Note that an attempt's pod was made.

        Parameters
        ----------
        is_current:
            Whether a pod of an earlier attempt, by its UID, still runs on a machine that lives, and nobody has told it
            to go.
        """
        labels, uid = pod["metadata"]["labels"], pod["metadata"]["uid"]
        made = Made(
            labels["resumable.dev/sweep-uid"],
            int(labels["resumable.dev/shard"]),
            int(labels["resumable.dev/attempt"]),
            uid,
        )
        for other in self.made:
            if other.sweep_uid != made.sweep_uid:
                continue
            if other.attempt == made.attempt:
                self.wrong.append(f"attempt {made.attempt} was made twice: for shards {other.shard} and {made.shard}")
            if other.shard == made.shard and is_current(other.pod_uid):
                self.beside.append(
                    f"shard {made.shard}: attempt {made.attempt} was made beside attempt {other.attempt}, with which "
                    "nothing is wrong"
                )
        self.made.append(made)

    @contextmanager
    def running(self, pod: Json) -> Iterator[None]:
        """Note that an attempt's experiment runs."""
        uid = pod["metadata"]["uid"]
        self._running[uid] = next(made for made in self.made if made.pod_uid == uid)
        try:
            yield
        finally:
            del self._running[uid]

    def runs(self, sweep_uid: str, shard: int) -> list[int]:
        """Return the attempts of a shard whose experiments run at this moment."""
        return [each.attempt for each in self._running.values() if (each.sweep_uid, each.shard) == (sweep_uid, shard)]

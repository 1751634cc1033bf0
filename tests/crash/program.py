"""A sweep as people write it, and what it may do with an item."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crash.life import Tell
from crash.reading import named, reading_of
from resumable_sweep import ResumableSweep

LOG = "out/results.jsonl"
Repair = Callable[[], None]


def nothing(root: Path) -> None:
    """Prepare nothing."""


def one_after_the_other(sweep: ResumableSweep, work: Callable[[dict[str, Any]], None]) -> None:
    """Do each pending item."""
    for item in sweep.pending:
        work(item)


def in_threads(sweep: ResumableSweep, work: Callable[[dict[str, Any]], None]) -> None:
    """Do the pending items in three threads."""
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, sweep.pending))


def in_children(sweep: ResumableSweep, work: Callable[[dict[str, Any]], None]) -> None:
    """Do the pending items in three forked children, which record what they have done."""
    fork = multiprocessing.get_context("fork")
    left = list(sweep.pending)
    children = [fork.Process(target=lambda share: [work(item) for item in share], args=(left[n::3],)) for n in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        if child.exitcode:
            raise ChildProcessError(f"a child ended with {child.exitcode}")


@dataclass(frozen=True, kw_only=True)
class Program:
    """A sweep over `items` (mappings with a `key`) with the library's `parameters`, of which `paths` lie in its folder.

    `prepare(root)` makes what is there before its first life. Of records that returned, the last `kill_bound` may be
    lost by a kill and the last `power_bound` by a power loss: those that the library did not promise. `share` is its
    shard, and of how many. With `one_by_one` the library is not told how many items there are.
    """

    name: str
    items: tuple[dict[str, Any], ...]
    parameters: dict[str, Any] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[Path], None] = nothing
    work: Callable[[ResumableSweep, dict[str, Any], Tell, Path], None]
    drive: Callable[[ResumableSweep, Callable[[dict[str, Any]], None]], None] = one_after_the_other
    one_by_one: bool = False
    power_bound: int = 0
    kill_bound: int = 0
    share: tuple[int, int] = (0, 1)

    @property
    def keys(self) -> list[Any]:
        """The keys of the items that are this program's to do."""
        return [item["key"] for item in self.items[self.share[0] :: self.share[1]]]

    def run(self, root: Path, tell: Tell, repair: Repair | None = None) -> None:
        """Run the sweep; where `repair` is given, an error of the disk is repaired and the call made again."""
        with self.entered(root) as sweep:
            tell("replayed", sweep.completed)
            self.drive(sweep, lambda item: self._work(sweep, item, tell, root, repair))
        tell("ended", None)

    def entered(self, root: Path) -> ResumableSweep:
        """Return the sweep, ready for `with`."""
        paths = {name: root / path for name, path in self.paths.items()}
        parameters = {"script": False, **self.parameters, **paths}
        given = (item for item in self.items) if self.one_by_one else self.items
        return ResumableSweep(given, checkpoint_path=root / LOG, **parameters)

    def _work(self, sweep: ResumableSweep, item: dict[str, Any], tell: Tell, root: Path, repair: Repair | None) -> None:
        tell("ran", named(item["key"]))
        try:
            self.work(sweep, item, tell, root)
        except OSError as error:
            if repair is None:
                raise
            tell("seen", f"{type(error).__name__}: {error}")
            repair()
            self.work(sweep, item, tell, root)


def result_of(item: dict[str, Any]) -> Any:
    """Return the result of an item: the same in every life, of another length for every item."""
    return {"square": item["x"] ** 2, "text": "ä" * (item["x"] * 7 % 50), "loss": [item["x"] / 7, float("inf")]}


def record(sweep: ResumableSweep, item: dict[str, Any], tell: Tell, root: Path) -> None:
    """Record the item's result."""
    sweep.record(item, result_of(item))
    tell("recorded", named(item["key"]))


def record_large(sweep: ResumableSweep, item: dict[str, Any], tell: Tell, root: Path) -> None:
    """Record a result that goes into a side file; of every second item the same one."""
    sweep.record(item, {"weights": bytes([item["x"] % 2]) * 70_000, "of": item["x"]})
    tell("recorded", named(item["key"]))


def try_and_skip(sweep: ResumableSweep, item: dict[str, Any], tell: Tell, root: Path) -> None:
    """Do an item that works, always fails, fails the first time, or is skipped, by its number."""
    name = named(item["key"])
    if item["x"] % 5 == 3:
        sweep.skip(item, "too large for this machine")
        tell("recorded", name)
        return
    fails = item["x"] % 5 == 1 or (item["x"] % 5 == 2 and name not in reading_of(root / LOG).failed)
    with sweep.trying(item):
        if fails:
            raise ValueError(f"item {item['x']} does not work")
        record(sweep, item, tell, root)
    if fails:
        tell("failed", name)


def record_by_chance(sweep: ResumableSweep, item: dict[str, Any], tell: Tell, root: Path) -> None:
    """Record a result that hangs on the item's seed."""
    seed = sweep.seed_of(item)
    sweep.record(item, [seed.integer(), seed.random().random()])
    tell("recorded", named(item["key"]))


def items(*numbers: int) -> tuple[dict[str, Any], ...]:
    """Return items whose keys are of different types."""
    return tuple({"key": f"{x}" if x % 3 else x, "x": x} for x in numbers)

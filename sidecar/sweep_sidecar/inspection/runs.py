"""Which runs lie below a URL, and which objects belong to each: one listing, and no other source."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from sweep_sidecar import layout
from sweep_sidecar.log.entry import CheckpointCorrupt, Kind
from sweep_sidecar.log.shard_log import LogReader
from sweep_sidecar.merging.gathering import RunShape
from sweep_sidecar.store import Listed, Store, open_store

_One = TypeVar("_One")
_Other = TypeVar("_Other")
_AT_ONCE = 8
"""How many requests are on their way at once: enough to hide the store's latency."""
_OF_A_RUN = re.compile(r"(?:(?P<prefix>.*)/)?(?:[0-9a-f]{4}-shard-(?P<shard>\d{5,})/log/\d{12}\.json|items\.jsonl)")


class RunNotFound(Exception):
    """No run lies there, or not the shard that was asked for; the message names the URL and the mend."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run's folder: its store, its objects (key to size in bytes), and the shards that have a log."""

    run_id: str
    store: Store
    objects: dict[str, int] = field(default_factory=dict)
    shards: tuple[int, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Bytes of all its objects."""
        return sum(self.objects.values())

    def reader(self, shard: int) -> LogReader:
        """Return the reader of a shard's log.

        Raises
        ------
        RunNotFound
            Where that shard has none.
        """
        if shard not in self.shards:
            have = ", ".join(map(str, self.shards[:5])) + (", ..." if len(self.shards) > 5 else "")
            raise RunNotFound(f"{self.store.url} has no log of shard {shard}: it has those of {have or 'none'}")
        return LogReader(self.store, layout.shard_folder(self.run_id, shard))

    def slots(self, shard: int) -> list[int]:
        """Return the slots of a shard's log that held something when the run was listed, the highest first.

        Raises
        ------
        CheckpointCorrupt
            Where something foreign stands in the log.
        """
        prefix = layout.log_prefix(layout.shard_folder(self.run_id, shard))
        try:
            return sorted((layout.seq_of(key) for key in self.objects if key.startswith(prefix)), reverse=True)
        except ValueError as error:
            raise CheckpointCorrupt(f"{self.store.url}: {error}") from error


def runs_below(url: str, *, open: Callable[[str], Store] = open_store) -> list[Run]:
    """Return the runs at or below a URL, sorted by their addresses.

    Raises
    ------
    RunNotFound
        Where there is none.
    UrlUnsupported, Unreachable
    """
    url = url.rstrip("/")
    store = open(url)
    listed = store.list("")
    prefixes = sorted({found["prefix"] or "" for one in listed if (found := _OF_A_RUN.fullmatch(one.key))})
    if not prefixes:
        raise RunNotFound(f"no run lies in {url}: name the folder of a run, or one above it (<namespace>/<name>/<run>)")
    by_prefix: dict[str, dict[str, int]] = {prefix: {} for prefix in prefixes}
    for one in listed:
        _sort_in(one, by_prefix)
    return [
        _run(url, prefix, objects, store if not prefix else open(f"{url}/{prefix}"))
        for prefix, objects in by_prefix.items()
    ]


def one_run(url: str, *, open: Callable[[str], Store] = open_store) -> Run:
    """Return the one run at or below a URL.

    Raises
    ------
    RunNotFound
        Where there is none, or more than one.
    UrlUnsupported, Unreachable
    """
    runs = runs_below(url, open=open)
    if len(runs) > 1:
        named = ", ".join(run.store.url for run in runs[:3]) + (", ..." if len(runs) > 3 else "")
        raise RunNotFound(f"{len(runs)} runs lie in {url}: name one of them ({named})")
    return runs[0]


def shape_of(run: Run) -> RunShape:
    """Return what the first attempts have said of the run.

    Raises
    ------
    RunNotFound
        Where no attempt has begun.
    CheckpointCorrupt
        Where no shard's first entry can be read.
    Unreachable
    """
    trouble: CheckpointCorrupt | None = None
    for shard in run.shards:
        try:
            entry = run.reader(shard).read(0).entry
            if entry.kind is Kind.TAKE:
                said = entry.body
                return RunShape(
                    run_id=run.run_id, shards=int(said["shards"]), items_sha256=str(said.get("items_sha256", ""))
                )
            trouble = CheckpointCorrupt(f"entry 0 of shard {shard} in {run.store.url} is a {entry.kind}, not a take")
        except CheckpointCorrupt as error:
            trouble = error
        except (KeyError, TypeError, ValueError) as error:
            trouble = CheckpointCorrupt(f"entry 0 of shard {shard} in {run.store.url} does not say how many: {error!r}")
    raise trouble or RunNotFound(f"no attempt of {run.store.url} has begun: only its items are there")


def side_by_side(ask: Callable[[_One], _Other], of: Iterable[_One]) -> list[_Other]:
    """Return what `ask` returns of each, in order, with several requests on their way at once."""
    with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="ask") as pool:
        return list(pool.map(ask, of))


def _sort_in(one: Listed, by_prefix: dict[str, dict[str, int]]) -> None:
    parts = one.key.split("/")
    for end in range(len(parts) - 1, -1, -1):
        prefix = "/".join(parts[:end])
        if prefix in by_prefix:
            by_prefix[prefix]["/".join(parts[end:])] = one.size
            return


def _run(url: str, prefix: str, objects: dict[str, int], store: Store) -> Run:
    run_id = f"{url}/{prefix}".rstrip("/").rpartition("/")[2]
    shards = set()
    for key in objects:
        found = _OF_A_RUN.fullmatch(key)
        if found and not found["prefix"] and found["shard"]:
            shard = int(found["shard"])
            # A folder of another run id has other first digits: it is none of this run's.
            if key.startswith(layout.log_prefix(layout.shard_folder(run_id, shard))):
                shards.add(shard)
    return Run(run_id=run_id, store=store, objects=objects, shards=tuple(sorted(shards)))

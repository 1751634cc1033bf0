"""`retain`: delete what nobody goes back to, of a run in which attempts write all the while.

Only blobs are deleted, and nobody is asked to stop for it: an entry that is not seen here refers to nothing that is
deleted here. The argument is in docs/design/2026-11-retention-beside-writers.md. Times are the store's own: an object
made for the purpose says when this began, and a listing says how much older than that each blob is.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from sweep_sidecar import layout
from sweep_sidecar.blobs import LEAST_AGE_S
from sweep_sidecar.content import ContentReader
from sweep_sidecar.inspection.runs import side_by_side
from sweep_sidecar.log.entry import CheckpointCorrupt
from sweep_sidecar.log.generation import FileVersion, Generation
from sweep_sidecar.log.history import Damage, generations_below
from sweep_sidecar.log.shard_log import LogReader
from sweep_sidecar.restore import generation_in
from sweep_sidecar.retirement import PREFIX, floors_in, record_retired
from sweep_sidecar.store import Listed, Store, Unreachable

_LOG = logging.getLogger(__name__)
_BEGUN = "retaining/"
"""What the keys of the objects start with by which a store is asked for its time."""
_NAMED_FOR_HOURS = re.compile(r"blobs/[0-9a-f]{64}\.\w+")
"""A blob without a word in its name was sent by a release that uses names for ever: it may be referred to anew."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """What to keep of a run: the newest `generations` whole ones of each shard, and all that is younger than `after_s`.

    Raises
    ------
    ValueError
        Where an attempt that writes all the while could lose what it has just sent.
    """

    generations: int
    after_s: float

    def __post_init__(self) -> None:
        if self.generations < 1:
            raise ValueError(f"{self.generations} generations are to be kept of each shard: keep 1 at least")
        if self.after_s < LEAST_AGE_S:
            raise ValueError(
                f"what is older than {self.after_s / 3600:g} hours is to be deleted while attempts may write: an "
                f"attempt may still refer to it, wait for {LEAST_AGE_S / 3600:g} hours at least"
            )


@dataclass(frozen=True, kw_only=True)
class Doomed:
    """What is to go from a run, or went; `left_alone` says why nothing does."""

    left_alone: str = ""
    retired: Mapping[int, range] = field(default_factory=dict)
    """Entries by shard of which no generation is kept any longer, of those that were until now."""
    blobs: tuple[str, ...] = ()
    size_bytes: int = 0


def begun_at(store: Store, *, nonce: Callable[[], str]) -> float:
    """Return the store's time (Unix seconds), by an object that is made for it.

    Raises
    ------
    Unreachable
    """
    key = f"{_BEGUN}{nonce()}"
    store.create(key, b"")
    listed = {found.key: found for found in store.list(_BEGUN)}
    if key not in listed:
        raise Unreachable(f"{store.url} does not list {key}, which it has just taken: who deletes objects there?")
    now = listed[key].modified
    for found in listed.values():
        # Its own, and what others have left that were killed; one that is at work has seen its own already.
        if found.key == key or now - found.modified > LEAST_AGE_S:
            store.delete(found.key)
    return now


def doomed(store: Store, *, run_id: str, shards: int, span: Span, began: float) -> Doomed:
    """Return what may go from a run; nothing is changed.

    Parameters
    ----------
    began:
        A moment before this call, on the store's clock.

    Raises
    ------
    CheckpointCorrupt, Unreachable
    """
    old = [found for found in store.list("blobs/") if _is_old(found, began - span.after_s)]
    if not old:
        return Doomed()
    logs = [LogReader(store, layout.shard_folder(run_id, shard)) for shard in range(shards)]
    try:
        # The contents are read only where there is something to gain: this is the lower bound of what is needed.
        if not _unneeded(old, (_needed(log, span, _Trusting()) for log in logs)):
            return Doomed()
        needed = [_needed(log, span, _Reading(log)) for log in logs]
        before = floors_in(store, [found.key for found in store.list(PREFIX)])
    except _Unclear as error:
        return Doomed(left_alone=str(error))
    gone = _unneeded(old, needed)
    floors = ((shard, range(before.get(shard, 0), one.floor)) for shard, one in enumerate(needed))
    return Doomed(
        retired={shard: seqs for shard, seqs in floors if seqs} if gone else {},
        blobs=tuple(found.key for found in gone),
        size_bytes=sum(found.size for found in gone),
    )


def let_go(store: Store, doomed: Doomed, *, span: Span, time: float) -> None:
    """Delete what may go; cut off anywhere, it leaves the run whole.

    Raises
    ------
    CheckpointCorrupt, Unreachable
    """
    if doomed.retired:
        record_retired(store, doomed.retired, keep=span.generations, time=time)
    side_by_side(store.delete, doomed.blobs)


class _Unclear(Exception):
    """An entry that may refer to anything cannot be told."""


@dataclass(frozen=True)
class _Needed:
    """What a shard's entries from `floor` on refer to."""

    floor: int
    blobs: frozenset[str]


class _Trusting:
    """Takes every generation for whole."""

    def is_whole(self, generation: Generation) -> bool:
        return True


class _Reading:
    """Reads a generation's files in full, as a restore does; one that an earlier generation has too is read once."""

    def __init__(self, log: LogReader) -> None:
        self._reader = ContentReader(log)
        self._whole: set[FileVersion] = set()

    def is_whole(self, generation: Generation) -> bool:
        try:
            for path, version in generation.files.items():
                if version not in self._whole:
                    for _ in self._reader.pieces(version, what=path):
                        pass
                    self._whole.add(version)
        except CheckpointCorrupt as error:
            _LOG.warning("%s: this generation does not count as one that is kept", error)
            return False
        return True


def _needed(log: LogReader, span: Span, reading: _Trusting | _Reading) -> _Needed:
    top = log.top()
    if top.seq is None:
        return _Needed(0, frozenset())
    if top.newest is None or top.newest.entry.seq != top.seq:
        raise _Unclear(f"entry {top.seq} of {log.folder} in {log.store.url} is damaged: see `verify`")
    left, floor = span.generations, 0
    blobs: set[str] = set()
    # In the order in which a restore tries them: what one has gone back past is not tried again.
    for found in generations_below(log, top.seq + 1):
        if isinstance(found, Damage):
            raise _Unclear(f"{found.reason}: see `verify`")
        seq = found.entry.seq
        generation = generation_in(log, found).after_publishing(seq)
        blobs |= _blobs_of(generation)
        left -= reading.is_whole(generation)
        if not left:
            floor = seq
            break
    return _Needed(floor, frozenset(blobs))


def _blobs_of(generation: Generation) -> set[str]:
    pieces = (piece for version in generation.files.values() for piece in version.segments)
    return {piece.blob for piece in pieces if piece.blob is not None}


def _is_old(found: Listed, before: float) -> bool:
    return found.modified < before and _NAMED_FOR_HOURS.fullmatch(found.key) is not None


def _unneeded(old: list[Listed], needed: Iterable[_Needed]) -> list[Listed]:
    keys = set[str]().union(*(one.blobs for one in needed))
    return [found for found in old if found.key not in keys]

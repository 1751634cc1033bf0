"""A shard's log in the store: gap-free, create-only, one writer at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sweep_sidecar import layout
from sweep_sidecar.log.entry import (
    CheckpointCorrupt,
    Entry,
    EntryMissing,
    Kind,
    NewerSchema,
    Stored,
    Writer,
    parsed_entry,
    stored,
)
from sweep_sidecar.log.fencing import check_append, check_lost_slot, check_take
from sweep_sidecar.store import Creation, NotFound, Store, url_of

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Top:
    """Where a log ends: its highest slot, and the newest entry that can be read; None: there is none.

    The two differ where the entries above `newest` are proved to be damaged.
    """

    seq: int | None
    newest: Stored | None


class LogReader:
    """Reads a shard's log."""

    def __init__(self, store: Store, folder: str) -> None:
        self.store = store
        self.folder = folder

    def head(self) -> Stored | None:
        """Return the newest entry, None where the log is empty: one page of a listing and one read.

        Raises
        ------
        CheckpointCorrupt, Unreachable
        """
        seq = self._highest()
        return None if seq is None else self.read(seq)

    def top(self) -> Top:
        """Return where the log ends, below whatever is damaged there.

        An entry that cannot be told says nothing: what counts is the newest one that can. Whoever goes on above it
        creates the next slot, and there is one winner for that too; what this may cost is work done again.

        Raises
        ------
        CheckpointCorrupt
            Where something foreign stands in the log, or an entry of a newer version.
        Unreachable
        """
        highest = self._highest()
        seq = -1 if highest is None else highest
        while seq >= 0:
            try:
                return Top(seq=highest, newest=self.read(seq))
            except NewerSchema:
                raise
            except CheckpointCorrupt as error:
                _LOG.warning("%s", error)
                seq -= 1
        return Top(seq=highest, newest=None)

    def read(self, seq: int, *, after: Stored | None = None) -> Stored:
        """Return the entry in slot `seq`; what is wrong with it at one read must be so at the next one too.

        Parameters
        ----------
        after:
            The entry that may have been made on top of it: then this must be the one that it was made upon.

        Raises
        ------
        CheckpointCorrupt
            Where the slot, which the log must have, is empty, or what it holds is no entry.
        Unreachable
        """
        try:
            return self._read(seq, after)
        except NewerSchema:
            raise
        except CheckpointCorrupt:
            return self._read(seq, after)

    def slots(self) -> list[int]:
        """Return the slots that hold something, the highest first: a listing of the whole log.

        Raises
        ------
        CheckpointCorrupt, Unreachable
        """
        return [self._seq_of(found.key) for found in self.store.list(layout.log_prefix(self.folder))]

    def newest_generation(self, head: Stored | None) -> Stored | None:
        """Return the newest `gen` at or before `head`, None where there is none; nothing damaged is passed over.

        `base`, `seal` and `complete` name it; past a `take` the log is walked back. Each step back checks that the
        newer entry was made on top of the older one.

        Raises
        ------
        CheckpointCorrupt, Unreachable
        """
        at = head
        while at is not None and at.entry.kind is not Kind.GEN:
            below = seq_below(at)
            if below is None:
                return None
            found = self.read(below, after=at)
            if at.entry.kind is not Kind.TAKE and found.entry.kind is not Kind.GEN:
                key = layout.entry_key(self.folder, below)
                where = url_of(self.store, key)
                raise CheckpointCorrupt(f"{where} was to be a generation and is a {found.entry.kind}", key=key)
            at = found
        return at

    def _highest(self) -> int | None:
        newest = self.store.list(layout.log_prefix(self.folder), limit=1)
        return self._seq_of(newest[0].key) if newest else None

    def _seq_of(self, key: str) -> int:
        try:
            return layout.seq_of(key)
        except ValueError as error:
            raise CheckpointCorrupt(
                f"{url_of(self.store, key)} does not belong into a log: remove it, or bring it elsewhere", key=key
            ) from error

    def _read(self, seq: int, after: Stored | None) -> Stored:
        key = layout.entry_key(self.folder, seq)
        where = url_of(self.store, key)
        try:
            data = self.store.get(key)
        except NotFound as error:
            raise EntryMissing(f"{where} is missing from the log", key=key) from error
        found = parsed_entry(data, seq=seq, where=where, key=key)
        # A take that had to pass over a damaged entry was made upon nothing.
        made_upon = after.entry.prev_sha256 if after is not None and after.entry.seq == seq + 1 else ""
        if made_upon and found.sha256 != made_upon:
            raise CheckpointCorrupt(f"{where} is not the entry that the one after it was made upon", key=key)
        return found


def seq_below(stored: Stored) -> int | None:
    """Return the slot to look into next for the newest generation before an entry, None where there is none.

    Raises
    ------
    CheckpointCorrupt
        Where the entry names none of the slots below it.
    """
    entry = stored.entry
    if entry.kind in (Kind.TAKE, Kind.GEN):
        return entry.seq - 1 if entry.seq else None
    named = entry.body.get("generation")
    if named is None or (isinstance(named, int) and 0 <= named < entry.seq):
        return named
    raise CheckpointCorrupt(f"entry {entry.seq} names the generation {named!r}, which is none of the entries below it")


class ShardLog(LogReader):
    """Writes a shard's log as `writer`.

    A write whose outcome is unknown (`Unreachable`) stays on its way: `settle` brings the very same bytes to their
    slot before anything else may be written, so no entry is ever written twice and none is skipped.
    """

    def __init__(self, store: Store, folder: str, *, writer: Writer, clock: Callable[[], float]) -> None:
        super().__init__(store, folder)
        self.writer = writer
        self._clock = clock
        self._head: Stored | None = None
        self._on_its_way: Entry | None = None

    def follow(self, head: Stored | None) -> None:
        """Go on after `head`, which was read from the store."""
        self._head = head

    def take(self, body: dict[str, Any]) -> Stored:
        """Take the shard: from then on every older attempt's next write loses.

        Raises
        ------
        Superseded, ShardComplete, CheckpointCorrupt, Unreachable
        """
        while True:
            top = self.top()
            check_take(top.newest.entry if top.newest else None, self.writer)
            entry = self._next(top, Kind.TAKE, body)
            data = entry.to_bytes()
            if self.store.create(layout.entry_key(self.folder, entry.seq), data) is Creation.CREATED:
                self._head = stored(entry, data)
                return self._head

    def append(self, kind: Kind, body: dict[str, Any]) -> Stored:
        """Write the next entry.

        Raises
        ------
        Superseded, ShardComplete, Overtaken
        Unreachable
            Where it may or may not stand: call `settle` until it returns.
        """
        if self._on_its_way is not None:
            raise RuntimeError("an earlier entry is still on its way: settle it first")
        check_append(self._head.entry if self._head else None, kind, self.writer)
        assert self._head is not None
        self._on_its_way = self._next(Top(seq=self._head.entry.seq, newest=self._head), kind, body)
        written = self.settle()
        assert written is not None
        return written

    def settle(self, *, send: bool = True) -> Stored | None:
        """Bring the entry that is on its way to its slot; None where there is none.

        Parameters
        ----------
        send:
            False where it must not arrive any more: then it is only seen whether it has, and forgotten if not.

        Raises
        ------
        Superseded, ShardComplete, Overtaken, CheckpointCorrupt, Unreachable
        """
        entry = self._on_its_way
        if entry is None:
            return None
        data = entry.to_bytes()
        if not send and not self.store.list(layout.entry_key(self.folder, entry.seq), limit=1):
            self._on_its_way = None
            return None
        created = self.store.create(layout.entry_key(self.folder, entry.seq), data)
        if created is Creation.EXISTS:
            winner = self.read(entry.seq)
            self._on_its_way = None
            check_lost_slot(winner.entry, self.writer)
        self._on_its_way = None
        self._head = stored(entry, data)
        return self._head

    def _next(self, top: Top, kind: Kind, body: dict[str, Any]) -> Entry:
        below = top.newest if top.newest is not None and top.newest.entry.seq == top.seq else None
        return Entry(
            seq=0 if top.seq is None else top.seq + 1,
            kind=kind,
            writer=self.writer,
            prev_sha256="" if below is None else below.sha256,
            time=self._clock(),
            body=body,
        )

"""A shard's log in the store: gap-free, create-only, one writer at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sweep_sidecar import layout
from sweep_sidecar.log.entry import CheckpointCorrupt, Entry, Kind, Stored, Writer, parsed_entry, stored
from sweep_sidecar.log.fencing import check_append, check_lost_slot, check_take
from sweep_sidecar.store import Creation, NotFound, Store, url_of


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
        newest = self.store.list(layout.log_prefix(self.folder), limit=1)
        if not newest:
            return None
        try:
            return self.read(layout.seq_of(newest[0].key))
        except ValueError as error:
            raise CheckpointCorrupt(f"{url_of(self.store, newest[0].key)} does not belong into a log") from error

    def read(self, seq: int) -> Stored:
        """Return the entry in slot `seq`.

        Raises
        ------
        CheckpointCorrupt
            Where the slot, which the log must have, is empty, or what it holds is no entry.
        Unreachable
        """
        key = layout.entry_key(self.folder, seq)
        try:
            data = self.store.get(key)
        except NotFound as error:
            raise CheckpointCorrupt(f"{url_of(self.store, key)} is missing from the log") from error
        return parsed_entry(data, seq=seq, where=url_of(self.store, key))

    def newest_generation(self, head: Stored | None) -> Stored | None:
        """Return the newest `gen` at or before `head`, None where there is none.

        `base`, `seal` and `complete` name it; past a `take` the log is walked back. Each step back checks that the
        newer entry was made on top of the older one.

        Raises
        ------
        CheckpointCorrupt, Unreachable
        """
        at = head
        while at is not None and at.entry.kind is not Kind.GEN:
            if at.entry.kind is Kind.TAKE:
                at = self._before(at)
                continue
            named = at.entry.body["generation"]
            if named is None:
                return None
            before = self._before(at)
            at = before if before is not None and before.entry.seq == named else self.read(named)
            if at.entry.kind is not Kind.GEN:
                key = layout.entry_key(self.folder, named)
                raise CheckpointCorrupt(f"{url_of(self.store, key)} was to be a generation and is a {at.entry.kind}")
        return at

    def _before(self, after: Stored) -> Stored | None:
        if after.entry.seq == 0:
            return None
        before = self.read(after.entry.seq - 1)
        if before.sha256 != after.entry.prev_sha256:
            key = layout.entry_key(self.folder, before.entry.seq)
            raise CheckpointCorrupt(f"{url_of(self.store, key)} is not the entry that the one after it was made upon")
        return before


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
            head = self.head()
            check_take(head.entry if head else None, self.writer)
            entry = self._next(head, Kind.TAKE, body)
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
        self._on_its_way = self._next(self._head, kind, body)
        written = self.settle()
        assert written is not None
        return written

    def settle(self) -> Stored | None:
        """Bring the entry that is on its way to its slot; None where there is none.

        Raises
        ------
        Superseded, ShardComplete, Overtaken, CheckpointCorrupt, Unreachable
        """
        entry = self._on_its_way
        if entry is None:
            return None
        data = entry.to_bytes()
        created = self.store.create(layout.entry_key(self.folder, entry.seq), data)
        if created is Creation.EXISTS:
            winner = self.read(entry.seq)
            self._on_its_way = None
            check_lost_slot(winner.entry, self.writer)
        self._on_its_way = None
        self._head = stored(entry, data)
        return self._head

    def _next(self, head: Stored | None, kind: Kind, body: dict[str, Any]) -> Entry:
        return Entry(
            seq=0 if head is None else head.entry.seq + 1,
            kind=kind,
            writer=self.writer,
            prev_sha256="" if head is None else head.sha256,
            time=self._clock(),
            body=body,
        )

"""What is known of every item: where it stands in the order, how it stands, and where in the log its result lies.

Made for a million items: one string and one dictionary slot an item, the rest in arrays. Results stay in the log until
somebody asks for them.
"""

from __future__ import annotations

import json
import threading
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from resumable_sweep.contract.items import ItemsInvalid


class State(IntEnum):
    """How an item stands; a process that is at work on it does not count here."""

    MISSING = 0
    IN_PROGRESS = 1
    """It was handed out, and then nothing more was heard of it."""
    FAILED = 2
    SKIPPED = 3
    DONE = 4


# Looked up once: an enumeration's members and calls take longer than all else that is done for an item here.
_STATES = tuple(State)
_IN_PROGRESS, _FAILED, _SKIPPED, _DONE = State.IN_PROGRESS, State.FAILED, State.SKIPPED, State.DONE


@dataclass(slots=True)
class Record:
    """What the log says of one key: its state, the entry that decides it (`offset`, `size`; bytes), failures so far."""

    state: State = State.MISSING
    offset: int = -1
    size: int = 0
    failures: int = 0


class Ledger:
    """The items by their place, and by their key's identity what the log says of them.

    `strays` are keys in the log that are no items: of a list that was longer once, of another shard, or of items that
    are still to come where their number is unknown.

    Any thread may add items and note entries: records, items that come one by one, and what forked children have
    appended meet here.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.names: list[str] = []
        self.values: list[Any] = []
        self.strays: dict[str, Record] = {}
        self._place_of: dict[str, int] = {}
        self._states = bytearray()
        self._offsets = array("q")
        self._sizes = array("q")
        self._failures: dict[int, int] = {}
        self._counts = [0] * len(State)

    def __len__(self) -> int:
        return len(self.names)

    def add(self, name: str, value: Any) -> int:
        """Add an item under its key's identity, and return its place.

        Raises
        ------
        ItemsInvalid
            Where there is one of that key.
        """
        with self._lock:
            return self._add(name, value)

    def _add(self, name: str, value: Any) -> int:
        place = len(self.names)
        before = self._place_of.setdefault(name, place)
        if before != place:
            raise ItemsInvalid(
                f"items {before} and {place} have the same key {name:.200}: "
                'give each a "key" of its own (or another key=), or remove one of them'
            )
        self.names.append(name)
        self.values.append(value)
        record = self.strays.pop(name, None) if self.strays else None
        self._states.append(record.state if record else State.MISSING)
        self._offsets.append(record.offset if record else -1)
        self._sizes.append(record.size if record else 0)
        if record and record.failures:
            self._failures[place] = record.failures
        self._counts[self._states[place]] += 1
        return place

    def add_all(self, names: list[str], values: list[Any]) -> None:
        """Add items like that, in order.

        Raises
        ------
        ItemsInvalid
            Where two have the same key.
        """
        is_first = not (self.names or self.strays)
        places = dict(zip(names, range(len(names)), strict=True)) if is_first else {}
        if is_first and len(places) == len(names):
            self.names, self.values, self._place_of = names.copy(), values.copy(), places
            self.forget()
            return
        for name, value in zip(names, values, strict=True):
            self.add(name, value)

    @property
    def settled(self) -> int:
        """How many items are done or skipped."""
        return self._counts[State.SKIPPED] + self._counts[State.DONE]

    def place(self, name: str) -> int | None:
        """Return the place of the item with that identity, None where there is none."""
        return self._place_of.get(name)

    def key(self, place: int) -> Any:
        """Return the key of the item at `place`."""
        return json.loads(self.names[place])

    def state(self, place: int) -> State:
        """Return how the item at `place` stands."""
        return _STATES[self._states[place]]

    def is_settled(self, place: int) -> bool:
        """Return whether nothing is left to do with the item at `place`."""
        return self._states[place] >= _SKIPPED

    def failures(self, place: int) -> int:
        """Return how often the item at `place` has failed."""
        return self._failures.get(place, 0)

    def where(self, place: int) -> tuple[int, int]:
        """Return offset and size (bytes) of the log's entry that decides the state of the item at `place`."""
        with self._lock:
            return self._offsets[place], self._sizes[place]

    def count(self, state: State) -> int:
        """Return how many items stand like that."""
        return self._counts[state]

    def places(self, *states: State) -> Iterator[int]:
        """Yield the places of the items that stand like one of `states`, in order."""
        wanted = frozenset(int(state) for state in states)
        return (place for place, state in enumerate(self._states) if state in wanted)

    def note(self, state: State, names: list[str], offsets: Sequence[int], sizes: Sequence[int]) -> None:
        """Take in entries of the log, in order: a `done` stands for ever, of the others the last one counts."""
        with self._lock:
            if state is State.DONE and names:
                first = self._place_of.get(names[0])
                # Who works alone ends items in their order: then all of a piece is done in a few steps.
                if first is not None and self.names[first : first + len(names)] == names:
                    self._note_done_in_order(first, offsets, sizes)
                    return
            for name, offset, size in zip(names, offsets, sizes, strict=True):
                self._note_one(state, name, offset, size)

    def _note_done_in_order(self, first: int, offsets: Sequence[int], sizes: Sequence[int]) -> None:
        places = slice(first, first + len(offsets))
        before = self._states[places]
        for state in State:
            self._counts[state] -= before.count(state)
        self._counts[State.DONE] += len(offsets)
        self._states[places] = bytes((State.DONE,)) * len(offsets)
        self._offsets[places] = array("q", offsets)
        self._sizes[places] = array("q", sizes)

    def note_one(self, state: State, name: str, offset: int, size: int) -> None:
        """Take in one such entry."""
        with self._lock:
            self._note_one(state, name, offset, size)

    def _note_one(self, state: State, name: str, offset: int, size: int) -> None:
        place = self._place_of.get(name)
        if place is None:
            self._note_stray(state, name, offset, size)
            return
        before = self._states[place]
        if state is _FAILED:
            self._failures[place] = self._failures.get(place, 0) + 1
        if before == _DONE and state is not _DONE:
            return
        if before != state:
            self._states[place] = state
            self._counts[before] -= 1
            self._counts[state] += 1
        if state is not _IN_PROGRESS:
            self._offsets[place] = offset
            self._sizes[place] = size

    def forget(self) -> None:
        """Forget all that the log said; the items stay."""
        self.strays.clear()
        self._failures.clear()
        self._states = bytearray(len(self.names))
        self._offsets = array("q", [-1]) * len(self.names)
        self._sizes = array("q", [0]) * len(self.names)
        self._counts = [0] * len(State)
        self._counts[State.MISSING] = len(self.names)

    def take_back(self, name: str) -> None:
        """Forget the result of that key: it cannot be read any more, so the item runs again."""
        with self._lock:
            place = self._place_of.get(name)
            if place is None:
                self.strays[name] = Record(failures=self.strays[name].failures)
                return
            self._counts[self._states[place]] -= 1
            self._counts[State.MISSING] += 1
            self._states[place] = State.MISSING

    def start_as_child(self) -> None:
        """Make this usable in a forked child, whatever the parent's threads were doing."""
        self._lock = threading.Lock()

    def _note_stray(self, state: State, name: str, offset: int, size: int) -> None:
        record = self.strays.setdefault(name, Record())
        if state is State.FAILED:
            record.failures += 1
        if record.state is State.DONE and state is not State.DONE:
            return
        if state is _DONE and record.state is not _DONE:
            # They are handed back in the order in which they were done, not begun.
            self.strays[name] = self.strays.pop(name)
        record.state = state
        if state is not State.IN_PROGRESS:
            record.offset, record.size = offset, size

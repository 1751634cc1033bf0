"""Which items are at work in this process, and which comes next."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from resumable_sweep._items import ItemSource
from resumable_sweep._ledger import Ledger, State

_REMEMBERED = 4096
"""So many items are known by the object that was handed out, besides those that are at work."""


class HandingOut:
    """Hands out items, each to one thread at a time.

    Parameters
    ----------
    before:
        Called before each item and before the end; it may raise to stop.
    started:
        Called with the place of each item that is handed out, in the thread that gets it.
    """

    def __init__(
        self,
        ledger: Ledger,
        source: ItemSource,
        *,
        max_attempts: int,
        clock: Callable[[], float],
        before: Callable[[], None],
        started: Callable[[int, float], None],
    ) -> None:
        self._ledger = ledger
        self._source = source
        self._max_attempts = max_attempts
        self._clock = clock
        self._before = before
        self._started = started
        # Reentrant: what a generator of items calls must get an error, and not wait for itself.
        self._lock = threading.RLock()
        self._at_work: dict[int, tuple[int, float]] = {}
        self._by_object: OrderedDict[int, int] = OrderedDict()
        self.is_exhausted = source.is_sized

    def a_pass(self) -> Iterator[Any]:
        """Return an iterator over what there is to do now, in order; threads may share it.

        What this thread got in an earlier pass, and never ended, is handed out again.
        """
        me = threading.get_ident()
        with self._lock:
            # A copy: other threads end theirs meanwhile.
            for place in [place for place, (owner, _) in tuple(self._at_work.items()) if owner == me]:
                del self._at_work[place]
        return _Pass(self)

    def extend(self, items: Iterable[Any]) -> None:
        """Have `items` follow all that there are."""
        with self._lock:
            self._source.extend(items, self._ledger)

    def next_after(self, place: int) -> int:
        """Return the place of the next item to do after `place`, now at work in this thread; -1 where there is none."""
        self._before()
        with self._lock:
            while True:
                place += 1
                if place >= len(self._ledger) and not self._pull():
                    break
                if self._is_to_do(place):
                    at = self._clock()
                    self._at_work[place] = (threading.get_ident(), at)
                    self._remember(place)
                    try:
                        self._started(place, at)
                    except BaseException:
                        # Nobody has got it: the next one who asks shall.
                        del self._at_work[place]
                        raise
                    return place
        self._before()
        return -1

    def value(self, place: int) -> Any:
        """Return the item at `place`."""
        return self._ledger.values[place]

    def place_of(self, item: Any) -> int | None:
        """Return the place of an object that was handed out, None where it was not."""
        return self._by_object.get(id(item))

    def started_at(self, place: int) -> float | None:
        """Return when the item at `place`, at work now, was handed out (Unix seconds)."""
        found = self._at_work.get(place)
        return None if found is None else found[1]

    def ended(self, place: int) -> None:
        """Note that nobody works on the item at `place` any more."""
        self._at_work.pop(place, None)

    def mine(self) -> list[int]:
        """Return the places of the items that are at work in this thread."""
        me = threading.get_ident()
        return [place for place, (owner, _) in tuple(self._at_work.items()) if owner == me]

    def start_as_child(self) -> None:
        """Make this usable in a forked child, whatever the parent's threads were doing."""
        self._lock = threading.RLock()

    def _pull(self) -> bool:
        if not self.is_exhausted and not self._source.pull(self._ledger, 1):
            self.is_exhausted = True
        return not self.is_exhausted

    def _is_to_do(self, place: int) -> bool:
        ledger = self._ledger
        if ledger.is_settled(place) or place in self._at_work:
            return False
        return ledger.state(place) is not State.FAILED or ledger.failures(place) < self._max_attempts

    def _remember(self, place: int) -> None:
        self._by_object[id(self._ledger.values[place])] = place
        while len(self._by_object) > _REMEMBERED + len(self._at_work):
            oldest, kept = self._by_object.popitem(last=False)
            if kept in self._at_work:
                self._by_object[oldest] = kept


class _Pass(Iterator[Any]):
    def __init__(self, handing_out: HandingOut) -> None:
        self._handing_out = handing_out
        self._place = -1
        self._lock = threading.Lock()

    def __next__(self) -> Any:
        with self._lock:
            found = self._handing_out.next_after(self._place)
            if found < 0:
                raise StopIteration
            self._place = found
        return self._handing_out.value(found)

"""Blobs into the store, under names that are in use for a few hours only.

Retention deletes, by its name, what is old and what nothing refers to. So nothing may refer to an old blob anew, and no
name may come back after it. Both follow from how blobs are named and from how long they count as fresh; the whole
argument is in docs/design/2026-11-retention-beside-writers.md. Nobody has to ask the store how old a blob is, and no
clock has to be right.
"""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from sweep_sidecar.content import store_blob
from sweep_sidecar.log.generation import Segment
from sweep_sidecar.store import Store

NAME_S = 6 * 3600.0
"""How long a name is given to content, and so how old a blob can be that is found under the name for new content."""
FRESH_S = 12 * 3600.0
"""How long after it was sent or found an entry may begin to refer to a blob."""
LEAST_AGE_S = 24 * 3600.0
"""Retention leaves younger blobs alone: more than both together, and five hours for a request that is on its way."""
_REMEMBERED = 4096
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Moment:
    """A moment on two clocks, in seconds: the node's since it was started, and the time of day.

    The one stands still where a whole machine is put to sleep, the other one may be set back.
    """

    boot: float
    wall: float

    def since(self, earlier: Moment) -> float:
        """Return the seconds since an earlier moment, by the clock that shows more."""
        return max(self.boot - earlier.boot, self.wall - earlier.wall)


def now() -> Moment:
    """Return this moment."""
    return Moment(time.clock_gettime(time.CLOCK_BOOTTIME), time.time())


def node_word() -> str:
    """Return a word that no other start of a machine has: processes that share it share both clocks too."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return uuid.uuid4().hex  # a sandbox that hides it: what this process has sent is found by no other


def name_word(node: str, moment: Moment) -> str:
    """Return the word in the names of blobs that are sent at a moment: another one as soon as either clock says so."""
    periods = f"{node} {moment.boot // NAME_S:.0f} {moment.wall // NAME_S:.0f}"
    return hashlib.sha256(periods.encode()).hexdigest()[:16]


class Blobs:
    """Puts content into blobs, in any thread, and knows for which of them it is too late to be referred to.

    Content that this machine has sent a short time ago, for whichever shard of the run, is not sent again.

    Parameters
    ----------
    node:
        Which clocks `moment` reads, and which processes share them.
    """

    def __init__(
        self,
        store: Store,
        *,
        nonce: Callable[[], str],
        moment: Callable[[], Moment] = now,
        node: str = "",
    ) -> None:
        self._store = store
        self._nonce = nonce
        self.damaged: Collection[str] = frozenset()
        """Keys at which something was found that is not what was sent there: they are not used again."""
        self._moment = moment
        self._node = node or node_word()
        self._lock = threading.Lock()
        self._word = ""
        self._unpublished: dict[str, Moment] = {}
        self._sent: OrderedDict[bytes, tuple[Segment, Moment]] = OrderedDict()
        self.writes = 0
        """How many blobs were created, or tried to."""

    def store(self, data: bytes) -> Segment:
        """Return the segment of a blob that holds `data`.

        Raises
        ------
        Unreachable
        """
        begun = self._moment()
        digest = hashlib.sha256(data).digest()
        with self._lock:
            self._turn_over(begun)
            word = self._word
            # A look that the store cut short is done again from its start: what it has sent needs not be sent twice.
            known = self._sent.get(digest)
            self.writes += known is None
        segment, begun = known or (
            store_blob(self._store, data, nonce=self._nonce, word=word, damaged=self.damaged),
            begun,
        )
        assert segment.blob is not None
        with self._lock:
            self._unpublished[segment.blob] = begun
            if word == self._word:
                self._sent[digest] = segment, begun
                if len(self._sent) > _REMEMBERED:
                    self._sent.popitem(last=False)
        return segment

    def is_fresh(self, key: str) -> bool:
        """Return whether an entry may still begin to refer to a blob."""
        begun = self._unpublished.get(key)
        return begun is not None and self._moment().since(begun) <= FRESH_S

    def published(self) -> None:
        """Note that all is published that refers to what was stored so far."""
        self._unpublished.clear()

    def _turn_over(self, moment: Moment) -> None:
        """Begin with other names when the time of the old ones is over, and find nothing any more by those."""
        word = name_word(self._node, moment)
        if word != self._word:
            self._word = word
            self._sent.clear()
            # Of what is too old, and of what is not known, the same is said.
            self._unpublished = {key: begun for key, begun in self._unpublished.items() if self.is_fresh(key)}

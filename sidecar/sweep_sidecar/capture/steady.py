"""Files that are copied whole, and only if nobody wrote to them meanwhile."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO

from sweep_sidecar.content import BLOB_BYTES
from sweep_sidecar.log.generation import FileVersion, Segment

INLINE_BYTES = 64 << 10
"""Most bytes that travel in a generation's own entry: one write to the store is then the whole generation."""
TICK_NS = 50_000_000
"""A file changed more recently than this may change again without its time stamp moving (ticks of the kernel's clock
are 1 to 10 ms; network file systems are coarser)."""
SENT_AT_ONCE = 2
"""So many chunks of a file are on their way to the store at a time: one is read while another waits for its answer."""
_MOST_RESTLESS = 40
"""For so many files a look that are written to without a pause it is found out that they are; two seconds at most."""

Fingerprint = tuple[int, int, int, int]
"""Inode, size, and the times of content and inode (nanoseconds): what changes whenever a file does."""


class Unsteady(Exception):
    """The file changed while it was read."""


def fingerprint_of(status: os.stat_result) -> Fingerprint:
    """Return the fingerprint of a file."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def settled(fingerprint: Fingerprint, *, now_ns: int) -> bool:
    """Return whether an unchanged fingerprint will mean an unchanged file.

    It will for a time stamp in the future too: no write could leave it as it is.
    """
    return abs(now_ns - fingerprint[2]) > TICK_NS


class Settling:
    """Waits until changes of files show in their fingerprints; for each file of a look once.

    Files that are listed together settle together: all of them cost one tick. Only one that is written to meanwhile
    costs another.

    Parameters
    ----------
    at_rest:
        Nobody writes any more: there is nothing to wait for.
    """

    def __init__(
        self,
        *,
        clock_ns: Callable[[], int],
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
        at_rest: bool,
    ) -> None:
        self._clock_ns = clock_ns
        self._monotonic = monotonic
        self._sleep = sleep
        self._at_rest = at_rest
        self._restless: set[str] = set()
        self._listed_at_s = monotonic()

    def listed(self) -> None:
        """Note that the files whose status will be asked for have been listed just now."""
        self._listed_at_s = self._monotonic()

    def status(self, path: str, file: BinaryIO) -> os.stat_result:
        """Return the status of the open file `path`, once a write from now on will change its fingerprint.

        Raises
        ------
        Unsteady
            Where it is written to again and again.
        """
        status = os.fstat(file.fileno())
        if status.st_size == 0 and not self._at_rest:
            # A file that is being cut to nothing has its new size for a moment before it has its new time stamp.
            self._sleep(max(0.0, TICK_NS / 1e9 - (self._monotonic() - self._listed_at_s)))
            status = os.fstat(file.fileno())
        left_ns = self._left_ns(status)
        if left_ns < 0:
            return status
        if path not in self._restless and len(self._restless) < _MOST_RESTLESS:
            self._sleep((left_ns + 1_000_000) / 1e9)
            status = os.fstat(file.fileno())
            if self._left_ns(status) < 0:
                return status
            self._restless.add(path)
        raise Unsteady(path)

    def _left_ns(self, status: os.stat_result) -> int:
        return -1 if self._at_rest else TICK_NS - abs(self._clock_ns() - status.st_mtime_ns)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A file that was read through once: whole digest, digests of its chunks (in order), permission bits."""

    fingerprint: Fingerprint
    sha256: str
    chunks: tuple[tuple[int, str], ...]
    mode: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.fingerprint[1]


def measure(file: BinaryIO, status: os.stat_result | None = None) -> Measured:
    """Read an open file through, in chunks of the blobs' size.

    Parameters
    ----------
    status:
        Its status before; None = as it is now.

    Raises
    ------
    Unsteady
        Where it changed meanwhile.
    OSError
    """
    before = status or os.fstat(file.fileno())
    whole = hashlib.sha256()
    chunks = []
    file.seek(0)
    while chunk := file.read(BLOB_BYTES):
        whole.update(chunk)
        chunks.append((len(chunk), hashlib.sha256(chunk).hexdigest()))
    after = os.fstat(file.fileno())
    if not is_same(before, after):
        raise Unsteady
    return Measured(
        fingerprint=fingerprint_of(after),
        sha256=whole.hexdigest(),
        chunks=tuple(chunks),
        mode=stat.S_IMODE(after.st_mode) & 0o777,
    )


def is_same(before: os.stat_result, after: os.stat_result) -> bool:
    """Return whether an open file's content and permissions are what they were.

    One that has lost or won a name meanwhile (another was renamed over it, say) has a new time of its inode for that.
    """
    first, second = fingerprint_of(before), fingerprint_of(after)
    return first == second or (first[:3] == second[:3] and before.st_nlink != after.st_nlink)


def stored_version(
    file: BinaryIO,
    measured: Measured,
    *,
    previous: FileVersion | None,
    store_piece: Callable[[bytes], Segment],
) -> FileVersion:
    """Bring a measured file into the store and return it as a version; what `previous` has is not sent again.

    `store_piece` is called in threads; none of its calls is under way any more when this ends, however it does.

    Raises
    ------
    Unsteady
        Where it is no longer what was measured.
    OSError, Unreachable
    """
    if previous is not None and (previous.size, previous.sha256) == (measured.size, measured.sha256):
        segments = previous.segments
    else:
        there = {segment.sha256: segment for segment in (previous.segments if previous else ()) if segment.blob}
        segments = tuple(_stored_chunks(file, measured, there=there, store_piece=store_piece))
    return FileVersion(size=measured.size, sha256=measured.sha256, mode=measured.mode, segments=segments)


def read_measured(file: BinaryIO, measured: Measured) -> bytes:
    """Return the bytes of a measured file.

    Raises
    ------
    Unsteady
        Where they are no longer what was measured.
    OSError
    """
    file.seek(0)
    data = file.read()
    if hashlib.sha256(data).hexdigest() != measured.sha256:
        raise Unsteady
    return data


def _stored_chunks(
    file: BinaryIO, measured: Measured, *, there: Mapping[str, Segment], store_piece: Callable[[bytes], Segment]
) -> list[Segment]:
    sent: dict[str, Future[Segment]] = {}
    under_way: deque[Future[Segment]] = deque()
    file.seek(0)
    with ThreadPoolExecutor(max_workers=SENT_AT_ONCE, thread_name_prefix="send") as pool:
        for size, sha256 in measured.chunks:
            if sha256 in there or sha256 in sent:
                file.seek(size, os.SEEK_CUR)
                continue
            if len(under_way) >= SENT_AT_ONCE:
                under_way.popleft().result()
            chunk = file.read(size)
            if hashlib.sha256(chunk).hexdigest() != sha256:
                raise Unsteady
            if len(measured.chunks) == 1:  # there may be thousands of small files: no thread for each of them
                return [store_piece(chunk)]
            sent[sha256] = pool.submit(store_piece, chunk)
            under_way.append(sent[sha256])
    return [there[sha256] if sha256 in there else sent[sha256].result() for _, sha256 in measured.chunks]

"""Files' bytes out of the store, each piece and each file checked, and blobs into it."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from sweep_sidecar import layout
from sweep_sidecar.log.entry import CheckpointCorrupt, Kind, NewerSchema
from sweep_sidecar.log.generation import FileVersion, Generation, Segment, parsed_generation
from sweep_sidecar.log.shard_log import LogReader
from sweep_sidecar.store import Creation, NotFound, Store, Unreachable, url_of

_LOG = logging.getLogger(__name__)
BLOB_BYTES = 8 << 20
"""Larger files are cut into blobs of this size: the most that is held in memory for one of them."""
AHEAD_BYTES = 32 << 20
"""So much is asked for ahead of what is used, and so much memory a reader may hold: four blobs of full size."""
_CALLS = 16
"""Most calls at once: small pieces come as fast as the store's latency allows, not one after the other."""
_ENTRIES_KEPT = 16


def store_blob(
    store: Store, data: bytes, *, nonce: Callable[[], str], word: str = "", damaged: Collection[str] = frozenset()
) -> Segment:
    """Put `data` into the store under its own digest and `word`, unless it is there.

    Where something else stands there (torn or wrong, on a store that lets that happen), it blocks nobody: the blob
    gets a name of its own. So it does where the key is one of `damaged`: a store that tells by a checksum which it has
    kept apart would take what has rotted since for whole.

    Raises
    ------
    Unreachable
    """
    sha256 = hashlib.sha256(data).hexdigest()
    key = layout.blob_key(sha256, word)
    if key in damaged or store.create(key, data) is Creation.EXISTS:
        key = layout.blob_key(sha256, nonce())
        if store.create(key, data) is Creation.EXISTS:
            raise Unreachable(f"{url_of(store, key)} exists although its name was never used")
    return Segment(size=len(data), sha256=sha256, blob=key)


class ContentReader:
    """Reads the files of a shard's generations."""

    def __init__(self, log: LogReader) -> None:
        self._log = log
        self._entries: OrderedDict[int, dict[str, bytes]] = OrderedDict()
        self._damaged: dict[tuple[str | None, int | None, str], CheckpointCorrupt] = {}
        self._lock = threading.Lock()
        self._reading: dict[int, threading.Lock] = {}

    def pieces(self, version: FileVersion, *, what: str) -> Iterator[bytes]:
        """Yield a file's bytes piece by piece; the last piece comes only after the whole file's digest was checked.

        Raises
        ------
        CheckpointCorrupt
            Where a piece is missing or is not what the generation says; the message names the object.
        Unreachable
        """
        return self._checked(version, self._fetched(version.segments), what=what)

    def content(self, version: FileVersion, *, what: str) -> bytes:
        """Return a file's bytes, checked.

        Raises
        ------
        CheckpointCorrupt, Unreachable
        """
        return b"".join(self.pieces(version, what=what))

    def write_file(self, version: FileVersion, target: Path, *, staged: Path) -> None:
        """Write a file to `target`, durable and in one step, by way of `staged` (same file system).

        Raises
        ------
        CheckpointCorrupt, Unreachable, OSError
        """
        self.write_files([(version, target)], staged=staged)

    def write_files(
        self,
        files: Iterable[tuple[FileVersion, Path]],
        *,
        staged: Path,
        wrote: Callable[[int], None] = lambda size: None,
        done: Callable[[Path], None] = lambda target: None,
    ) -> None:
        """Write files one after the other as `write_file` does; pieces of the next ones are fetched meanwhile.

        Parameters
        ----------
        wrote:
            Called with the size of each piece that was checked and written.
        done:
            Called with each target once its file is there.

        Raises
        ------
        CheckpointCorrupt, Unreachable, OSError
        """
        wanted = list(files)
        pieces = self._fetched([segment for version, _ in wanted for segment in version.segments])
        with contextlib.closing(pieces):
            for version, target in wanted:
                with staged.open("wb") as file:
                    for piece in self._checked(version, pieces, what=target.name):
                        file.write(piece)
                        wrote(len(piece))
                    file.flush()
                    os.fchmod(file.fileno(), version.mode)
                    os.fsync(file.fileno())
                target.parent.mkdir(parents=True, exist_ok=True)
                staged.replace(target)
                done(target)

    def _checked(self, version: FileVersion, pieces: Iterator[bytes], *, what: str) -> Iterator[bytes]:
        """Yield a file's pieces, which are the next ones of `pieces`; the last one only after all were checked."""
        digest = hashlib.sha256()
        size = 0
        held = b""
        for piece in islice(pieces, len(version.segments)):
            digest.update(piece)
            size += len(piece)
            if held:
                yield held
            held = piece
        if (size, digest.hexdigest()) != (version.size, version.sha256):
            raise CheckpointCorrupt(
                f"{what} in {self._log.store.url} has {size} bytes with sha256 {digest.hexdigest()}, "
                f"its generation says {version.size} bytes with {version.sha256}"
            )
        if held:
            yield held

    def _fetched(self, segments: Sequence[Segment]) -> Generator[bytes, None, None]:
        """Yield segments' bytes in order; those that come next are fetched meanwhile, within bounds."""
        if len(segments) <= 1:
            yield from map(self._segment, segments)
            return
        waiting: deque[tuple[int, Future[bytes]]] = deque()
        ahead = 0
        pool = ThreadPoolExecutor(max_workers=_CALLS, thread_name_prefix="fetch")
        try:
            for segment in segments:
                while waiting and (len(waiting) >= _CALLS or ahead + segment.size > AHEAD_BYTES):
                    size, first = waiting.popleft()
                    yield first.result()
                    ahead -= size
                waiting.append((segment.size, pool.submit(self._segment, segment)))
                ahead += segment.size
            while waiting:
                yield waiting.popleft()[1].result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _segment(self, segment: Segment) -> bytes:
        """Return a segment's bytes; what is wrong with them at one read must be so at the next one too."""
        name = (segment.blob, segment.seq, segment.sha256)
        if name in self._damaged:
            raise self._damaged[name]  # generations share pieces: one that is damaged is not fetched for each of them
        try:
            return self._fetch(segment)
        except NewerSchema:
            raise
        except CheckpointCorrupt as error:
            _LOG.warning("%s; reading it again", error)
        with self._lock:
            self._entries.pop(-1 if segment.seq is None else segment.seq, None)
        try:
            return self._fetch(segment)
        except CheckpointCorrupt as error:
            self._damaged[name] = error
            raise

    def _fetch(self, segment: Segment) -> bytes:
        if segment.inline is not None:
            data, key = segment.inline, ""
        elif segment.seq is not None:
            key = layout.entry_key(self._log.folder, segment.seq)
            found = self._inline_of(segment.seq).get(segment.sha256)
            if found is None:
                raise CheckpointCorrupt(f"{self._where(key)} lacks the inline piece {segment.sha256}", key=key)
            data = found
        else:
            assert segment.blob is not None
            key = segment.blob
            try:
                data = self._log.store.get(key)
            except NotFound as error:
                raise CheckpointCorrupt(f"{self._where(key)} is missing", key=key) from error
        digest = hashlib.sha256(data).hexdigest()
        if (len(data), digest) != (segment.size, segment.sha256):
            raise CheckpointCorrupt(
                f"{self._where(key) if key else 'an inline piece'} holds {len(data)} bytes with sha256 {digest}, "
                f"its generation says {segment.size} bytes with {segment.sha256}",
                key=key,
            )
        return data

    def _where(self, key: str) -> str:
        return url_of(self._log.store, key)

    def _inline_of(self, seq: int) -> dict[str, bytes]:
        """Return the inline pieces of entry `seq` by their digests."""
        with self._lock:
            reading = self._reading.setdefault(seq, threading.Lock())
        with reading:  # the pieces of many files may be in one entry: it is read once for all of them
            with self._lock:
                if seq in self._entries:
                    self._entries.move_to_end(seq)
                    return self._entries[seq]
            pieces = self._read_inline(seq)
            with self._lock:
                self._entries[seq] = pieces
                while len(self._entries) > _ENTRIES_KEPT:
                    self._entries.popitem(last=False)
        return pieces

    def _read_inline(self, seq: int) -> dict[str, bytes]:
        found = self._log.read(seq)
        key = layout.entry_key(self._log.folder, seq)
        if found.entry.kind is not Kind.GEN:
            raise CheckpointCorrupt(f"{self._where(key)} was to be a generation and is a {found.entry.kind}", key=key)
        return inline_pieces(parsed_generation(found.entry.body, where=self._where(key), key=key))


def inline_pieces(generation: Generation) -> dict[str, bytes]:
    """Return the pieces that travel in a generation's own entry, by their digests."""
    return {
        segment.sha256: segment.inline
        for version in generation.files.values()
        for segment in version.segments
        if segment.inline is not None
    }

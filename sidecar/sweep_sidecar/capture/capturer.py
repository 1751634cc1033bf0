"""One look after the other at a snapshot directory: what is in it, what is new, what is wrong."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from resumable_sweep.contract.log_format import LogInvalid
from resumable_sweep.contract.manifest import SUFFIX, parsed_manifest
from sweep_sidecar.capture.groups import Group, Kind, groups_of
from sweep_sidecar.capture.growing import Growth, adopted_growing
from sweep_sidecar.capture.names import fits
from sweep_sidecar.capture.opening import Gone, Unreadable, opened
from sweep_sidecar.capture.passing import STRICT_TRIES, TRIES, Left, Pass, Torn
from sweep_sidecar.capture.room import nearly_full
from sweep_sidecar.capture.steady import INLINE_BYTES, Fingerprint, Settling, Unsteady, measure, read_measured, settled
from sweep_sidecar.capture.taking import Taker, Tracked
from sweep_sidecar.capture.tree import Tree, tree_of
from sweep_sidecar.log.generation import FileVersion, Generation, Segment, inline_segment
from sweep_sidecar.progress import (
    LOG_SUFFIX,
    Counted,
    Progress,
    counted_lines,
    counted_mime,
    counted_start,
    counting,
    may_be_mime,
    united,
)

_LOG = logging.getLogger(__name__)
_LOOKS_TO_SETTLE = 5
"""So many looks in a row may find a file in the middle of being written before that is called a problem."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with the snapshot directory: a CamelCase reason and a sentence."""

    reason: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Look:
    """The directory at one moment. Where `refusal` is set, it must not be published."""

    files: dict[str, FileVersion]
    counted: Counted
    progress: tuple[str, ...]
    refusal: Problem | None = None
    unsettled: Problem | None = None
    """Files that never were whole for several looks (or, in the last look, at all): their older versions stand."""
    is_torn: bool = False
    """The directory changed too fast to be read as a whole: all is as at the look before."""
    nearly_full: Problem | None = None
    """What is left of the volume; the look counts all the same."""


@dataclass(frozen=True)
class _Waiting:
    """A group that was left as it was, at so many looks in a row; `idle` of them in which nothing in it changed."""

    left: Left
    looks: int
    idle: int


@dataclass
class Capturer:
    """Looks at `root`, and brings what is new into the store while it does.

    Parameters
    ----------
    store_blob:
        Puts bytes into the store, for all that is too large to travel in a log entry; it is called in threads.
    named:
        Path of the checkpoint whose records are counted; where it is none that can be counted, all that can are.
    progress:
        In which format records are counted.
    commit:
        Patterns of the files by whose presence a folder is a whole checkpoint, or names of formats.
    append:
        Patterns of files that only grow, by lines, besides `*.jsonl`.
    restored_marker:
        The file that a restore leaves at its end: what was not changed since was brought here by it, and is whole.
    clock_ns:
        Time of day in nanoseconds, on the clock that stamps the files.
    """

    root: Path
    store_blob: Callable[[bytes], Segment]
    named: str = ""
    progress: Progress = "auto"
    commit: tuple[str, ...] = ()
    append: tuple[str, ...] = ()
    restored_marker: Path | None = None
    clock_ns: Callable[[], int] = time.time_ns
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _tracked: dict[str, Tracked] = field(default_factory=dict)
    _waiting: dict[str, _Waiting] = field(default_factory=dict)
    _folders: frozenset[str] = frozenset()
    _torn_looks: int = 0
    _inline_left: int = 0
    _taking_room: threading.Lock = field(default_factory=threading.Lock)
    _newest: Look | None = None
    _manifests: dict[str, tuple[Fingerprint, bool]] = field(default_factory=dict)
    _said: set[str] = field(default_factory=set)

    def adopt(self, generation: Generation, *, read: Callable[[str, FileVersion], bytes]) -> Counted:
        """Start from a generation that an earlier process published or a restore brought here; return its records.

        A file that still begins as it was published goes on from there. Of the others nothing but the content is
        known, and the records of such a one are read from the store with `read`.

        Raises
        ------
        LogInvalid, CheckpointCorrupt, Unreachable
        """
        counted: dict[str, Counted | None] = {}
        for path, version in generation.files.items():
            tracked = self._adopted(path, version)
            self._tracked[path] = tracked
            self._newest = None
            counted[path] = tracked.counted
            if path in generation.progress and tracked.counted is None:
                counted[path] = self._counted_content(path, read(path, version))
        return united([counted[path] or Counted() for path in generation.progress])

    def look(self, *, last: bool = False) -> Look:
        """Return the directory as it is now.

        Parameters
        ----------
        last:
            Nobody writes any more: append-only files are read in full again, and what is not whole will never be.

        Raises
        ------
        Unreachable
            Where something new could not be brought into the store; the next look does it again.
        """
        # What an earlier look found and no entry holds yet travels in the next one too.
        on_their_way = (piece for tracked in self._tracked.values() for piece in tracked.version.segments)
        self._inline_left = INLINE_BYTES - sum(len(piece.inline or b"") for piece in on_their_way)
        try:
            return self._whole(last=last)
        except Unreadable as error:
            return self._refused("CheckpointUnreadable", str(error))
        except LogInvalid as error:
            return self._refused(
                "CheckpointInvalid", f"{error}. What is stored stays as it is, and nothing new is mirrored until then"
            )
        except Torn as error:
            self._torn_looks += 1
            problem = None
            if last or self._torn_looks >= _LOOKS_TO_SETTLE:
                problem = Problem(
                    "CheckpointUnstable",
                    f"the snapshot directory changes faster than it can be read ({error}): nothing new is mirrored "
                    "until it can. Keep what changes all the time elsewhere",
                )
            return replace(self._seen(unsettled=problem), is_torn=True)

    def published(self, seq: int) -> None:
        """Note that entry `seq` now holds what the last look found."""
        for path, tracked in self._tracked.items():
            version = tracked.version.after_publishing(seq)
            growing = replace(tracked.growing, version=version) if tracked.growing else None
            self._tracked[path] = replace(tracked, version=version, growing=growing)
        self._newest = None

    def _whole(self, *, last: bool) -> Look:
        settling = Settling(clock_ns=self.clock_ns, monotonic=self.monotonic, sleep=self.sleep, at_rest=last)

        def scan() -> Tree:
            tree = tree_of(self.root)
            settling.listed()
            return tree

        tree = scan()
        self._say_left_out(tree)
        if not last and not self._waiting and self._is_as_it_was(tree):
            self._torn_looks = 0
            return self._seen(unsettled=None)
        known = dict(self._tracked)
        for number in range(1, TRIES + 1):
            one = self._pass(known, settling, scan, is_strict=number <= STRICT_TRIES, last=last)
            try:
                one.run(tree)
                break
            except Torn:
                if number == TRIES:
                    raise
            tree = scan()
        self._torn_looks = 0
        self._tracked = one.taken
        self._newest = None
        self._waiting = {path: self._still_waiting(path, left) for path, left in one.left.items()}
        self._folders = one.folders
        return self._seen(unsettled=self._unsettled(last=last))

    def _pass(
        self,
        known: dict[str, Tracked],
        settling: Settling,
        scan: Callable[[], Tree],
        *,
        is_strict: bool,
        last: bool,
    ) -> Pass:
        growth = Growth(
            store_piece=self._store_piece,
            is_settled=self._is_settled,
            now_s=self.monotonic(),
            progress=self.progress,
            thorough=last,
        )

        placed_ns = 0
        if self.restored_marker is not None:
            with suppress(FileNotFoundError):
                placed_ns = self.restored_marker.stat().st_mtime_ns

        def taker_for(tree: Tree) -> Taker:
            return Taker(
                root=self.root,
                tree=tree,
                known=known,
                growth=growth,
                settling=settling,
                clock_ns=self.clock_ns,
                at_rest=last,
                placed_ns=placed_ns,
            )

        return Pass(
            scan=scan,
            groups_in=self._groups_in,
            taker_for=taker_for,
            standing=self._tracked,
            known=known,
            left_before={path: waiting.left for path, waiting in self._waiting.items()},
            is_settled=self._is_settled,
            is_strict=is_strict,
            at_rest=last,
        )

    def _groups_in(self, tree: Tree) -> list[Group]:
        self._manifests = {path: known for path, known in self._manifests.items() if path in tree.files}
        return groups_of(
            tree,
            is_log=self._is_log,
            commit=self.commit,
            known=self._still_known(self._folders),
            vouched=self._vouched(),
            lists=lambda path: self._lists(path, tree),
        )

    def _lists(self, path: str, tree: Tree) -> bool:
        """Return whether a file is the manifest of a folder."""
        found = tree.files[path]
        known = self._manifests.get(path)
        if known is not None and known[0] == found:
            return known[1]
        try:
            with opened(self.root, tree.links.get(path, path)) as file:
                lists = parsed_manifest(file.read()).files is not None
        except (OSError, Gone, ValueError, TypeError):
            lists = False
        self._manifests[path] = found, lists
        return lists

    def _vouched(self) -> frozenset[str]:
        """Return what was taken with a manifest and may be on its way again: not for ever."""
        bases = {path.removesuffix(SUFFIX) for path in self._tracked if path.endswith(SUFFIX)}
        if not bases:
            return frozenset()
        bases &= {*self._tracked, *(str(above) for path in self._tracked for above in PurePosixPath(path).parents)}
        return self._still_known(bases)

    def _still_known(self, paths: Collection[str]) -> frozenset[str]:
        """Return those that may be on their way to be whole again: what never is becomes a file like others."""
        looks = {path: waiting.looks for path, waiting in self._waiting.items()}
        return frozenset(path for path in paths if looks.get(path, 0) < _LOOKS_TO_SETTLE)

    def _is_log(self, path: str) -> bool:
        return path.endswith(LOG_SUFFIX) or any(fits(path, pattern) for pattern in self.append)

    def _is_settled(self, fingerprint: Fingerprint) -> bool:
        return settled(fingerprint, now_ns=self.clock_ns())

    def _is_as_it_was(self, tree: Tree) -> bool:
        return tree.files.keys() == self._tracked.keys() and all(
            self._tracked[path].is_still(found) for path, found in tree.files.items()
        )

    def _say_left_out(self, tree: Tree) -> None:
        for path in sorted(tree.left_out.keys() - self._said):
            _LOG.warning("%s is %s: it is not stored", path, tree.left_out[path])
        self._said |= tree.left_out.keys()

    def _still_waiting(self, path: str, left: Left) -> _Waiting:
        before = self._waiting.get(path)
        if before is None:
            return _Waiting(left, 1, 1)
        # A folder may take its time to become whole, as long as something comes.
        is_idle = left.kind is not Kind.FOLDER or before.left.found == left.found
        return _Waiting(left, before.looks + 1, before.idle + 1 if is_idle else 1)

    def _store_piece(self, data: bytes) -> Segment:
        """Store a piece: in the next entry while there is room in it, else in a blob."""
        with self._taking_room:
            is_inline = len(data) <= self._inline_left
            if is_inline:
                self._inline_left -= len(data)
        return inline_segment(data) if is_inline else self.store_blob(data)

    def _adopted(self, path: str, version: FileVersion) -> Tracked:
        try:
            if self._is_log(path):
                with opened(self.root, path) as file:
                    growing = adopted_growing(file, version, progress=self.progress, now_s=self.monotonic())
                if growing is not None:
                    return Tracked(version=version, counted=growing.counted, growing=growing)
            elif may_be_mime(path, self.progress):
                with opened(self.root, path) as file:
                    measured = measure(file)
                    if measured.sha256 == version.sha256:
                        return Tracked(version=version, counted=counted_mime(read_measured(file, measured)))
        except (OSError, Gone, Unreadable, Unsteady):
            pass  # gone or being written: the next look says what is there now
        return Tracked(version=version)

    def _counted_content(self, path: str, data: bytes) -> Counted | None:
        if may_be_mime(path, self.progress):
            return counted_mime(data)
        start = counted_start(data, self.progress)
        return None if start is None else counted_lines(data, start)

    def _unsettled(self, *, last: bool) -> Problem | None:
        stuck = {path: one.left for path, one in self._waiting.items() if last or one.idle >= _LOOKS_TO_SETTLE}
        if not stuck:
            return None
        paths = [path or "the snapshot directory" for path in sorted(stuck)]
        first = stuck[min(stuck)]
        return Problem(
            "CheckpointInUse" if first.is_in_use else "CheckpointUnstable",
            f"{', '.join(paths[:3])} {'is' if len(stuck) == 1 else 'are'} not whole at any look: {first.why}"
            + ("" if first.is_in_use or first.kind is Kind.FOLDER else ". Write to a temporary name and rename"),
        )

    def _refused(self, reason: str, message: str) -> Look:
        return replace(self._seen(unsettled=None), refusal=Problem(reason, message))

    def _seen(self, *, unsettled: Problem | None) -> Look:
        if self._newest is None:
            self._newest = self._looked()
        full = nearly_full(self.root)
        return replace(
            self._newest,
            unsettled=unsettled,
            nearly_full=Problem("SnapshotVolumeNearlyFull", full) if full else None,
        )

    def _looked(self) -> Look:
        counted = {path: tracked.counted for path, tracked in self._tracked.items()}
        named = self._tracked.get(self.named)
        if named is not None and named.growing is not None and not named.version.size:
            # It was only just made. What other files record must not count until its first line is there: it would
            # seem to be lost from then on.
            counted[self.named] = Counted(formats=united([one or Counted() for one in counted.values()]).formats)
        progress = counting(counted, named=self.named)
        return Look(
            files={path: tracked.version for path, tracked in sorted(self._tracked.items())},
            counted=united([counted[path] or Counted() for path in progress]),
            progress=progress,
        )

"""One look after the other at a snapshot directory: what is in it, what is new, what is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from resumable_sweep.contract.log_format import LogInvalid
from resumable_sweep.contract.manifest import parsed_manifest
from sweep_sidecar.capture.growing import GrowingFile, adopted_growing, capture_growing
from sweep_sidecar.capture.steady import (
    INLINE_BYTES,
    Fingerprint,
    Measured,
    Unsteady,
    fingerprint_of,
    measure,
    read_measured,
    settled,
    stored_version,
)
from sweep_sidecar.capture.tree import Group, Unreadable, files_in, groups_of
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


@dataclass(frozen=True, kw_only=True)
class _Tracked:
    """A file as it was last taken; `fingerprint` None = it has to be read again."""

    version: FileVersion
    fingerprint: Fingerprint | None = None
    counted: Counted | None = None
    growing: GrowingFile | None = None


@dataclass
class _Waiting:
    looks: int
    refused: tuple[Fingerprint, Fingerprint] | None = None


@dataclass
class Capturer:
    """Looks at `root`, and brings what is new into the store while it does.

    Parameters
    ----------
    store_blob:
        Puts bytes into the store, for all that is too large to travel in a log entry.
    named:
        Path of the checkpoint whose records are counted; where it is none that can be counted, all that can are.
    progress:
        In which format records are counted.
    clock_ns:
        Time of day in nanoseconds, on the clock that stamps the files.
    """

    root: Path
    store_blob: Callable[[bytes], Segment]
    named: str = ""
    progress: Progress = "auto"
    clock_ns: Callable[[], int] = time.time_ns
    _tracked: dict[str, _Tracked] = field(default_factory=dict)
    _waiting: dict[str, _Waiting] = field(default_factory=dict)
    _inline_left: int = 0

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
            groups = groups_of(files_in(self.root))
            seen: dict[str, _Tracked] = {}
            waiting: dict[str, _Waiting] = {}
            for group in groups:
                self._take(group, seen, waiting, last=last)
        except Unreadable as error:
            return self._refused("CheckpointUnreadable", str(error))
        except LogInvalid as error:
            return self._refused(
                "CheckpointInvalid", f"{error}. What is stored stays as it is, and nothing new is mirrored until then"
            )
        self._tracked = seen
        self._waiting = waiting
        return self._seen(unsettled=self._unsettled(last=last))

    def published(self, seq: int) -> None:
        """Note that entry `seq` now holds what the last look found."""
        for path, tracked in self._tracked.items():
            version = tracked.version.after_publishing(seq)
            growing = replace(tracked.growing, version=version) if tracked.growing else None
            self._tracked[path] = replace(tracked, version=version, growing=growing)

    def _take(self, group: Group, seen: dict[str, _Tracked], waiting: dict[str, _Waiting], *, last: bool) -> None:
        members = (group.path,) if group.manifest is None else (group.path, group.manifest)
        before = {path: self._tracked[path] for path in members if path in self._tracked}
        try:
            if group.manifest is not None:
                fresh = self._pair(group.path, group.manifest)
            elif group.is_log:
                fresh = {group.path: self._log(group.path, last=last)}
            else:
                fresh = {group.path: self._alone(group.path)}
        except FileNotFoundError:
            if group.manifest is None:
                return  # a file that has just been removed
            fresh = None
        except Unsteady:
            fresh = None
        except OSError as error:
            raise Unreadable(self.root / group.path, error) from error
        if fresh is None:
            seen.update(before)
            known = self._waiting.get(group.path)
            waiting[group.path] = _Waiting((known.looks if known else 0) + 1, known.refused if known else None)
            if group.manifest is not None:
                waiting[group.path].refused = self._fingerprints(group)
            return
        seen.update(fresh)

    def _log(self, path: str, *, last: bool) -> _Tracked:
        before = self._tracked.get(path)
        known = before.growing if before else None
        try:
            growing = capture_growing(
                self.root / path, known, store_piece=self._store_piece, progress=self.progress, thorough=last
            )
        except LogInvalid as error:
            after = known.version.size if known else 0
            raise LogInvalid(f"{path}, after byte {after}: {error}") from error
        return _Tracked(version=growing.version, counted=growing.counted, growing=growing)

    def _alone(self, path: str) -> _Tracked:
        before = self._tracked.get(path)
        if before is not None and before.fingerprint == fingerprint_of((self.root / path).stat()):
            return before
        measured = measure(self.root / path)
        return self._stored(path, measured)

    def _pair(self, path: str, manifest: str) -> dict[str, _Tracked] | None:
        """Return a checkpoint and its manifest, None where they do not fit each other."""
        found = (fingerprint_of((self.root / path).stat()), fingerprint_of((self.root / manifest).stat()))
        before = self._tracked.get(path), self._tracked.get(manifest)
        if before[0] and before[1] and (before[0].fingerprint, before[1].fingerprint) == found:
            return {path: before[0], manifest: before[1]}
        refused = self._waiting.get(path)
        if (
            refused is not None
            and refused.refused == found
            and all(settled(one, now_ns=self.clock_ns()) for one in found)
        ):
            return None
        measured_manifest = measure(self.root / manifest)
        try:
            says = parsed_manifest(read_measured(self.root / manifest, measured_manifest))
        except (ValueError, TypeError):
            return None
        measured = measure(self.root / path)
        if (says.sha256, says.size_bytes) != (measured.sha256, measured.size):
            return None
        return {path: self._stored(path, measured), manifest: self._stored(manifest, measured_manifest)}

    def _stored(self, path: str, measured: Measured) -> _Tracked:
        before = self._tracked.get(path)
        version = stored_version(
            self.root / path, measured, previous=before.version if before else None, store_piece=self._store_piece
        )
        counted = None
        if may_be_mime(path, self.progress):
            counted = counted_mime(read_measured(self.root / path, measured))
        still = settled(measured.fingerprint, now_ns=self.clock_ns())
        return _Tracked(version=version, fingerprint=measured.fingerprint if still else None, counted=counted)

    def _store_piece(self, data: bytes) -> Segment:
        """Store a piece: in the next entry while there is room in it, else in a blob."""
        if len(data) > self._inline_left:
            return self.store_blob(data)
        self._inline_left -= len(data)
        return inline_segment(data)

    def _adopted(self, path: str, version: FileVersion) -> _Tracked:
        target = self.root / path
        try:
            if path.endswith(LOG_SUFFIX):
                growing = adopted_growing(target, version, progress=self.progress)
                if growing is not None:
                    return _Tracked(version=version, counted=growing.counted, growing=growing)
            elif may_be_mime(path, self.progress):
                measured = measure(target)
                if measured.sha256 == version.sha256:
                    return _Tracked(version=version, counted=counted_mime(read_measured(target, measured)))
        except (OSError, Unsteady):
            pass  # gone or being written: the next look says what is there now
        return _Tracked(version=version)

    def _counted_content(self, path: str, data: bytes) -> Counted | None:
        if may_be_mime(path, self.progress):
            return counted_mime(data)
        start = counted_start(data, self.progress)
        return None if start is None else counted_lines(data, start)

    def _fingerprints(self, group: Group) -> tuple[Fingerprint, Fingerprint] | None:
        assert group.manifest is not None
        try:
            return (
                fingerprint_of((self.root / group.path).stat()),
                fingerprint_of((self.root / group.manifest).stat()),
            )
        except OSError:
            return None

    def _unsettled(self, *, last: bool) -> Problem | None:
        stuck = sorted(path for path, waiting in self._waiting.items() if last or waiting.looks >= _LOOKS_TO_SETTLE)
        if not stuck:
            return None
        return Problem(
            "CheckpointUnstable",
            f"{', '.join(stuck[:3])} {'is' if len(stuck) == 1 else 'are'} not whole at any look: either it is written "
            "to without a pause, or its manifest does not fit it. Write to a temporary name and rename",
        )

    def _refused(self, reason: str, message: str) -> Look:
        return replace(self._seen(unsettled=None), refusal=Problem(reason, message))

    def _seen(self, *, unsettled: Problem | None) -> Look:
        counted = {path: tracked.counted for path, tracked in self._tracked.items()}
        progress = counting(counted, named=self.named)
        return Look(
            files={path: tracked.version for path, tracked in sorted(self._tracked.items())},
            counted=united([counted[path] or Counted() for path in progress]),
            progress=progress,
            unsettled=unsettled,
        )

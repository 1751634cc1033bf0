"""Entering a sweep: the log is opened and mended, results from elsewhere come in, and what has changed is noticed."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Any

from resumable_sweep._drift import DriftWarning, compare
from resumable_sweep._entries import Entries
from resumable_sweep._ledger import Ledger, State
from resumable_sweep._log import ResultLog
from resumable_sweep._preserved import Preserved, known_of, merged, preserved_path, read_preserved, write_preserved
from resumable_sweep._resuming import Brought, FallBack, brought, is_same_file
from resumable_sweep._settings import Settings
from resumable_sweep._side_files import SideFiles, side_files_in
from resumable_sweep._warning import warn_program
from resumable_sweep.contract.log_format import HEADER, SCHEMA_VERSION, line_of

DEFAULT_SEED = 0
_SETTLED = (State.DONE, State.SKIPPED)


class CheckpointFellBack(UserWarning):
    """Something damaged was set aside, and what is used instead is older or less: some work is done again."""


@dataclass(kw_only=True)
class Opened:
    """A sweep that is open: its log and all that is known of its items.

    `replayed` are the places of the items that were done on entering; `unplaced`, where the items come one by one, are
    offset and size in the log of results whose items may still come. `fall_backs` counts what was ever set aside, and
    `preserved` is what the results are made from, as far as anybody said.
    """

    log: ResultLog
    ledger: Ledger
    entries: Entries
    files: SideFiles
    replayed: array[int]
    unplaced: list[tuple[int, int]]
    preserved: Preserved
    fall_backs: int
    resumes: int
    salvaged: bool

    @property
    def seed(self) -> int:
        """The sweep's seed."""
        return DEFAULT_SEED if self.preserved.seed is None else self.preserved.seed


class Opening:
    """Opens the sweep that `settings` describe.

    Parameters
    ----------
    now:
        What the program says its results are made from.
    allow_drift:
        Which parts of that may differ from what the log's results were made from.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        now: Preserved,
        allow_drift: bool | str | Collection[str],
        ledger: Ledger,
    ) -> None:
        self._settings = settings
        self._now = now
        self._allow_drift = allow_drift
        self._ledger = ledger
        self._files = SideFiles(settings.log_path)
        self._entries = Entries(attempt=settings.attempt, host=settings.host)
        self._fall_backs: list[FallBack] = []

    def open(self, undo: ExitStack) -> Opened:
        """Open it; what is to be undone in the end, or after an error, goes onto `undo`.

        Raises
        ------
        LogLocked, LogInvalid, Drifted, PreservedInvalid, SourceInvalid, SourceUnreachable, OSError
        """
        settings, ledger = self._settings, self._ledger
        log = ResultLog.opened(
            settings.log_path,
            self._header(),
            note=ledger.note,
            forget=ledger.forget,
            lock_timeout_s=settings.lock_timeout,
        )
        undo.callback(log.close)
        self._report_damage(log)
        known = self._known(log)
        self._check_drift(log, known)
        known = self._bring(log, known)
        self._verify_files(log)
        preserved = self._preserve(log, known)
        self._tell(log)
        replayed = array("q", ledger.places(State.DONE))
        unplaced = [(one.offset, one.size) for one in ledger.strays.values() if one.state is State.DONE]
        has_work = not settings.items.is_sized or ledger.settled < len(ledger)
        if has_work and log.was_complete:
            # It speaks of fewer items than there are now: nobody may take the log for a finished one.
            log.append([self._entries.reopened()])
        elif has_work and log.was_there:
            log.append([self._entries.resumed(len(replayed))])
            log.scan.resumes += 1
        log.write_manifest()
        return Opened(
            log=log,
            ledger=ledger,
            entries=self._entries,
            files=self._files,
            replayed=replayed,
            unplaced=[] if settings.items.is_sized else unplaced,
            preserved=preserved,
            fall_backs=log.scan.fall_backs + len(self._fall_backs),
            resumes=log.scan.resumes,
            salvaged=log.salvaged is not None,
        )

    def _header(self) -> dict[str, Any]:
        settings, now = self._settings, self._now
        return {
            "run_id": settings.run_id,
            "shard": settings.shard,
            "shards": settings.shards,
            "created": time(),
            "config_sha256": now.config_sha256,
            "script_sha256": now.script_sha256,
            "items_sha256": now.items_sha256,
            # Not before a source has been asked for its own: should that fail, the default would stand for ever.
            "seed": DEFAULT_SEED if now.seed is None and not self._sources() else now.seed,
        }

    def _sources(self) -> list[str | os.PathLike[str]]:
        found = (self._settings.resume_from, self._settings.progress_json)
        return [source for source in found if source is not None]

    def _report_damage(self, log: ResultLog) -> None:
        if log.salvaged is not None:
            used = "all other lines of it" if log.salvaged.kept else "nothing of it: its header is lost"
            self._fall_back(str(log.path), log.salvaged.reason, log.salvaged.kept_as, used)
        elif log.missing_bytes:
            reason = f"it ends {log.missing_bytes} bytes before its manifest says"
            self._fall_back(str(log.path), reason, None, "what is left of it")

    def _known(self, log: ResultLog) -> Preserved:
        reading = read_preserved(log.path)
        if reading.kept_as is not None:
            self._fall_back(str(preserved_path(log.path)), reading.reason, reading.kept_as, "the hashes in the log")
        return known_of(log.scan.header, reading.preserved) if log.was_there else Preserved()

    def _check_drift(self, log: ResultLog, known: Preserved) -> None:
        ledger = self._ledger
        recorded = ledger.settled + sum(1 for stray in ledger.strays.values() if stray.state in _SETTLED)
        if not recorded:
            return  # a log without results holds none of anything else
        drift = compare(known, self._now, allow=self._allow_drift, recorded=recorded, gone=self._gone())
        if drift.refused:
            raise drift.error(log.path)
        for text in drift.warnings:
            warn_program(f"{log.path}: {text}", DriftWarning)

    def _gone(self) -> list[str]:
        """Return the recorded keys that are no items of the sweep any more, as far as that can be known."""
        items = self._settings.items
        if not self._ledger.strays or items.all_names is None or items.sha256 is None:
            return []
        names = set(items.all_names)
        return [name for name, stray in self._ledger.strays.items() if stray.state in _SETTLED and name not in names]

    def _bring(self, log: ResultLog, known: Preserved) -> Preserved:
        """Bring in what there is elsewhere; return what is known now of what the results are made from."""
        ledger, settings = self._ledger, self._settings
        is_blank = ledger.count(State.MISSING) == len(ledger) and not ledger.strays
        for source in self._sources():
            # Once there are records here, those in the progress file are copies of them.
            if is_same_file(source, log.path) or (source is settings.progress_json and not is_blank):
                continue
            found = brought(
                source, log_path=log.path, run_id=settings.run_id, files=self._files, wanted=self._is_wanted
            )  # fmt: skip
            for fall_back in found.fall_backs:
                self._fall_back(fall_back.source, fall_back.reason, fall_back.kept_as, fall_back.used)
            # What is recorded here counts as much as what the program says: results of two kinds must not be mixed.
            drift = compare(found.known, self._now if is_blank else merged(known, self._now), allow=self._allow_drift)
            if drift.refused:
                raise drift.error(os.fspath(source))
            for text in drift.warnings:
                warn_program(f"{os.fspath(source)}: {text}", DriftWarning)
            self._append_brought(log, found)
            known = merged(known, found.known) if is_blank else merged(found.known, known)
        return known

    def _is_wanted(self, name: str, state: State) -> bool:
        """Return whether something elsewhere says more of an item than the log does."""
        ledger = self._ledger
        place = ledger.place(name)
        if place is None:
            # Of items that come one by one, this may be one that is still to come.
            stray = ledger.strays.get(name)
            return not self._settings.items.is_sized and (stray is None or stray.state is not State.DONE)
        here = ledger.state(place)
        return here is State.MISSING or (state is State.DONE and here is not State.DONE)

    def _append_brought(self, log: ResultLog, found: Brought) -> None:
        if not found.lines:
            return
        offset = log.append([line for _, _, line in found.lines])
        for state, name, line in found.lines:
            self._ledger.note_one(state, name, offset, len(line) - 1)
            offset += len(line)
        if found.has_random_states:
            log.scan.with_files.append((name, offset - len(line), len(line) - 1))

    def _verify_files(self, log: ResultLog) -> None:
        """Take back every result whose side files are not what they were: its item runs again."""
        for name, offset, size in log.scan.with_files:
            if not self._is_result_of(name, offset, size):
                continue
            # Not those of the random states: all but the newest are gone, and rightly so.
            result = json.loads(log.read(offset, size))["result"]
            problems = [problem for file in side_files_in(result) if (problem := self._files.verify(file)) is not None]
            if problems:
                self._ledger.take_back(name)
                self._fall_back("a side file", problems[0], None, f"nothing: item {name:.200} runs again")

    def _is_result_of(self, name: str, offset: int, size: int) -> bool:
        """Return whether that entry of the log is the result that counts of the key, be it an item's or yet to be."""
        ledger = self._ledger
        place = ledger.place(name)
        if place is not None:
            return ledger.state(place) is State.DONE and ledger.where(place) == (offset, size)
        stray = ledger.strays.get(name)
        return stray is not None and stray.state is State.DONE and (stray.offset, stray.size) == (offset, size)

    def _preserve(self, log: ResultLog, known: Preserved) -> Preserved:
        preserved = merged(known, self._now)
        header = log.scan.header
        hashes = {
            "config_sha256": preserved.config_sha256,
            "script_sha256": preserved.script_sha256,
            "items_sha256": preserved.items_sha256,
            "seed": DEFAULT_SEED if preserved.seed is None else preserved.seed,
        }
        if {name: header.get(name) for name in hashes} != hashes:
            log.scan.header = {**header, **hashes, "kind": HEADER, "schema_version": SCHEMA_VERSION}
            log.append([line_of(log.scan.header)])
        if read_preserved(log.path).preserved != preserved:
            write_preserved(log.path, preserved)
        return preserved

    def _tell(self, log: ResultLog) -> None:
        if self._fall_backs:
            log.append(
                [
                    self._entries.fallback(
                        source=one.source,
                        reason=one.reason,
                        kept_as=None if one.kept_as is None else str(one.kept_as),
                        used=one.used,
                    )
                    for one in self._fall_backs
                ]
            )

    def _fall_back(self, source: str, reason: str, kept_as: Path | None, used: str) -> None:
        fall_back = FallBack(source=source, reason=reason, kept_as=kept_as, used=used)
        self._fall_backs.append(fall_back)
        warn_program(fall_back.text, CheckpointFellBack)

"""The mirror's own work, one step at a time and in one thread: look, publish, and in the end seal or complete."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from resumable_sweep.contract.acknowledgement import Durable
from resumable_sweep.contract.items import parsed_items
from resumable_sweep.contract.log_format import LogInvalid
from resumable_sweep.contract.report import Experiment, Report, Stage
from sweep_sidecar.blobs import FRESH_S, Blobs, Moment, now
from sweep_sidecar.capture.capturer import Capturer, Look, Problem
from sweep_sidecar.content import ContentReader
from sweep_sidecar.items import identities
from sweep_sidecar.log.entry import CheckpointCorrupt, Kind, Stored, Writer
from sweep_sidecar.log.fencing import Misplaced, ShardComplete, Superseded, check_take
from sweep_sidecar.log.generation import FileVersion, Generation, has_path
from sweep_sidecar.log.shard_log import ShardLog
from sweep_sidecar.mirror.acknowledging import AcknowledgementFile
from sweep_sidecar.mirror.proof import may_prove_by_exit, proof_by_exit, proof_of
from sweep_sidecar.progress import Counted
from sweep_sidecar.restore import generation_in, parsed_restored
from sweep_sidecar.settings import AttemptSettings
from sweep_sidecar.store import Store, Unreachable

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Published:
    """The newest generation in the store, and what it records."""

    seq: int | None
    files: dict[str, FileVersion]
    counted: Counted
    items_done: int
    progress: tuple[str, ...] = ()


class AttemptWriter:
    """Writes an attempt's generations and its end. Every method may raise Unreachable, and may then be called again.

    Parameters
    ----------
    tell:
        Called with the attempt's state whenever it changes.
    moment:
        Returns the moment by which blobs grow too old to be referred to.
    """

    def __init__(
        self,
        store: Store,
        settings: AttemptSettings,
        *,
        nonce: Callable[[], str],
        clock: Callable[[], float],
        tell: Callable[[Report], None],
        moment: Callable[[], Moment] = now,
    ) -> None:
        self._store = store
        self._settings = settings
        self._tell = tell
        writer = Writer(attempt=settings.attempt, pod=settings.pod_uid, nonce=nonce())
        self._log = ShardLog(store, settings.folder, writer=writer, clock=clock)
        self._blobs = Blobs(store, nonce=nonce, moment=moment)
        self._capturer = self._new_capturer()
        self._entries_written = 0
        self._published = _Published(seq=None, files={}, counted=Counted(), items_done=0)
        self._on_its_way: tuple[Kind, _Published | None] | None = None
        self._items: frozenset[str] | None = None
        self._last_look: Look | None = None
        self._acknowledgements = AcknowledgementFile(settings.snapshot, attempt=settings.attempt)
        self._has_begun = False
        self._requests_seen = 0
        self._requests_answered = 0
        self._refused: Problem | None = None
        self.report = Report(
            run_id=settings.run.run_id,
            shard=settings.shard,
            attempt=settings.attempt,
            sequence=0,
            stage=Stage.MIRRORING,
        )

    @property
    def writes(self) -> int:
        """How many objects this writer has created, or tried to."""
        return self._entries_written + self._blobs.writes

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will be written."""
        return self.report.stage in (Stage.SEALED, Stage.COMPLETE, Stage.STOPPED)

    @property
    def is_asked(self) -> bool:
        """Whether the experiment has asked for a look since the newest one began."""
        return self._acknowledgements.requests() > self._requests_seen

    def begin(self) -> None:
        """Find the attempt's place in the log, and go on from its newest generation.

        Raises
        ------
        Misplaced
            Where this attempt has not taken the shard: the restore has not run.
        OSError
            Where the experiment cannot be told what is durable.
        """
        marker = self._settings.restored_marker
        if not marker.exists():
            raise Misplaced(f"{marker} is missing: run `restore` first")
        # Before the store is asked: it may not answer for longer than the experiment is held back.
        self._acknowledgements.open()
        restored = parsed_restored(marker.read_text())
        if self._settings.run.items_sha256:
            self._items = identities(parsed_items(self._settings.items_file.read_text()))
        # What is reported first is what the attempt started from: nothing is said before that is known.
        self.report = replace(
            self.report,
            items_restored=restored.items,
            items_done=restored.items,
            items_recorded=restored.items,
            items_total=restored.items_total,
            generation=restored.generation,
            restore_problem=restored.problem,
            restore_message=restored.message,
        )
        self._blobs.damaged = frozenset(restored.damaged)
        with _Ending(self):
            head = self._log.head()
            if head is None or head.entry.writer.attempt < self._settings.attempt:
                raise Misplaced(f"attempt {self._settings.attempt} has not taken the shard: run `restore` first")
            check_take(head.entry, self._log.writer)
            self._log.follow(head)
            self._adopt(head)
            self._has_begun = True
            if head.entry.kind is Kind.SEAL:
                self._end(Stage.SEALED)
        self._acknowledge()
        self._tell(self.report)

    def look(self, *, last: bool = False) -> None:
        """Look at the snapshot directory, and publish what is new."""
        # Before anything is looked at: what was on disk when they were made, this look sees.
        requests = self._requests_seen = self._acknowledgements.requests()
        if self.has_ended:
            return
        with _Ending(self):
            if self._settle():
                return
            look = self._last_look = self._fresh_look(last=last)
            problem = self._refusal(look, last=last) or look.unsettled or look.nearly_full
            self._change(
                items_recorded=max(self._count(look.counted), self.report.items_done),
                problem=problem.reason if problem else "",
                message=problem.message if problem else "",
            )
            refused = self._refusal(look, last=False) or self._lacks_named(look)
            if refused is None:
                self._publish(look)
            self._refused = refused
            if look.is_torn:
                self._requests_seen = self._requests_answered  # whoever asks is still to be answered
            else:
                self._requests_answered = requests
        self._acknowledge()

    def check_standing(self) -> None:
        """Ask the store whether a higher attempt has taken the shard."""
        if self.has_ended:
            return
        with _Ending(self):
            newest = self._log.top().newest
            if newest is not None:
                check_take(newest.entry, self._log.writer)

    def finish(self, ask: Callable[[], Experiment]) -> None:
        """Look for the last time, and end the attempt: `complete` where there is proof, else `seal`.

        Parameters
        ----------
        ask:
            Returns how the experiment's containers ended, as far as they did so of their own accord and the operator
            knows it. Asked only where nothing else can prove the shard complete.
        """
        self.look(last=True)
        if self.has_ended:
            return
        with _Ending(self):
            proof = proof_of(self._published.counted, self._items) or self._proof_by_exit(ask)
            kind = Kind.COMPLETE if proof else Kind.SEAL
            self._append(kind, {"generation": self._published.seq, **(proof or {})}, None)
            self._end(Stage.COMPLETE if proof else Stage.SEALED)

    def cannot_write(self, error: Unreachable) -> None:
        """Note that the store does not answer: what is new is safe on this node alone until it does."""
        self._change(problem="StoreUnreachable", message=str(error))
        self._acknowledge()

    def stop(self, reason: str, message: str) -> None:
        """Stop for good."""
        _LOG.error("stopping for good, %s: %s", reason, message)
        self._change(stage=Stage.STOPPED, problem=reason, message=message)
        self._acknowledge()

    def _end(self, stage: Stage) -> None:
        self._change(stage=stage)
        self._acknowledge()

    def _acknowledge(self) -> None:
        """Tell the experiment what is in the store, and why not more."""
        report, refused = self.report, self._refused
        said = self._acknowledgements.newest
        if self._has_begun:
            # Until then what an earlier process of this attempt has said is all that is known, and is not taken back.
            said = replace(
                said,
                generation=self._published.seq,
                files={path: Durable(file.size, file.sha256) for path, file in self._published.files.items()},
                requests=self._requests_answered,
                refused=refused.reason if refused else "",
            )
        stopped = ""
        if self.has_ended:
            stopped = report.problem if report.stage is Stage.STOPPED else report.stage.value.capitalize()
        message = report.message or (refused.message if refused else "")
        self._acknowledgements.write(replace(said, stopped=stopped, message=message))

    def _new_capturer(self) -> Capturer:
        settings = self._settings
        return Capturer(
            settings.snapshot,
            self._blobs.store,
            named=settings.checkpoint_file,
            progress=settings.progress,
            commit=settings.commit,
            append=settings.append,
            restored_marker=settings.restored_marker,
        )

    def _fresh_look(self, *, last: bool) -> Look:
        """Look, and send again what was sent too long ago for an entry to refer to it now."""
        look = self._capturer.look(last=last)
        if self._is_fresh(look.files):
            return look
        _LOG.warning("what was sent and not published is too old by now: it is sent again")
        self._forget_unpublished()
        look = self._capturer.look(last=last)
        if not self._is_fresh(look.files):
            hours = FRESH_S / 3600
            raise Unreachable(f"{self._store.url} has not taken within {hours:.0f} hours what is new")
        return look

    def _forget_unpublished(self) -> None:
        """Go on from the newest generation, as another process of this attempt would."""
        head = self._log.head()
        before, self._capturer = self._capturer, self._new_capturer()
        try:
            if head is not None:
                check_take(head.entry, self._log.writer)
                self._adopt(head)
        except BaseException:
            self._capturer = before
            raise

    def _is_fresh(self, files: Mapping[str, FileVersion]) -> bool:
        """Return whether an entry may refer to all blobs of `files`: those of the newest generation stay."""
        kept = _blobs_of(self._published.files)
        return all(key in kept or self._blobs.is_fresh(key) for key in _blobs_of(files))

    def _adopt(self, head: Stored) -> None:
        found = self._log.newest_generation(head)
        if found is None:
            return
        generation = generation_in(self._log, found).after_publishing(found.entry.seq)
        reader = ContentReader(self._log)
        counted = self._capturer.adopt(generation, read=lambda path, version: reader.content(version, what=path))
        self._published = _Published(
            seq=found.entry.seq,
            files=dict(generation.files),
            counted=counted,
            items_done=generation.items_done,
            progress=generation.progress,
        )
        self._change(generation=found.entry.seq, items_done=generation.items_done)

    def _refusal(self, look: Look, *, last: bool) -> Problem | None:
        """Return why a look must not be published; in the `last` look, also why it was not."""
        if look.refusal is not None:
            return look.refusal
        lost = self._published.counted.keys - look.counted.keys
        if lost:
            return Problem(
                "ProgressWentBackwards",
                f"the snapshot directory records {len(look.counted.keys)} items, the stored checkpoint has "
                f"{len(lost)} more ({', '.join(sorted(lost)[:3])}): nothing is mirrored until they are back",
            )
        return self._lacks_named(look) if last and look.files else None

    def _lacks_named(self, look: Look) -> Problem | None:
        """Return why a relaunch could not go on from this look, where it would not find the file it resumes from."""
        named = self._settings.checkpoint_file
        if not named or has_path(look.files, named):
            return None
        return Problem(
            "ResumeFileMissing",
            f"checkpoint.file names {named!r}, which the experiment has not written; it wrote "
            f"{', '.join(sorted(look.files)[:5]) or 'no file at all'}: name one that it writes",
        )

    def _publish(self, look: Look) -> None:
        before = self._published.files
        same_files = look.files.keys() == before.keys() and all(
            version.same_content(before[path]) for path, version in look.files.items()
        )
        # A sweep that goes on with an earlier one's run may count other files of it.
        if same_files and look.progress == self._published.progress:
            return
        items_done = self._count(look.counted)
        generation = Generation(files=look.files, items_done=items_done, progress=look.progress)
        published = _Published(
            seq=None, files=look.files, counted=look.counted, items_done=items_done, progress=look.progress
        )
        self._append(Kind.GEN, generation.to_body(), published)

    def _append(self, kind: Kind, body: dict[str, Any], published: _Published | None) -> None:
        self._on_its_way = (kind, published)
        self._entries_written += 1
        self._note_written(self._log.append(kind, body))

    def _settle(self) -> bool:
        """Bring to its end a write whose reply was lost; return whether it was the last one."""
        _, published = self._on_its_way or (None, None)
        # An entry that arrived after all these hours could refer to blobs that retention has deleted.
        written = self._log.settle(send=published is None or self._is_fresh(published.files))
        if written is not None:
            self._note_written(written)
        self._on_its_way = None
        return self.has_ended

    def _note_written(self, written: Stored) -> None:
        assert self._on_its_way is not None
        kind, published = self._on_its_way
        self._on_its_way = None
        seq = written.entry.seq
        _LOG.info("wrote entry %d, %s", seq, kind)
        if published is not None:
            self._capturer.published(seq)
            self._blobs.published()
            self._published = replace(published, seq=seq)
            self._change(generation=seq, items_done=published.items_done)
        elif kind in (Kind.COMPLETE, Kind.SEAL):
            self._end(Stage.COMPLETE if kind is Kind.COMPLETE else Stage.SEALED)

    def _proof_by_exit(self, ask: Callable[[], Experiment]) -> dict[str, Any] | None:
        look = self._last_look
        if look is None or look.refusal or look.unsettled or self._refusal(look, last=False):
            return None
        completion = self._settings.completion
        if not may_prove_by_exit(completion, look.counted, items_known=self._items is not None):
            return None
        if ask() is not Experiment.SUCCEEDED:
            return None
        # Nothing will go on from here, so the file to go on from may be missing.
        self._publish(look)
        return proof_by_exit(self._published.counted)

    def _count(self, counted: Counted) -> int:
        return len(counted.settled if self._items is None else counted.settled & self._items)

    def _change(self, **fields: Any) -> None:
        changed = replace(self.report, **fields)
        if changed != self.report:
            self.report = changed
            self._tell(changed)


def _blobs_of(files: Mapping[str, FileVersion]) -> set[str]:
    return {piece.blob for version in files.values() for piece in version.segments if piece.blob is not None}


class _Ending:
    """Turns what ends an attempt into its last stage; what may pass (Unreachable) goes on to the caller."""

    def __init__(self, writer: AttemptWriter) -> None:
        self._writer = writer

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        if isinstance(error, Superseded):
            self._writer.stop("Superseded", str(error))
        elif isinstance(error, ShardComplete):
            self._writer._end(Stage.COMPLETE)
        elif isinstance(error, CheckpointCorrupt):
            self._writer.stop("CheckpointCorrupt", str(error))
        elif isinstance(error, LogInvalid):
            # It was stored like this: a successor would restore the same.
            self._writer.stop("CheckpointInvalid", str(error))
        else:
            return False
        return True

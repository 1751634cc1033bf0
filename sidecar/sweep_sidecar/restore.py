"""`restore`: take the shard, bring back its newest generation, and say where the attempt starts from."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from resumable_sweep.contract.items import lines_of, shard_of
from resumable_sweep.contract.report import Report, Stage
from sweep_sidecar import layout
from sweep_sidecar.content import ContentReader
from sweep_sidecar.drift import MadeOf, admit, newest_record
from sweep_sidecar.durable import replace_durably
from sweep_sidecar.items import identities, stored_items
from sweep_sidecar.log.entry import CheckpointCorrupt, Entry, Kind, NewerSchema, Stored, Writer
from sweep_sidecar.log.generation import Generation, has_path, parsed_generation
from sweep_sidecar.log.history import Damage, candidates, damage_of, generations_below, in_rows, parsed_damage
from sweep_sidecar.log.shard_log import LogReader, ShardLog
from sweep_sidecar.placing import Placing
from sweep_sidecar.restore_progress import RestoreProgress
from sweep_sidecar.settings import AttemptSettings, SettingsInvalid
from sweep_sidecar.store import Store, open_store, prove_create_only, url_of
from sweep_sidecar.succession import Turn

_LOG = logging.getLogger(__name__)


class SourceInvalid(SettingsInvalid):
    """The run that a shard is to start from is none, or one of another shape; the message says which, and the mend."""


class ResumeFileMissing(Exception):
    """The shard has a generation, but not the file that the relaunch is to go on from."""


@dataclass(frozen=True, kw_only=True)
class Restored:
    """Where an attempt starts from: `generation` is the entry it has restored, None where its log has none.

    Then `source` is the URL of the run whose generation of this shard it has restored instead, empty for a fresh start.

    `problem` is a CamelCase reason where something newer was damaged (`CheckpointFellBack`, or `CheckpointLost` where
    nothing was left), `message` its sentence, `damaged` the keys of the objects at fault.
    """

    generation: int | None
    items: int
    """How many items the restored checkpoint records."""
    items_total: int | None
    """How many the shard has in all, None where nobody knows."""
    source: str = ""
    problem: str = ""
    message: str = ""
    damaged: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return the text of the marker file."""
        return json.dumps(asdict(self)) + "\n"


def parsed_restored(text: str) -> Restored:
    """Return what a marker file says."""
    fields: dict[str, Any] = json.loads(text)
    return Restored(**{**fields, "damaged": tuple(fields["damaged"])})


def restored_attempt(
    store: Store,
    settings: AttemptSettings,
    *,
    nonce: Callable[[], str],
    clock: Callable[[], float],
    open_run: Callable[[str], Store] = open_store,
    progress: RestoreProgress | None = None,
    turn: Turn | None = None,
) -> Restored:
    """Take the shard and restore its newest generation that is whole into the snapshot directory.

    What is damaged is passed over, and said; what cannot be read is not. Started again in the same pod it does nothing,
    once it has come to its end: the experiment may have gone on.

    Parameters
    ----------
    open_run:
        Opens the folder of the run that a shard without a generation of its own starts from.
    progress:
        Told how far it has come.
    turn:
        Says when the shard may be taken; None: at once.

    Raises
    ------
    Superseded, ShardComplete, CheckpointCorrupt, ResumeFileMissing, ItemsChanged, Drifted, SourceInvalid,
    StoreNotCreateOnly, SnapshotVolumeTooSmall, Unreachable
    """
    if settings.restored_marker.exists():
        return parsed_restored(settings.restored_marker.read_text())
    prove_create_only(store, key=layout.probe_key(settings.folder), nonce=nonce())
    settings.private.mkdir(parents=True, exist_ok=True)
    items_total = _write_items(store, settings) if settings.run.items_sha256 else None
    # Before the shard is taken: what may not go on must not shut out what may.
    admit(store, _made_of(settings), allowed=settings.allow_drift, attempt=settings.attempt, clock=clock)
    writer = Writer(attempt=settings.attempt, pod=settings.pod_uid, nonce=nonce())
    log = ShardLog(store, settings.folder, writer=writer, clock=clock)
    unheard = RestoreProgress(report_of(settings), tell=lambda report: None, monotonic=time.monotonic)
    fetching = _Fetching(settings, Placing(settings.snapshot, settings.private, unheard, settings.shared_by_group))
    if turn is not None and turn.is_waited_for:
        fetching.ahead(log)
        turn.wait(log, attempt=settings.attempt)
    taken = log.take(_provenance(settings))
    # Not before: who tells how much there is to restore is known to have taken the shard.
    fetching.placing.progress = progress or unheard
    found = fetching.newest(log, candidates(log, taken))
    damages, source = [*_skipped_before(log, taken), *found.damages], ""
    body: dict[str, Any] = {"generation": found.seq}
    if found.seq is None and settings.start_from:
        elsewhere = fetching.newest_of_run(open_run(settings.start_from))
        damages = [*damages, *elsewhere.damages]
        if elsewhere.seq is not None:
            found, source = elsewhere, settings.start_from
            body["source"] = {"url": source, "generation": elsewhere.seq}
    fetching.placing.place()
    rows = in_rows(damages)
    problem, message = _said(found, rows, url=source or store.url)
    restored = Restored(
        generation=body["generation"],
        items=found.items,
        items_total=items_total,
        source=source,
        problem=problem,
        message=message,
        damaged=tuple(dict.fromkeys(damage.key for damage in rows if damage.key)),
    )
    log.append(Kind.BASE, {**body, "skipped": [damage.to_json() for damage in rows]})
    # Last, so that its presence proves all the rest.
    replace_durably(settings.restored_marker, restored.to_json())
    fetching.placing.settle()
    return restored


def report_of(settings: AttemptSettings) -> Report:
    """Return the report of an attempt of which nothing is known yet."""
    return Report(
        run_id=settings.run.run_id,
        shard=settings.shard,
        attempt=settings.attempt,
        sequence=0,
        stage=Stage.RESTORING,
    )


def restored_report(restored: Restored, report: Report) -> Report:
    """Return the report of a restore that has come to its end; `report` is its last one before."""
    return replace(
        report,
        items_done=restored.items,
        items_recorded=restored.items,
        items_restored=restored.items,
        items_total=restored.items_total,
        generation=restored.generation,
        problem="",
        message="",
        restore_problem=restored.problem,
        restore_message=restored.message,
    )


def completed_report(head: Entry, report: Report) -> Report:
    """Return the report of a restore that finds nothing left to run: `head` is the `complete` entry, `report` its last.

    Whoever has written that entry may have been lost before it could say how far it had come.
    """
    items = head.body.get("items")
    done = items if isinstance(items, int) else 0
    return replace(report, stage=Stage.COMPLETE, items_done=done, items_recorded=done, items_restored=done)


@dataclass(frozen=True, kw_only=True)
class _Found:
    """The newest whole generation (`seq` None: there is none), and the damaged ones above it, newest first."""

    seq: int | None
    items: int
    damages: list[Damage]


@dataclass(frozen=True)
class _Fetching:
    """Looks for a generation that is whole, and fetches its files."""

    settings: AttemptSettings
    placing: Placing

    def ahead(self, log: LogReader) -> None:
        """Fetch the generation that is the newest by now: what of it is still so later need not be fetched again."""
        try:
            newest = log.newest_generation(log.top().newest)
            if newest is not None:
                self.placing.fetch(generation_in(log, newest), ContentReader(log))
        except CheckpointCorrupt as error:
            # What it means is found out when the shard is taken.
            _LOG.warning("not fetched ahead of time: %s", error)

    def newest(self, log: LogReader, found: Iterable[Stored | Damage]) -> _Found:
        """Fetch the first generation of `found` that is whole."""
        reader = ContentReader(log)
        damages: list[Damage] = []
        for candidate in found:
            if isinstance(candidate, Damage):
                damages.append(candidate)
                continue
            seq = candidate.entry.seq
            try:
                generation = generation_in(log, candidate)
                _check_named(generation, self.settings)
                self.placing.fetch(generation, reader)
            except NewerSchema:
                raise
            except CheckpointCorrupt as error:
                damages.append(damage_of(seq, error))
                continue
            return _Found(seq=seq, items=generation.items_done, damages=damages)
        self.placing.clear()
        return _Found(seq=None, items=0, damages=damages)

    def newest_of_run(self, run: Store) -> _Found:
        """Fetch this shard's newest whole generation in another run."""
        made_of = newest_record(run)
        shards = self.settings.run.shards
        if made_of is None:
            raise SourceInvalid(
                f"resumeFrom is {run.url}, where there is no run: name the folder of one, run id included"
            )
        if made_of.shards != shards:
            raise SourceInvalid(
                f"resumeFrom is {run.url}, a run of {made_of.shards} shards, and this one has {shards}: items would "
                "move from one checkpoint to another; let both have as many"
            )
        log = LogReader(run, layout.shard_folder(run.url.rpartition("/")[2], self.settings.shard))
        while True:
            top = log.top()
            found = self.newest(log, generations_below(log, 0 if top.seq is None else top.seq + 1))
            # If that run goes on, its retention may delete what was its newest generation when this began.
            if not found.damages or log.top().seq == top.seq:
                return found


def _skipped_before(log: LogReader, taken: Stored) -> list[Damage]:
    """Return what an earlier process of this pod has passed over, if it was killed before it could report it.

    Its `base` names what it came to, and what is above that is not met again.
    """
    at = taken
    while at.entry.seq > 0:
        try:
            found = log.read(at.entry.seq - 1, after=at)
        except NewerSchema:
            raise
        except CheckpointCorrupt:
            return []  # whatever it was, the search for a generation meets it too
        mine, its = taken.entry.writer, found.entry.writer
        if (its.attempt, its.pod) != (mine.attempt, mine.pod) or found.entry.kind not in (Kind.TAKE, Kind.BASE):
            return []
        if found.entry.kind is Kind.BASE:
            return [parsed_damage(row) for row in found.entry.body["skipped"]]
        at = found
    return []


def _said(found: _Found, rows: list[Damage], *, url: str) -> tuple[str, str]:
    if not rows:
        return "", ""
    skipped = sum(row.generation - row.oldest + 1 for row in rows)
    newest = f"{skipped} damaged {'entry' if skipped == 1 else 'entries'}, the newest {rows[0].generation}"
    if found.seq is None:
        return (
            "CheckpointLost",
            f"nothing in {url} can be restored any more ({newest}: {rows[0].reason}): the shard starts afresh",
        )
    return (
        "CheckpointFellBack",
        f"went back to generation {found.seq} with {found.items} items past {newest}: {rows[0].reason}",
    )


def generation_in(log: LogReader, found: Stored) -> Generation:
    """Return the generation that an entry of kind `gen` holds.

    Raises
    ------
    CheckpointCorrupt
    """
    key = layout.entry_key(log.folder, found.entry.seq)
    return parsed_generation(found.entry.body, where=url_of(log.store, key), key=key)


def _write_items(store: Store, settings: AttemptSettings) -> int:
    items = stored_items(store, sha256=settings.run.items_sha256)
    share = shard_of(items, shard=settings.shard, shards=settings.run.shards)
    replace_durably(settings.items_file, "".join(lines_of(share)))
    return len(identities(share))


def _check_named(generation: Generation, settings: AttemptSettings) -> None:
    named = settings.checkpoint_file
    if named and not has_path(generation.files, named):
        raise ResumeFileMissing(
            f"checkpoint.file names {named!r}, but what this shard has stored is "
            f"{', '.join(sorted(generation.files)[:5]) or 'no file at all'}: name one of those"
        )


def _made_of(settings: AttemptSettings) -> MadeOf:
    return MadeOf(
        shards=settings.run.shards,
        items_sha256=settings.run.items_sha256,
        checkpoint_file=settings.checkpoint_file,
        images=settings.images,
        program_sha256=settings.program_sha256,
    )


def _provenance(settings: AttemptSettings) -> dict[str, Any]:
    """Return what a `take` says about the attempt, so that a result can be traced to what made it."""
    return {
        "run_id": settings.run.run_id,
        "shard": settings.shard,
        "template_sha256": settings.template_sha256,
        **asdict(_made_of(settings)),
    }

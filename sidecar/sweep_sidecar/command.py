"""The sidecar's command: `restore`, `mirror`, `resolve`, `merge` or `retain`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import signal
import sys
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from resumable_sweep.contract.items import ItemsInvalid
from resumable_sweep.contract.outcome import ATTEMPT_MESSAGE_LIMIT_BYTES, MESSAGE_LIMIT_BYTES, Exit, Outcome
from resumable_sweep.contract.report import Answer, Report
from sweep_sidecar import push, succession
from sweep_sidecar.drift import Drifted
from sweep_sidecar.items import ItemsChanged
from sweep_sidecar.log.entry import CheckpointCorrupt
from sweep_sidecar.log.fencing import ShardComplete, Superseded
from sweep_sidecar.mirror.life import MirrorLife
from sweep_sidecar.mirror.vitals import vitals_of
from sweep_sidecar.mirror.watched_store import WatchedStore
from sweep_sidecar.mirror.writer import AttemptWriter
from sweep_sidecar.notice.announcement import Announcement
from sweep_sidecar.notice.metadata import MetadataServer
from sweep_sidecar.notice.watch import NoticeWatch
from sweep_sidecar.push import HttpOperator, Pusher, ReportNumbers
from sweep_sidecar.restore import ResumeFileMissing, completed_report, report_of, restored_attempt, restored_report
from sweep_sidecar.restore_progress import RestoreProgress
from sweep_sidecar.room import SnapshotVolumeTooSmall
from sweep_sidecar.settings import AttemptSettings, RunSettings, SettingsInvalid
from sweep_sidecar.store import Store, StoreNotCreateOnly, Unreachable, UrlUnsupported, open_store
from sweep_sidecar.store.patient import PatientStore
from sweep_sidecar.succession import Turn
from sweep_sidecar.termination import TerminationMessage

_Result = TypeVar("_Result")
_LOG = logging.getLogger("sweep_sidecar")
_DEFAULT_ITEMS = Path("/sweep/items/items.json")
_LAST_WORDS = TerminationMessage()
_OF_ATTEMPTS = ("restore", "mirror")
"""The roles beside which other containers run in the same pod."""
_PATIENCE_S = 120.0
"""How long a role that runs once keeps asking a store that does not answer before it gives up."""

_EXITS: tuple[tuple[type[Exception], Exit, str], ...] = (
    (SettingsInvalid, Exit.USAGE, "SettingsInvalid"),
    (UrlUnsupported, Exit.USAGE, "UrlUnsupported"),
    (ItemsInvalid, Exit.ITEMS_INVALID, "ItemsInvalid"),
    (Unreachable, Exit.STORE_UNREACHABLE, "StoreUnreachable"),
    (CheckpointCorrupt, Exit.CHECKPOINT_CORRUPT, "CheckpointCorrupt"),
    (ResumeFileMissing, Exit.RESUME_FILE_MISSING, "ResumeFileMissing"),
    (ItemsChanged, Exit.ITEMS_CHANGED, "ItemsChanged"),
    (SnapshotVolumeTooSmall, Exit.SNAPSHOT_VOLUME_TOO_SMALL, "SnapshotVolumeTooSmall"),
    (StoreNotCreateOnly, Exit.STORE_NOT_CREATE_ONLY, "StoreNotCreateOnly"),
    (Drifted, Exit.DRIFT, "Drift"),
    (Superseded, Exit.SUPERSEDED, "Superseded"),
    (ShardComplete, Exit.COMPLETE, "Complete"),
)
"""Errors with an exit code and a reason of their own; the run's roles have others besides."""


def run(arguments: Sequence[str], *, ends: Collection[signal.Signals]) -> int:
    """Run one role and return its exit code; how it went is the termination message, and the last line of stdout.

    `ends` are the signals that end a container; the caller has blocked them.
    """
    options = _parser().parse_args(arguments)
    _log_as_json()
    environment = os.environ
    roles: dict[str, Callable[[], tuple[Exit, Outcome]]] = {
        "restore": lambda: _restore(environment),
        "mirror": lambda: _mirror(environment, ends),
        "resolve": lambda: _resolve(environment, options.items),
        "merge": lambda: _merge(environment, options),
        "retain": lambda: _retain(environment, options),
    }
    if options.role != "mirror":
        _exit_on(ends)
    try:
        code, outcome = roles[options.role]()
    except Exception as error:
        code, outcome = _failure(error)
    _LOG.info("%s: %s", outcome.reason, outcome.message)
    print(outcome.to_json(), flush=True)
    limit_bytes = ATTEMPT_MESSAGE_LIMIT_BYTES if options.role in _OF_ATTEMPTS else MESSAGE_LIMIT_BYTES
    _LAST_WORDS.write(outcome, limit_bytes=limit_bytes)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sweep-sidecar",
        description="Keep the checkpoints of a sweep in a store.",
        epilog="For people: `sweep-sidecar store --help` tells how to look into a store.",
    )
    roles = parser.add_subparsers(dest="role", required=True)
    roles.add_parser("restore", help="take the shard and restore its newest generation (init container)")
    roles.add_parser("mirror", help="mirror the snapshot directory until the experiment has ended (native sidecar)")
    resolving = roles.add_parser("resolve", help="write the run's items into the store, once")
    resolving.add_argument(
        "--items",
        type=Path,
        default=_DEFAULT_ITEMS,
        help='file with {"list": [...]}, {"matrix": {...}}, a JSON list or JSON Lines (default: %(default)s)',
    )
    merging = roles.add_parser("merge", help="merge the results of a complete run")
    merging.add_argument("--partial", action="store_true", help="take shards that are not complete as far as they came")
    retaining = roles.add_parser("retain", help="delete what nobody goes back to any more")
    retaining.add_argument(
        "--generations", type=int, required=True, metavar="K", help="whole generations of each shard to keep"
    )
    retaining.add_argument(
        "--after", type=float, required=True, metavar="SECONDS", help="keep what is younger, while attempts may write"
    )
    return parser


def _attempt_settings(environment: Mapping[str, str]) -> AttemptSettings:
    settings = AttemptSettings.from_environment(environment)
    if settings.shared_by_group:
        os.umask(0o002)
    return settings


def _restore(environment: Mapping[str, str]) -> tuple[Exit, Outcome]:
    settings = _attempt_settings(environment)
    numbers = ReportNumbers()
    turn = Turn(settings.take_after_s)
    heartbeat_s = succession.HEARTBEAT_S if settings.take_after_s else push.HEARTBEAT_S
    pusher = _pusher(settings, numbers, heard=turn.hear, heartbeat_s=heartbeat_s)
    tell = pusher.note if pusher else _tell_nobody
    progress = RestoreProgress(report_of(settings), tell=tell, monotonic=time.monotonic)
    if pusher:
        pusher.start()
        if settings.take_after_s:
            # So that the operator can answer whether it still has to wait.
            pusher.note(progress.report)

    def open_patiently(url: str) -> Store:
        store = _patiently(lambda: open_store(url), waiting=progress.wait)
        return PatientStore(store, patience_s=_PATIENCE_S, waiting=progress.wait)

    try:
        restored = restored_attempt(
            open_patiently(settings.run.store_url),
            settings,
            nonce=_nonce,
            clock=time.time,
            open_run=open_patiently,
            progress=progress,
            turn=turn,
        )
    except Superseded as error:
        head = {"head_attempt": error.head.writer.attempt}
        return Exit.SUPERSEDED, Outcome("Superseded", str(error), head)
    except ShardComplete as error:
        complete = asdict(completed_report(error.head, report_of(settings))) | {"sequence": numbers.next()}
        return Exit.COMPLETE, Outcome("Complete", str(error), complete)
    finally:
        if pusher:
            pusher.stop()
    report = asdict(restored_report(restored, progress.report)) | {"sequence": numbers.next()}
    if restored.problem:
        return Exit.OK, Outcome(restored.problem, restored.message, report)
    if restored.source:
        return Exit.OK, Outcome("Restored", f"started from {restored.source} with {restored.items} items", report)
    if restored.generation is None:
        return Exit.OK, Outcome("FreshStart", "nothing is stored yet: the shard starts from its first item", report)
    message = f"restored generation {restored.generation} with {restored.items} items"
    return Exit.OK, Outcome("Restored", message, report)


def _tell_nobody(report: Report) -> None:
    """There is no operator, or none that is to be told."""


def _pusher(
    settings: AttemptSettings,
    numbers: ReportNumbers,
    *,
    heard: Callable[[Answer], None],
    heartbeat_s: float = push.HEARTBEAT_S,
) -> Pusher | None:
    if not settings.report_url:
        return None
    operator = HttpOperator(settings.report_url, settings.token_file)
    return Pusher(operator, numbers=numbers, heard=heard, jitter=random.random, heartbeat_s=heartbeat_s)


def _watch(settings: AttemptSettings, *, changed: Callable[[Announcement | None], None]) -> NoticeWatch | None:
    return NoticeWatch(MetadataServer(settings.metadata_url), changed=changed) if settings.metadata_url else None


def _mirror(environment: Mapping[str, str], ends: Collection[signal.Signals]) -> tuple[Exit, Outcome]:
    settings = _attempt_settings(environment)
    vitals = vitals_of(flush_timeout_s=settings.flush_timeout_s)
    store = WatchedStore(_patiently(lambda: open_store(settings.run.store_url)), vitals, monotonic=time.monotonic)
    numbers = ReportNumbers()

    def outcome_of(report: Report) -> Outcome:
        reason = "Superseded" if report.problem == "Superseded" else report.stage.value.capitalize()
        message = report.message or f"{report.items_done} items are in the store, generation {report.generation}"
        return Outcome(reason, message, asdict(report) | {"sequence": numbers.next()})

    life = MirrorLife(
        settings,
        writer_for=lambda tell: AttemptWriter(store, settings, nonce=_nonce, clock=time.time, tell=tell),
        pusher_for=lambda heard: _pusher(settings, numbers, heard=heard),
        watch_for=lambda changed: _watch(settings, changed=changed),
        vitals=vitals,
        # From now on: what kills this process may leave no time for last words.
        leave=lambda report: _LAST_WORDS.write(outcome_of(report), limit_bytes=ATTEMPT_MESSAGE_LIMIT_BYTES),
    )
    return Exit.OK, outcome_of(life.run(ends))


def _resolve(environment: Mapping[str, str], items: Path) -> tuple[Exit, Outcome]:
    from sweep_sidecar.housekeeping import resolve

    settings = RunSettings.from_environment(environment)
    try:
        text = items.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ItemsInvalid(f"cannot read the items from {items}: {error}") from error
    store = _patiently(lambda: open_store(settings.store_url))
    resolved = _patiently(lambda: resolve(store, text))
    message = f"{resolved.items} items, sha256 {resolved.sha256}"
    return Exit.OK, Outcome("Resolved", message, {"items": resolved.items, "items_sha256": resolved.sha256})


def _merge(environment: Mapping[str, str], options: argparse.Namespace) -> tuple[Exit, Outcome]:
    from sweep_sidecar.housekeeping import merge

    settings = RunSettings.from_environment(environment)
    store = _patiently(lambda: open_store(settings.store_url))
    merged = _patiently(lambda: merge(store, settings, partial=options.partial))
    message = f"{merged.items} results in {merged.url}"
    if merged.skipped:
        message += f"; the program has skipped {merged.skipped} items, they are in {merged.skipped_url}"
    if merged.left_out:
        message += f"; {merged.left_out} records of keys that are no items of this run were left out"
    if merged.open:
        message += f"; {merged.open} items have neither a result nor a skip, their shards are complete by exit code"
    if merged.missing:
        message += f"; {merged.missing} items are missing, their shards are not complete"
    details = {
        "url": merged.url,
        "sha256": merged.sha256,
        "items": merged.items,
        "skipped": merged.skipped,
        "skipped_url": merged.skipped_url,
        "open": merged.open,
        "missing": merged.missing,
        "provenance_url": merged.provenance_url,
    }
    return Exit.OK, Outcome("Merged", message, details)


def _retain(environment: Mapping[str, str], options: argparse.Namespace) -> tuple[Exit, Outcome]:
    from sweep_sidecar.housekeeping import retain
    from sweep_sidecar.retaining import Span

    settings = RunSettings.from_environment(environment)
    try:
        span = Span(generations=options.generations, after_s=options.after)
    except ValueError as error:
        raise SettingsInvalid(str(error)) from error
    store = PatientStore(_patiently(lambda: open_store(settings.store_url)), patience_s=_PATIENCE_S)
    retained = retain(store, settings, span, nonce=_nonce, clock=time.time)
    details = asdict(retained)
    if retained.left_alone:
        return Exit.OK, Outcome("LeftAlone", retained.left_alone, details)
    return Exit.OK, Outcome(
        "Retained",
        f"deleted {retained.blobs} blobs and {retained.entries} entries, {retained.size_bytes} bytes",
        details,
    )


def _patiently(
    step: Callable[[], _Result], *, waiting: Callable[[Unreachable | None], None] = lambda error: None
) -> _Result:
    """Do `step`, again and again where the store does not answer, and give up in the end."""
    until = time.monotonic() + _PATIENCE_S
    pause_s = 1.0
    has_waited = False
    while True:
        try:
            done = step()
        except Unreachable as error:
            if time.monotonic() + pause_s > until:
                raise
            _LOG.warning("the store does not answer, next try in %.0f s: %s", pause_s, error)
            waiting(error)
            has_waited = True
        else:
            if has_waited:
                waiting(None)
            return done
        time.sleep(pause_s)
        pause_s = min(15.0, pause_s * 2)


def _failure(error: Exception) -> tuple[Exit, Outcome]:
    # Imported where it is used: a pod of an attempt waits for all that its two containers import.
    from sweep_sidecar.housekeeping import DuplicateKeys, Incomplete
    from sweep_sidecar.retention import LogMoved

    of_runs: tuple[tuple[type[Exception], Exit, str], ...] = (
        (Incomplete, Exit.INCOMPLETE, "Incomplete"),
        (DuplicateKeys, Exit.DUPLICATE_KEYS, "DuplicateKeys"),
        (LogMoved, Exit.FAILED, "LogMoved"),
    )
    for kind, code, reason in (*_EXITS, *of_runs):
        if isinstance(error, kind):
            return code, Outcome(reason, str(error))
    _LOG.error("this is a defect of the sidecar", exc_info=error)
    return Exit.FAILED, Outcome("Failed", f"{type(error).__name__}: {error}")


def _exit_on(ends: Collection[signal.Signals]) -> None:
    for number in ends:
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ends)


def _nonce() -> str:
    return uuid.uuid4().hex


def _log_as_json() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields)

"""A sweep of items that goes on where it was cut off."""

from __future__ import annotations

import json
import os
import threading
import time
import traceback as tracebacks
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Any, Self

from resumable_sweep._display import Counts, Display
from resumable_sweep._drift import allowed_parts
from resumable_sweep._durability import Acknowledgements
from resumable_sweep._error_log import ErrorLog
from resumable_sweep._foreign.mime_export import write_mime_progress
from resumable_sweep._group_commit import GroupCommit
from resumable_sweep._handing_out import HandingOut
from resumable_sweep._ledger import Ledger, State
from resumable_sweep._opening import CheckpointFellBack, Opened, Opening
from resumable_sweep._outcome import FailedItem, ItemsFailed, ResultInvalid, SkippedItem
from resumable_sweep._preserved import preserved_of
from resumable_sweep._random_state import captured_state, restore_state
from resumable_sweep._saved_time import seconds_saved
from resumable_sweep._script import script_of
from resumable_sweep._seeds import SeedSequence, seed_of
from resumable_sweep._settings import OnError, Parameters, Settings, settings_of
from resumable_sweep._side_files import SideFile, SideFileDamaged, side_files_in
from resumable_sweep._statistics import Stats, write_statistics
from resumable_sweep._stopping import StopSignals, report_on_stderr
from resumable_sweep._values import decoded_value, encoded_value
from resumable_sweep.contract.canonical import sha256_of_identities
from resumable_sweep.contract.items import ItemsInvalid

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_NAMED_AT_MOST = 5


class ResumableSweep:
    """Hands out the items that are not done yet, and keeps the results of those that are.

    Every parameter that is left out is taken from the environment of a sweep's pod where it has it; a given one wins.

    Parameters
    ----------
    items:
        The items of the whole sweep, in a stable order; of them this process takes its shard (item k belongs to shard
        k mod n). A list or anything else with a length is taken at once, a generator item by item. Default: the file
        `SWEEP_ITEMS`, which holds this shard's items only.
    key:
        Function from an item to what names it, any JSON value; the same item must have the same key in every run.
        Default: the item's `key` field where it is a mapping with one, else its canonical JSON.
    checkpoint_path:
        The log of results, relative to `snapshot_dir` where there is one, else to the working directory. Default:
        `results.jsonl`.
    resume_from:
        Path or URL (`file://`, `http(s)://`, with fsspec any other) of a log, or of a checkpoint of mime-engine or
        gmat-sweep, whose results count as done; where it is another file than the log itself, they are copied into it.
        One that does not exist is a fresh start, one that cannot be reached is not. Default: `SWEEP_RESUME_FROM`.
    snapshot_dir:
        Directory whose files are saved while the program runs. Default: `SWEEP_SNAPSHOT_DIR`.
    shard:
        `(i, n)`: this process takes shard i of n, from 0. Default: `SWEEP_SHARD` of `SWEEP_SHARDS`, else all.
    run_id:
        What a log must say to be of this run, see `run_id_of`. Default: `SWEEP_RUN_ID`, else not compared.
    config:
        What the results are made from besides the items (a mapping): kept beside the log, compared on resume, and
        handed back as `config` where it is left out then.
    script:
        Path of the script whose change would spoil the results; False for none. Default: the program's main file.
    seed:
        The sweep's seed, from which every item's is derived. Default: that of the log, else 0.
    allow_drift:
        Which of `config`, `script`, `seed`, `items` may differ from what the log's results were made from; True: all.
    max_attempts:
        So often an item may fail before it is not handed out again.
    on_error:
        What happens at the end of the block where items have failed: `"finish"` raises `ItemsFailed`, `"ignore"` does
        not; `"raise"` raises the first failure as soon as it is told.
    checkpoint_every, checkpoint_seconds:
        Bring records to disk in groups: after so many, or so many seconds after the first. Default: each on its own,
        before `record` returns.
    durable_timeout:
        Most seconds to wait for the sidecar where something is to be durable; default: no limit.
    lock_timeout:
        Most seconds to wait for another process that writes the log.
    encode, decode:
        Functions for results of types that are not known here: `encode(value)` returns something that is,
        `decode(result)` turns a result as it was recorded into what the program wants.
    random_state:
        Save the global random states (`random`, numpy, torch) with each record, and restore the last one on entering.
    grace:
        Seconds for which the item at hand may go on once a stop is asked for, before it is abandoned; default: no
        limit.
    notice_file:
        File that asks for a stop by being there. Default: `SWEEP_NOTICE_FILE`.
    progress_json:
        Keep a progress file of mime-engine's as well, at this path (`.progress.json` is added where it is missing),
        written at each `checkpoint` and on leaving, and read where there is no log yet.
    show_progress:
        Show progress on standard error; default: on a terminal, and in a sweep's pod.

    Raises
    ------
    SettingsInvalid, ItemsInvalid
        Where a parameter or variable is missing or wrong, or two items have the same key.

    Notes
    -----
    Inside of `with`, SIGTERM, SIGINT and the notice file ask the sweep to stop: the item at hand can be finished and
    recorded, then `pending` (or else the end of the block) raises `SystemExit(143)` or `SystemExit(130)`. So what
    follows the loop never runs with items missing because of a signal. A second SIGINT raises `KeyboardInterrupt` at
    once. Off the main thread nothing is trapped.

    One process enters a sweep at a time; its threads and forked children may record.
    """

    def __init__(
        self,
        items: Iterable[Any] | None = None,
        key: Callable[[Any], Any] | None = None,
        checkpoint_path: str | os.PathLike[str] | None = None,
        resume_from: str | os.PathLike[str] | None = None,
        snapshot_dir: str | os.PathLike[str] | None = None,
        *,
        shard: tuple[int, int] | None = None,
        run_id: str | None = None,
        config: Any = None,
        script: str | os.PathLike[str] | bool | None = None,
        seed: int | None = None,
        allow_drift: bool | str | Collection[str] = (),
        max_attempts: int = 3,
        on_error: OnError = "finish",
        checkpoint_every: int | None = None,
        checkpoint_seconds: float | None = None,
        durable_timeout: float | None = None,
        lock_timeout: float = 0.0,
        encode: Callable[[Any], Any] | None = None,
        decode: Callable[[Any], Any] | None = None,
        random_state: bool = False,
        grace: float | None = None,
        notice_file: str | os.PathLike[str] | None = None,
        progress_json: str | os.PathLike[str] | None = None,
        show_progress: bool | None = None,
    ) -> None:
        given = Parameters(
            items=items,
            key=key,
            checkpoint_path=checkpoint_path,
            resume_from=resume_from,
            snapshot_dir=snapshot_dir,
            shard=shard,
            run_id=run_id,
            max_attempts=max_attempts,
            on_error=on_error,
            checkpoint_every=checkpoint_every,
            checkpoint_seconds=checkpoint_seconds,
            durable_timeout=durable_timeout,
            lock_timeout=lock_timeout,
            grace=grace,
            notice_file=notice_file,
            progress_json=progress_json,
        )
        self._settings: Settings = settings_of(given, environ=os.environ)
        self._ledger = Ledger()
        self._settings.items.pull(self._ledger, None if self._settings.items.is_sized else 0)
        self._now = preserved_of(
            config=config,
            script=script_of(script),
            items_total=len(self._ledger) if self._settings.items.is_sized else None,
            items_sha256=self._settings.items.sha256,
            seed=seed,
        )
        self._allow_drift = allowed_parts(allow_drift)
        self._encode, self._decode = encode, decode
        self._keeps_random_state = random_state
        self._show_progress = show_progress
        self._is_open: Opened | None = None
        self._owner = os.getpid()
        self._child = 0
        self._stop = self._stop_signals()

    def __enter__(self) -> Self:
        if self._is_open is not None:
            raise RuntimeError("this sweep is entered already")
        # Before the log is opened, so that a signal in between does not end the process with the log half set up.
        self._stop = self._stop_signals()
        with ExitStack() as undo:
            undo.enter_context(self._stop)
            self._ledger.forget()
            opened = Opening(
                self._settings, now=self._now, allow_drift=self._allow_drift, ledger=self._ledger
            ).open(undo)  # fmt: skip
            self._start(opened, undo)
            self._undo = undo.pop_all()
        self._is_open = opened
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.getpid() != self._owner:  # a forked child that unwinds: the sweep is its parent's
            return
        opened = self._opened()
        try:
            with self._undo:
                try:
                    self._close(opened, error)
                finally:
                    self._is_open = None
        finally:
            self._display.close()
        if error is None:
            self._stop.leave_if_asked()
            self._raise_failures()

    @property
    def completed(self) -> list[Any]:
        """Results of the items that were done when the sweep was entered, in the order of the items.

        Where the items come one by one, it is the order in which they were done.
        """
        opened = self._opened()
        places = (opened.ledger.where(place) for place in opened.replayed)
        return [self._read(opened, *where) for where in (*opened.unplaced, *places)]

    @property
    def pending(self) -> Iterator[Any]:
        """The items still to do, in order, each to one thread at a time.

        Failed ones are among them until they have failed `max_attempts` times. Once a stop is asked for it raises
        `SystemExit` in place of the next item, and of its end.
        """
        self._opened()
        return self._handing_out.a_pass()

    @property
    def stopping(self) -> bool:
        """Whether the sweep is asked to stop; for work that can end in the middle of an item."""
        return self._stop.stopping

    @property
    def config(self) -> dict[str, Any] | None:
        """The configuration, as it is kept beside the log: that given, else that of the runs before."""
        return self._opened().preserved.config

    @property
    def run_id(self) -> str | None:
        """The run that the log belongs to."""
        found = self._opened().log.scan.header.get("run_id")
        return found if isinstance(found, str) else None

    def record(self, item: Any, result: Any, *, durable: bool = False) -> Any:
        """Keep the result of `item`; when this returns it is on disk, unless records go there in groups.

        Parameters
        ----------
        durable:
            Return only once it is in the store, too, where a sidecar is there to bring it there.

        Returns
        -------
        The result as it will be replayed: tuples are lists, the keys of mappings strings.

        Raises
        ------
        ResultInvalid
            Where there is no form for the result. NaN and the infinities are allowed.
        ItemsInvalid
            Where the item is not one of this shard's.
        NotDurable
            Where the sidecar did not acknowledge it; it is recorded all the same.
        OSError
            Where it could not be written; `record` may be called again.
        """
        opened, place = self._to_end(item)
        name = self._ledger.names[place]
        try:
            text = _JSON(encoded_value(result, keep=opened.files.keep, encode=self._encode))
            text.encode()
        except (TypeError, ValueError, RecursionError) as problem:
            raise ResultInvalid(
                f"the result of item {name:.200} cannot be kept: {problem}. It is {result!r:.200}"
            ) from problem
        state = self._saved_random_state(opened)
        line = opened.entries.done(
            name, text, started=self._handing_out.started_at(place), random_state=state and state.tag()
        )
        self._end(opened, place, State.DONE, line, sync=durable)
        self._forget_random_state(opened, state)
        if durable:
            self._wait_until_durable(opened)
        return self._decoded(opened, json.loads(text))

    def fail(self, item: Any, error: BaseException | str) -> None:
        """Note that a try of `item` went wrong: another one follows on the next resume, if it has any left.

        Raises
        ------
        BaseException
            `error` itself, where the sweep has `on_error="raise"`.
        ItemsInvalid
            Where the item is not one of this shard's, or is done.
        OSError
            Where it could not be written.
        """
        opened, place = self._to_end(item, may_be_done=False)
        self._note_failure(opened, place, error)
        if self._settings.on_error == "raise":
            raise RuntimeError(error) if isinstance(error, str) else error

    def skip(self, item: Any, why: str) -> None:
        """Leave `item` out for good: it counts as settled, and has no result.

        Raises
        ------
        ItemsInvalid
            Where the item is not one of this shard's, or is done.
        OSError
            Where it could not be written.
        """
        opened, place = self._to_end(item, may_be_done=False)
        self._end(opened, place, State.SKIPPED, opened.entries.skipped(self._ledger.names[place], str(why)))

    @contextmanager
    def trying(self, item: Any) -> Iterator[None]:
        """Have an exception that leaves the block become a failure of `item`, and go on after the block."""
        try:
            yield
        except Exception as error:
            self.fail(item, error)

    def extend(self, items: Iterable[Any]) -> None:
        """Add items behind all others; on resume they have to be added again, or be among `items`.

        Raises
        ------
        ItemsInvalid
            Where one has no key or that of another, or the items come from `SWEEP_ITEMS`.
        """
        self._opened()
        with self._books:
            self._settings.items.extend(items, self._ledger)

    def checkpoint(self) -> None:
        """Bring all records to disk, and write the manifest and the progress file that speak of them.

        Entering and leaving the sweep do so by themselves.
        """
        opened = self._opened()
        self._flush(opened)
        opened.log.write_manifest()
        self._write_progress_json(opened)

    def barrier(self, timeout: float | None = None) -> None:
        """Wait until all that is recorded is in the store, where a sidecar is there to bring it there.

        Parameters
        ----------
        timeout:
            Most seconds to wait; default: the sweep's `durable_timeout`.

        Raises
        ------
        NotDurable
            Where the sidecar did not acknowledge it in time, or never will.
        """
        opened = self._opened()
        self._flush(opened)
        self._wait_until_durable(opened, timeout)

    def seed_of(self, item: Any) -> SeedSequence:
        """Return the item's own seed: always the same, wherever and however often it runs, and next to no other's."""
        opened = self._opened()
        return seed_of(opened.seed, self._ledger.key(self._place_of(item)))

    def results(self) -> Iterator[tuple[Any, Any]]:
        """Yield item and result of each item that is done by now, in the order of the items."""
        opened = self._opened()
        for place in list(self._ledger.places(State.DONE)):
            yield self._ledger.values[place], self._read(opened, *self._ledger.where(place))

    def find_failed(self) -> list[FailedItem]:
        """Return the items whose last try went wrong, in order."""
        opened = self._opened()
        found = []
        for place in self._ledger.places(State.FAILED):
            entry = json.loads(opened.log.read(*self._ledger.where(place)))
            value, attempts = self._ledger.values[place], self._ledger.failures(place)
            found.append(FailedItem(value, entry["key"], entry["error"], entry.get("traceback") or "", attempts))
        return found

    def find_skipped(self) -> list[SkippedItem]:
        """Return the items that the program left out, in order."""
        opened = self._opened()
        entries = (
            (self._ledger.values[place], json.loads(opened.log.read(*self._ledger.where(place))))
            for place in self._ledger.places(State.SKIPPED)
        )
        return [SkippedItem(value, entry["key"], entry["why"]) for value, entry in entries]

    def find_in_progress(self) -> list[Any]:
        """Return the items that were handed out and never ended, by this process or an earlier one, in order."""
        self._opened()
        return [self._ledger.values[place] for place in self._ledger.places(State.IN_PROGRESS)]

    def find_missing(self) -> list[Any]:
        """Return the items that were never handed out, in order."""
        self._opened()
        return [self._ledger.values[place] for place in self._ledger.places(State.MISSING)]

    def stats(self) -> Stats:
        """Return the sweep in numbers, as of now."""
        opened, ledger = self._opened(), self._ledger
        removed = sum(1 for one in ledger.strays.values() if one.state is State.DONE)
        return Stats(
            total=len(ledger) if self._handing_out.is_exhausted else None,
            completed=ledger.count(State.DONE),
            failed=ledger.count(State.FAILED),
            skipped=ledger.count(State.SKIPPED),
            in_progress=ledger.count(State.IN_PROGRESS),
            missing=ledger.count(State.MISSING),
            replayed=len(opened.replayed) + len(opened.unplaced),
            recorded=self._recorded,
            removed=removed if self._handing_out.is_exhausted else 0,
            resumes=opened.resumes,
            fall_backs=opened.fall_backs,
            seconds=time.monotonic() - self._entered_at,
            seconds_saved=self._seconds_saved(opened),
        )

    def _stop_signals(self) -> StopSignals:
        return StopSignals(grace=self._settings.grace, notice_file=self._settings.notice_file)

    def _start(self, opened: Opened, undo: ExitStack) -> None:
        settings = self._settings
        self._owner = os.getpid()
        self._books = threading.Lock()
        self._entered_at = time.monotonic()
        self._recorded = 0
        self._saved: float | None = None
        self._random_state: SideFile | None = None
        self._acknowledgements = Acknowledgements(settings.snapshot_dir)
        self._unacknowledged = self._acknowledgements.generation if opened.salvaged else None
        self._error_log = ErrorLog(settings.log_path, max_attempts=settings.max_attempts, host=settings.host)
        self._handing_out = HandingOut(
            self._ledger,
            settings.items,
            max_attempts=settings.max_attempts,
            clock=time.time,
            before=self._before_an_item,
            started=lambda place, at: self._note_started(opened, place, at),
        )
        self._group: GroupCommit | None = None
        if settings.checkpoint_every is not None or settings.checkpoint_seconds is not None:
            every, seconds = settings.checkpoint_every, settings.checkpoint_seconds
            self._group = GroupCommit(opened.log.sync, every=every, seconds=seconds)
            undo.callback(self._group.close)
        self._display = Display(self._counts, show=self._show_progress)
        if self._keeps_random_state:
            self._restore_random_state(opened)
        self._display.start()

    def _close(self, opened: Opened, error: BaseException | None) -> None:
        opened.log.catch_up()
        at_work = self._handing_out.mine()
        if isinstance(error, Exception) and len(at_work) == 1:
            # Nobody else can say whose fault it was.
            with suppress(OSError, RuntimeError):
                self._note_failure(opened, at_work[0], error)
        self._flush(opened)
        is_complete = self._handing_out.is_exhausted and self._ledger.settled == len(self._ledger)
        if is_complete and self._ended_well(error):
            self._write_complete(opened)
        opened.log.write_manifest()
        self._write_progress_json(opened)
        try:
            write_statistics(opened.log.path, self.stats())
        except OSError as problem:
            warnings.warn(f"the statistics could not be written: {problem}", RuntimeWarning, stacklevel=3)
        if error is None and is_complete:
            self._wait_until_durable(opened)
        self._failed_in_the_end = self.find_failed() if error is None else []

    def _ended_well(self, error: BaseException | None) -> bool:
        """Return whether a block that ended with `error` did so of its own accord, or because a stop was asked for."""
        if isinstance(error, SystemExit):
            return error.code in (None, 0, self._stop.exit_status)
        return error is None

    def _raise_failures(self) -> None:
        failed = self._failed_in_the_end
        if not failed or self._settings.on_error == "ignore":
            return
        named = "; ".join(f"{one.key!r:.80}: {one.error.splitlines()[-1]:.200}" for one in failed[:_NAMED_AT_MOST])
        more = f"; and {len(failed) - _NAMED_AT_MOST} more" if len(failed) > _NAMED_AT_MOST else ""
        left = sum(1 for one in failed if one.attempts < self._settings.max_attempts)
        fate = f"{left} of them run again on the next resume" if left else "none of them has a try left (max_attempts=)"
        raise ItemsFailed(
            f"{len(failed)} of {len(self._ledger)} items have failed, {fate}: {named}{more}. "
            f"See {self._error_log.path}",
            failed,
        )

    def _opened(self) -> Opened:
        if self._is_open is None:
            raise RuntimeError("this sweep is not open: use it inside of its `with` block")
        if os.getpid() != self._owner:
            raise RuntimeError("this process was forked from the one that opened the sweep: here it can only record")
        return self._is_open

    def _to_end(self, item: Any, *, may_be_done: bool = True) -> tuple[Opened, int]:
        if self._is_open is None:
            raise RuntimeError("this sweep is not open: use it inside of its `with` block")
        if os.getpid() not in (self._owner, self._child):
            self._start_as_child()
        place = self._place_of(item)
        if not may_be_done and self._ledger.state(place) is State.DONE:
            raise ItemsInvalid(f"item {self._ledger.names[place]:.200} is done already: a result stands for ever")
        return self._is_open, place

    def _start_as_child(self) -> None:
        # Whatever the parent's threads held when this process was forked is held for ever here.
        self._child = os.getpid()
        self._books = threading.Lock()
        self._group = None
        self._handing_out.start_as_child()
        self._acknowledgements = Acknowledgements(self._settings.snapshot_dir)

    def _place_of(self, item: Any) -> int:
        # Most often it is the very object that was handed out, perhaps changed by the program since.
        place = self._handing_out.place_of(item)
        if place is None:
            place = self._ledger.place(self._settings.items.name(item, "the item"))
        if place is None:
            raise ItemsInvalid(f"this is not an item of shard {self._settings.shard} of this sweep: {item!r:.200}")
        return place

    def _before_an_item(self) -> None:
        opened = self._opened()
        self._stop.leave_if_asked()
        if opened.log.is_shared:
            opened.log.catch_up()

    def _note_started(self, opened: Opened, place: int, at: float) -> None:
        name = self._ledger.names[place]
        with self._stop.shielded():
            opened.log.append([opened.entries.started(name, at)], sync=False)
        with self._books:
            self._ledger.note(State.IN_PROGRESS, name, -1, 0)
        self._display.handed_out(name)

    def _note_failure(self, opened: Opened, place: int, error: BaseException | str) -> None:
        text = error if isinstance(error, str) else "".join(tracebacks.format_exception_only(error)).strip()
        trace = "" if isinstance(error, str) else "".join(tracebacks.format_exception(error))
        name, started = self._ledger.names[place], self._handing_out.started_at(place)
        self._end(
            opened, place, State.FAILED, opened.entries.failed(name, error=text, traceback=trace, started=started)
        )
        attempt = self._ledger.failures(place)
        self._error_log.append(key=name, attempt=attempt, error=text, traceback=trace, at=time.time())

    def _end(self, opened: Opened, place: int, state: State, line: bytes, *, sync: bool = False) -> None:
        """Append the entry that ends an item's try, and note it."""
        group = self._group
        in_group = group is not None and not sync
        with self._stop.shielded():
            offset = opened.log.append([line], sync=not in_group, promised=in_group)
            with self._books:
                was_done = self._ledger.state(place) is State.DONE
                self._ledger.note(state, self._ledger.names[place], offset, len(line) - 1)
                self._recorded += state is State.DONE and not was_done
                self._handing_out.ended(place)
        self._display.ended()
        if group is not None and in_group:
            group.recorded()

    def _flush(self, opened: Opened) -> None:
        if self._group is not None:
            self._group.flush()
        opened.log.sync()

    def _wait_until_durable(self, opened: Opened, timeout: float | None = None) -> None:
        self._acknowledgements.wait(
            opened.log.path,
            opened.log.end,
            timeout_s=self._settings.durable_timeout if timeout is None else timeout,
            stop=lambda: self._stop.stopping,
            report=report_on_stderr,
            after_generation=self._unacknowledged,
        )

    def _write_complete(self, opened: Opened) -> None:
        skipped = self._ledger.count(State.SKIPPED)
        said: dict[str, Any] = {
            "total": len(self._ledger),
            "keys_sha256": sha256_of_identities(self._ledger.names),
            "skipped": skipped,
        }
        before = opened.log.scan.completion
        if before is None or {name: before.get(name, 0) for name in said} != said:
            opened.log.append([opened.entries.complete(**said)])

    def _read(self, opened: Opened, offset: int, size: int) -> Any:
        return self._decoded(opened, json.loads(opened.log.read(offset, size))["result"])

    def _decoded(self, opened: Opened, value: Any) -> Any:
        return decoded_value(value, fetch=opened.files.fetch, decode=self._decode)

    def _saved_random_state(self, opened: Opened) -> SideFile | None:
        return opened.files.keep(captured_state(), "json") if self._keeps_random_state else None

    def _forget_random_state(self, opened: Opened, state: SideFile | None) -> None:
        before, self._random_state = self._random_state, state or self._random_state
        if state is not None and before is not None and before != state:
            with suppress(OSError):
                opened.files.path_of(before).unlink()

    def _restore_random_state(self, opened: Opened) -> None:
        for _, offset, size in reversed(opened.log.scan.with_files):
            entry = json.loads(opened.log.read(offset, size))
            for state in side_files_in(entry.get("random_state")):
                try:
                    restore_state(bytes(opened.files.fetch(state)))
                    self._random_state = state
                except SideFileDamaged as problem:
                    text = f"the random states cannot be restored, they are as the program set them: {problem}"
                    warnings.warn(text, CheckpointFellBack, stacklevel=4)
                return

    def _write_progress_json(self, opened: Opened) -> None:
        path = self._settings.progress_json
        if path is not None:
            places = self._ledger.places(State.DONE)
            write_mime_progress(
                path, ((self._ledger.key(place), self._read(opened, *self._ledger.where(place))) for place in places)
            )

    def _seconds_saved(self, opened: Opened) -> float:
        if self._saved is None:
            places = (opened.ledger.where(place) for place in opened.replayed)
            self._saved = seconds_saved(opened.log.read, (*opened.unplaced, *places))
        return self._saved

    def _counts(self) -> Counts:
        ledger = self._ledger
        return Counts(
            total=len(ledger) if self._handing_out.is_exhausted else None,
            completed=ledger.count(State.DONE),
            failed=ledger.count(State.FAILED),
            skipped=ledger.count(State.SKIPPED),
            recorded=self._recorded,
        )

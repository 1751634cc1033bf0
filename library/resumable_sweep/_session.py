"""A sweep that is entered: records go through here into the log, and what is known of the items is kept in step."""

from __future__ import annotations

import json
import os
import threading
import time
import traceback as tracebacks
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Any

from resumable_sweep._display import Counts, Display
from resumable_sweep._durability import Acknowledgements, NotDurable
from resumable_sweep._error_log import ErrorLog
from resumable_sweep._foreign.mime_export import write_mime_progress
from resumable_sweep._group_commit import GroupCommit
from resumable_sweep._handing_out import HandingOut
from resumable_sweep._ledger import State
from resumable_sweep._opening import CheckpointFellBack, Opened
from resumable_sweep._outcome import FailedItem, ResultInvalid, failures_of, found_failed
from resumable_sweep._random_keeping import RandomKeeping
from resumable_sweep._saved_time import seconds_saved
from resumable_sweep._seeds import SeedSequence, seed_of
from resumable_sweep._settings import Settings
from resumable_sweep._side_files import SideFile
from resumable_sweep._statistics import Stats, write_statistics
from resumable_sweep._stopping import StopSignals, report_on_stderr
from resumable_sweep._values import decoded_value, encoded_value
from resumable_sweep._warning import warn_program
from resumable_sweep.contract.canonical import sha256_of_identities
from resumable_sweep.contract.items import ItemsInvalid

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, kw_only=True)
class Values:
    """What happens to results on their way into the log and back: see the parameters of `ResumableSweep`."""

    encode: Callable[[Any], Any] | None
    decode: Callable[[Any], Any] | None
    keep_random_state: bool


class Session:
    """What `ResumableSweep` does between entering and leaving; its methods are described there."""

    def __init__(
        self, opened: Opened, settings: Settings, *, values: Values, stop: StopSignals, show: bool | None
    ) -> None:
        self.opened = opened
        self._settings = settings
        self._values = values
        self._stop = stop
        self._log, self._ledger, self._entries = opened.log, opened.ledger, opened.entries
        self._owner = os.getpid()
        self._child = 0
        self._books = threading.Lock()
        self._entered_at = time.monotonic()
        self._recorded = 0
        self._seconds_saved: float | None = None
        self._failed_in_the_end: list[FailedItem] = []
        self._acknowledgements = Acknowledgements(settings.snapshot_dir)
        self._unacknowledged = self._acknowledgements.generation if opened.salvaged else None
        self._error_log = ErrorLog(settings.log_path, max_attempts=settings.max_attempts, host=settings.host)
        self._random = RandomKeeping(opened) if values.keep_random_state else None
        self._newest_state: SideFile | None = None
        self.handing_out = HandingOut(
            self._ledger,
            settings.items,
            max_attempts=settings.max_attempts,
            clock=time.time,
            before=self._before_an_item,
            started=self._note_started,
        )
        self._group: GroupCommit | None = None
        if settings.checkpoint_every is not None or settings.checkpoint_seconds is not None:
            every, seconds = settings.checkpoint_every, settings.checkpoint_seconds
            self._group = GroupCommit(self._sync, every=every, seconds=seconds)
        self.display = Display(self._counts, show=show)
        self.display.start()

    @property
    def is_owner(self) -> bool:
        """Whether this is the process that entered the sweep, and no forked child of it."""
        return os.getpid() == self._owner

    def completed(self) -> list[Any]:
        """Return the results of the items that were done on entering."""
        return [self._result_in(line) for line in self._replayed()]

    def results(self) -> Iterator[tuple[Any, Any]]:
        """Yield item and result of each item that is done by now."""
        places = array("q", self._ledger.places(State.DONE))
        lines = self._log.read_each(map(self._ledger.where, places))
        for place, line in zip(places, lines, strict=True):
            yield self._ledger.values[place], self._result_in(line)

    def record(self, item: Any, result: Any, *, durable: bool) -> Any:
        """Keep the result of `item`."""
        place = self._place_to_end(item)
        name = self._ledger.names[place]
        try:
            text = _JSON(encoded_value(result, keep=self.opened.files.keep, encode=self._values.encode))
            text.encode()
        except (TypeError, ValueError) as problem:
            raise ResultInvalid(
                f"the result of item {name:.200} cannot be kept: {problem}. It is {result!r:.200}"
            ) from problem
        started = self.handing_out.started_at(place)
        state = self._saved_state()
        line = self._entries.done(name, text, started=started, random_state=_tag_of(state))
        self._end(place, State.DONE, line, sync=durable, random_state=state)
        if durable:
            self._wait_until_durable()
        return self._decoded(json.loads(text))

    def fail(self, item: Any, error: BaseException | str) -> None:
        """Note that a try of `item` went wrong."""
        self._note_failure(self._place_to_end(item, may_be_done=False), error)
        if self._settings.on_error == "raise":
            raise RuntimeError(error) if isinstance(error, str) else error

    def skip(self, item: Any, why: str) -> None:
        """Leave `item` out for good."""
        place = self._place_to_end(item, may_be_done=False)
        state = self._saved_state()
        line = self._entries.skipped(self._ledger.names[place], str(why), random_state=_tag_of(state))
        self._end(place, State.SKIPPED, line, random_state=state)

    def extend(self, items: Iterable[Any]) -> None:
        """Add items behind all others."""
        self.handing_out.extend(items)

    def seed_of(self, item: Any) -> SeedSequence:
        """Return the item's own seed."""
        return seed_of(self.opened.seed, self._ledger.key(self._place_of(item)))

    def checkpoint(self) -> None:
        """Bring all records to disk, and write the manifest and the progress file that speak of them."""
        self._flush()
        self._log.write_manifest()
        self._write_progress_json()

    def barrier(self, timeout: float | None) -> None:
        """Wait until all that is recorded is in the store."""
        self._flush()
        self._wait_until_durable(timeout)

    def stats(self) -> Stats:
        """Return the sweep in numbers, as of now."""
        ledger, is_exhausted = self._ledger, self.handing_out.is_exhausted
        removed = sum(1 for one in tuple(ledger.strays.values()) if one.state is State.DONE)
        return Stats(
            total=len(ledger) if is_exhausted else None,
            completed=ledger.count(State.DONE),
            failed=ledger.count(State.FAILED),
            skipped=ledger.count(State.SKIPPED),
            in_progress=ledger.count(State.IN_PROGRESS),
            missing=ledger.count(State.MISSING),
            replayed=len(self.opened.replayed) + len(self.opened.unplaced),
            recorded=self._recorded,
            removed=removed if is_exhausted else 0,
            resumes=self.opened.resumes,
            fall_backs=self.opened.fall_backs,
            seconds=time.monotonic() - self._entered_at,
            seconds_saved=self._saved(),
        )

    def close(self, error: BaseException | None) -> None:
        """Bring the sweep to its end, after a block that ended with `error`."""
        self._log.catch_up()
        # What a forked child has ended meanwhile is at work no more.
        at_work = [
            place for place in self.handing_out.mine() if self._ledger.state(place) is State.IN_PROGRESS
        ]  # fmt: skip
        if isinstance(error, Exception) and len(at_work) == 1 and not self._is_of_the_log(error):
            # Nobody else can say whose fault it was.
            with suppress(OSError, RuntimeError):
                self._note_failure(at_work[0], error)
        self._flush()
        is_complete = self.handing_out.is_exhausted and self._ledger.settled == len(self._ledger)
        if is_complete and self._ended_well(error):
            self._write_complete()
        self._log.write_manifest()
        self._write_progress_json()
        try:
            write_statistics(self._log.path, self.stats())
        except OSError as problem:
            warn_program(f"the statistics could not be written: {problem}", RuntimeWarning)
        if error is None:
            self._failed_in_the_end = found_failed(self.opened)

    def wait_for_the_end(self) -> None:
        """Wait until the store has the complete record, where there is one."""
        if self._log.scan.completion is not None:
            self._wait_until_durable()

    def stop_threads(self) -> None:
        """End what runs besides the program."""
        if self._group is not None:
            self._group.close()

    def raise_failures(self) -> None:
        """Raise `ItemsFailed` where items have failed and the program wants to hear of it."""
        if self._failed_in_the_end and self._settings.on_error != "ignore":
            raise failures_of(
                self._failed_in_the_end,
                total=len(self._ledger),
                max_attempts=self._settings.max_attempts,
                error_log=self._error_log.path,
            )

    def _is_of_the_log(self, error: Exception) -> bool:
        """Return whether `error` says that the log could not be written, which is no item's fault."""
        return isinstance(error, OSError) and error.filename == str(self._log.path)

    def _ended_well(self, error: BaseException | None) -> bool:
        """Return whether a block that ended with `error` did so of its own accord, or because a stop was asked for."""
        if isinstance(error, SystemExit):
            return error.code in (None, 0, self._stop.exit_status)
        return error is None

    def _place_to_end(self, item: Any, *, may_be_done: bool = True) -> int:
        if os.getpid() not in (self._owner, self._child):
            self._start_as_child()
        place = self._place_of(item)
        if not may_be_done and self._ledger.state(place) is State.DONE:
            raise ItemsInvalid(f"item {self._ledger.names[place]:.200} is done already: a result stands for ever")
        return place

    def _start_as_child(self) -> None:
        # Whatever the parent's threads held when this process was forked is held for ever here.
        self._child = os.getpid()
        self._books = threading.Lock()
        self._group = None
        self._random = None  # the parent goes on with its own
        self._ledger.start_as_child()
        self.handing_out.start_as_child()
        self._acknowledgements = Acknowledgements(self._settings.snapshot_dir)

    def _place_of(self, item: Any) -> int:
        # Most often it is the very object that was handed out, perhaps changed by the program since.
        place = self.handing_out.place_of(item)
        if place is None:
            place = self._ledger.place(self._settings.items.name(item, "the item"))
        if place is None:
            raise ItemsInvalid(f"this is not an item of shard {self._settings.shard} of this sweep: {item!r:.200}")
        return place

    def _before_an_item(self) -> None:
        if not self.is_owner:
            raise RuntimeError("this process was forked from the one that opened the sweep: here it can only record")
        self._stop.leave_if_asked()
        if self._log.is_shared:
            self._log.catch_up()

    def _note_started(self, place: int, at: float) -> None:
        name = self._ledger.names[place]
        with self._stop.shielded():
            self._log.append([self._entries.started(name, at)], sync=False)
        with self._books:
            self._ledger.note_one(State.IN_PROGRESS, name, -1, 0)
        self.display.handed_out(name)

    def _note_failure(self, place: int, error: BaseException | str) -> None:
        text = error if isinstance(error, str) else "".join(tracebacks.format_exception_only(error)).strip()
        trace = "" if isinstance(error, str) else "".join(tracebacks.format_exception(error))
        name, started = self._ledger.names[place], self.handing_out.started_at(place)
        state = self._saved_state()
        line = self._entries.failed(
            name, error=text, traceback=trace, started=started, random_state=_tag_of(state)
        )  # fmt: skip
        self._end(place, State.FAILED, line, random_state=state)
        attempt = self._ledger.failures(place)
        self._error_log.append(key=name, attempt=attempt, error=text, traceback=trace, at=time.time())

    def _saved_state(self) -> SideFile | None:
        return None if self._random is None else self._random.save()

    def _end(
        self, place: int, state: State, line: bytes, *, sync: bool = False, random_state: SideFile | None = None
    ) -> None:
        """Append the entry that ends an item's try, and note it."""
        group = self._group
        in_group = group is not None and not sync
        with self._stop.shielded():
            offset = self._log.append([line], sync=not in_group, promised=in_group)
            with self._books:
                was_done = self._ledger.state(place) is State.DONE
                self._ledger.note_one(state, self._ledger.names[place], offset, len(line) - 1)
                self._recorded += state is State.DONE and not was_done
                self.handing_out.ended(place)
            self._newest_state = random_state
        self.display.ended()
        if not in_group:
            self._drop_states_before(random_state)
        elif group is not None:
            group.recorded()

    def _sync(self) -> None:
        """Bring all entries to disk; only then are the random states of those before the newest one of no more use."""
        newest = self._newest_state
        self._log.sync()
        self._drop_states_before(newest)

    def _drop_states_before(self, state: SideFile | None) -> None:
        if self._random is not None and state is not None:
            self._random.drop_before(state)

    def _flush(self) -> None:
        if self._group is not None:
            self._group.flush()
        self._log.sync()

    def _wait_until_durable(self, timeout: float | None = None) -> None:
        try:
            self._acknowledgements.wait(
                self._log.path,
                self._log.end,
                timeout_s=self._settings.durable_timeout if timeout is None else timeout,
                stop=lambda: self._stop.stopping,
                report=report_on_stderr,
                after_generation=self._unacknowledged,
            )
        except NotDurable:
            # Who is asked to stop has not failed: what is on disk is brought into the store on the way out.
            self._stop.leave_if_asked()
            raise

    def _write_complete(self) -> None:
        skipped = self._ledger.count(State.SKIPPED)
        digest = sha256_of_identities(self._ledger.names)
        said: dict[str, Any] = {"total": len(self._ledger), "keys_sha256": digest, "skipped": skipped}
        before = self._log.scan.completion
        if before is None or {name: before.get(name, 0) for name in said} != said:
            self._log.append([self._entries.complete(**said)])
            self._log.scan.completion = said

    def _replayed(self) -> Iterator[bytes]:
        """Yield the lines of the results that were there on entering."""
        return self._log.read_each(chain(self.opened.unplaced, map(self._ledger.where, self.opened.replayed)))

    def _result_in(self, line: bytes) -> Any:
        return self._decoded(json.loads(line.decode())["result"])

    def _decoded(self, value: Any) -> Any:
        return decoded_value(value, fetch=self.opened.files.fetch, decode=self._values.decode)

    def _write_progress_json(self) -> None:
        path = self._settings.progress_json
        if path is not None:
            places = self._ledger.places(State.DONE)
            # As recorded, not as the program's `decode` has it: the file is JSON.
            pairs = (
                (self._ledger.key(place), json.loads(self._log.read(*self._ledger.where(place)))) for place in places
            )
            kept_as = write_mime_progress(path, ((key, entry["result"]) for key, entry in pairs))
            if kept_as is not None:
                text = f"{path} was damaged; it is kept as {kept_as}, and written anew from {self._log.path}"
                warn_program(text, CheckpointFellBack)

    def _saved(self) -> float:
        if self._seconds_saved is None:
            self._seconds_saved = seconds_saved(self._replayed())
        return self._seconds_saved

    def _counts(self) -> Counts:
        ledger = self._ledger
        return Counts(
            total=len(ledger) if self.handing_out.is_exhausted else None,
            completed=ledger.count(State.DONE),
            failed=ledger.count(State.FAILED),
            skipped=ledger.count(State.SKIPPED),
            recorded=self._recorded,
        )


def _tag_of(state: SideFile | None) -> dict[str, Any] | None:
    return None if state is None else state.tag()

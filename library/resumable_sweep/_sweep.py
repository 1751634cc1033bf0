"""A sweep of items that goes on where it was cut off."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, Self

from resumable_sweep._log import ResultLog, encoded, read_entries
from resumable_sweep._settings import Settings, key_for, settings_of
from resumable_sweep._stopping import StopSignals
from resumable_sweep.contract.canonical import identity, sha256_of_keys
from resumable_sweep.contract.items import ItemsInvalid
from resumable_sweep.contract.log_format import COMPLETE, DONE, REOPENED, completion_of, results_of


class ResultInvalid(ValueError):
    """A result cannot be kept: JSON has no form for what it holds."""


class ResumableSweep:
    """Hands out the items that are not done yet, and keeps the results of those that are.

    Every parameter that is left out is taken from the environment of a sweep's pod; a given one wins.

    Parameters
    ----------
    items:
        The items of the whole sweep, in a stable order; of them this process takes its shard (item k belongs to shard
        k mod `SWEEP_SHARDS`). Default: the file `SWEEP_ITEMS`, which holds this shard's items only.
    key:
        Function from an item to what names it, any JSON value; the same item must have the same key in every run.
        Default: the item's `key` field where it is a mapping with one, else its canonical JSON.
    checkpoint_path:
        The log of results, relative to `snapshot_dir` where there is one, else to the working directory. Default:
        `results.jsonl`.
    resume_from:
        Path or `file://` URL of a log whose results count as done; where it is another file than the log itself, they
        are copied into it. A file that does not exist is a fresh start. Default: `SWEEP_RESUME_FROM`.
    snapshot_dir:
        Directory whose files are saved while the program runs. Default: `SWEEP_SNAPSHOT_DIR`.

    Raises
    ------
    SettingsInvalid, ItemsInvalid
        Where a parameter or variable is missing or wrong, or two items have the same key.

    Notes
    -----
    Inside of `with`, SIGTERM and SIGINT ask the sweep to stop: the item at hand can be finished and recorded, then
    `pending` (or else the end of the block) raises `SystemExit(143)` or `SystemExit(130)`. So what follows the loop
    never runs with items missing because of a signal. A second SIGINT raises `KeyboardInterrupt` at once. Off the main
    thread nothing is trapped.

    One process writes a log at a time; `record` may be called from any of its threads.
    """

    def __init__(
        self,
        items: Iterable[Any] | None = None,
        key: Callable[[Any], Any] | None = None,
        checkpoint_path: str | os.PathLike[str] | None = None,
        resume_from: str | os.PathLike[str] | None = None,
        snapshot_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        self._settings: Settings = settings_of(
            items=items,
            key=key,
            checkpoint_path=checkpoint_path,
            resume_from=resume_from,
            snapshot_dir=snapshot_dir,
            environ=os.environ,
        )
        self._items = {identity(item.key): item for item in self._settings.items}
        # `record` gets an item back, most often the very object that was handed out, perhaps changed by the program.
        self._by_object = {id(item.value): name for name, item in self._items.items()}
        self._stop = StopSignals()
        self._writing = threading.Lock()
        self._log: ResultLog | None = None
        self._owner = os.getpid()
        self._completed: list[Any] = []
        self._completion: dict[str, Any] | None = None
        self._done: set[str] = set()
        self._started: dict[str, float] = {}

    def __enter__(self) -> Self:
        if self._log is not None:
            raise RuntimeError("this sweep is entered already")
        settings = self._settings
        header = {
            "run_id": settings.run_id,
            "shard": settings.shard,
            "shards": settings.shards,
            "created": time.time(),
        }
        # Before the log is opened, so that a signal in between does not end the process with the log half set up.
        self._stop = StopSignals()
        with ExitStack() as undo:
            undo.enter_context(self._stop)
            log, entries = ResultLog.opened(settings.log_path, header)
            undo.callback(log.close)
            recorded = results_of(entries)
            fetched = self._results_elsewhere(recorded)
            recorded.update(fetched)
            self._done = {name for name in self._items if name in recorded}
            self._completion = completion_of(entries)
            if fetched:
                self._append(log, [encoded(entry) for entry in fetched.values()])
            if self._completion and len(self._done) < len(self._items):
                # It speaks of fewer items than there are now: nobody may take the log for a finished one.
                reopened = {"kind": REOPENED, "attempt": settings.attempt, "host": settings.host, "at": time.time()}
                self._append(log, [encoded(reopened)])
            log.write_manifest()
            self._undo = undo.pop_all()
        self._log = log
        self._owner = os.getpid()
        self._completed = [recorded[name]["result"] for name in self._items if name in recorded]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.getpid() != self._owner:  # a forked child that unwinds: the sweep is its parent's
            return
        log = self._opened()
        with self._undo:
            self._log = None
            if self._done.issuperset(self._items) and self._ended_well(error):
                self._write_complete(log)
            log.write_manifest()
        if error is None:
            self._leave_if_asked()

    @property
    def completed(self) -> list[Any]:
        """Results of the items that were done when the sweep was entered, in the order of the items."""
        self._opened()
        return list(self._completed)

    @property
    def pending(self) -> Iterator[Any]:
        """The items still to do, in order, each passed over if it was recorded in the meantime.

        Once a stop is asked for it raises `SystemExit` in place of the next item, and of its end.
        """
        self._opened()
        return self._hand_out()

    @property
    def stopping(self) -> bool:
        """Whether a signal has asked the sweep to stop; for work that can end in the middle of an item."""
        return self._stop.signum is not None

    def record(self, item: Any, result: Any) -> Any:
        """Keep the result of `item`; when this returns it is on disk.

        Returns
        -------
        The result as it will be replayed, gone through JSON: tuples are lists, the keys of mappings strings.

        Raises
        ------
        ResultInvalid
            Where JSON has no form for the result. NaN and the infinities are allowed.
        ItemsInvalid
            Where the item is not one of this shard's.
        OSError
            Where it could not be written. The log is then as it was before, and `record` may be called again.
        """
        log = self._opened()
        name = self._name_of(item)
        settings = self._settings
        entry = {
            "kind": DONE,
            "key": self._items[name].key,
            "result": result,
            "attempt": settings.attempt,
            "host": settings.host,
            "started": self._started.get(name),
            "ended": time.time(),
        }
        try:
            line = encoded(entry)
        except (TypeError, ValueError, RecursionError) as problem:
            raise ResultInvalid(
                f"the result of item {name:.200} cannot be kept: {problem}. Make it of numbers, strings, lists and "
                f"mappings (an array has .tolist()); it is {result!r:.200}"
            ) from problem
        with self._writing:
            self._append(log, [line])
            self._done.add(name)
        return json.loads(line)["result"]

    def checkpoint(self) -> None:
        """Write the manifest of all that is recorded so far; entering and leaving the sweep do so by themselves."""
        log = self._opened()
        with self._writing:
            log.write_manifest()

    def _hand_out(self) -> Iterator[Any]:
        for name, item in self._items.items():
            if name not in self._done:
                self._leave_if_asked()
                self._started[name] = time.time()
                yield item.value
        self._leave_if_asked()

    def _leave_if_asked(self) -> None:
        status = self._stop.exit_status
        if status is not None:
            raise SystemExit(status)

    def _opened(self) -> ResultLog:
        if self._log is None:
            raise RuntimeError("this sweep is not open: use it inside of its `with` block")
        if os.getpid() != self._owner:
            raise RuntimeError(
                "this process was forked from the one that opened the sweep: hand the result back and record it there"
            )
        return self._log

    def _name_of(self, item: Any) -> str:
        name = self._by_object.get(id(item))
        if name is None:
            with suppress(KeyError):
                name = identity(key_for(item, self._settings.key, "the item"))
        if name not in self._items:
            raise ItemsInvalid(f"this is not an item of shard {self._settings.shard} of this sweep: {item!r:.200}")
        return name

    def _results_elsewhere(self, recorded: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Return what `resume_from` has of this shard's items and the log has not."""
        source = self._settings.resume_from
        if source is None or not source.exists() or source.samefile(self._settings.log_path):
            return {}
        found = results_of(read_entries(source, self._settings.run_id))
        return {name: entry for name, entry in found.items() if name in self._items and name not in recorded}

    def _write_complete(self, log: ResultLog) -> None:
        keys_sha256 = sha256_of_keys(item.key for item in self._settings.items)
        entry = {"kind": COMPLETE, "total": len(self._items), "keys_sha256": keys_sha256}
        if self._completion != entry:
            self._append(log, [encoded(entry)])

    def _append(self, log: ResultLog, lines: list[bytes]) -> None:
        log.append(lines)
        self._completion = None

    def _ended_well(self, error: BaseException | None) -> bool:
        """Return whether a block that ended with `error` did so of its own accord, or because a stop was asked for."""
        if isinstance(error, SystemExit):
            return error.code in (None, 0, self._stop.exit_status)
        return error is None

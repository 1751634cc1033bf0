"""A sweep of items that goes on where it was cut off."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

from resumable_sweep._drift import allowed_parts
from resumable_sweep._ledger import Ledger, State
from resumable_sweep._opening import Opening
from resumable_sweep._outcome import FailedItem, SkipItem, SkippedItem, found_failed, found_items, found_skipped
from resumable_sweep._preserved import preserved_of
from resumable_sweep._script import script_of
from resumable_sweep._seeds import SeedSequence
from resumable_sweep._session import Session, Values
from resumable_sweep._settings import OnError, Parameters, Settings, settings_of
from resumable_sweep._statistics import Stats
from resumable_sweep._stopping import StopSignals


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
        self._values = Values(encode=encode, decode=decode, keep_random_state=random_state)
        self._show_progress = show_progress
        self._session: Session | None = None
        self._stop = self._stop_signals()  # also where the sweep is not entered, `stopping` may be asked

    def __enter__(self) -> Self:
        if self._session is not None:
            raise RuntimeError("this sweep is entered already")
        # Before the log is opened, so that a signal in between does not end the process with the log half set up.
        self._stop = self._stop_signals()
        with ExitStack() as undo:
            undo.enter_context(self._stop)
            self._ledger.forget()
            opened = Opening(
                self._settings, now=self._now, allow_drift=self._allow_drift, ledger=self._ledger
            ).open(undo)  # fmt: skip
            session = Session(opened, self._settings, values=self._values, stop=self._stop, show=self._show_progress)
            undo.callback(session.stop_threads)
            self._undo = undo.pop_all()
        self._session = session
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session = self._entered()
        if not session.is_owner:  # a forked child that unwinds: the sweep is its parent's
            return
        try:
            with self._undo:
                with self._stop.shielded():
                    session.close(error)
                if error is None:
                    session.wait_for_the_end()
        finally:
            self._session = None
            session.display.close()
        if error is None:
            self._stop.leave_if_asked()
            session.raise_failures()

    @property
    def completed(self) -> list[Any]:
        """Results of the items that were done when the sweep was entered, in the order of the items.

        Where the items come one by one, it is the order in which they were done.
        """
        return self._owned().completed()

    @property
    def pending(self) -> Iterator[Any]:
        """The items still to do, in order, each to one thread at a time.

        Failed ones are among them until they have failed `max_attempts` times. Once a stop is asked for it raises
        `SystemExit` in place of the next item, and of its end.
        """
        return self._owned().handing_out.a_pass()

    @property
    def stopping(self) -> bool:
        """Whether the sweep is asked to stop; for work that can end in the middle of an item."""
        return self._stop.stopping

    @property
    def config(self) -> dict[str, Any] | None:
        """The configuration, as it is kept beside the log: that given, else that of the runs before."""
        return self._owned().opened.preserved.config

    @property
    def run_id(self) -> str | None:
        """The run that the log belongs to."""
        found = self._owned().opened.log.scan.header.get("run_id")
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
        SystemExit
            Where a stop is asked for while it waits for that.
        OSError
            Where it could not be written; `record` may be called again.
        """
        return self._entered().record(item, result, durable=durable)

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
        self._entered().fail(item, error)

    def skip(self, item: Any, why: str) -> None:
        """Leave `item` out for good: it counts as settled, and has no result.

        Raises
        ------
        ItemsInvalid
            Where the item is not one of this shard's, or is done.
        OSError
            Where it could not be written.
        """
        self._entered().skip(item, why)

    @contextmanager
    def trying(self, item: Any) -> Iterator[None]:
        """Have an exception that leaves the block become a failure of `item`, and go on after the block.

        `SkipItem` leaves the item out instead.
        """
        try:
            yield
        except SkipItem as skipped:
            self.skip(item, str(skipped))
        except Exception as error:
            self.fail(item, error)

    def extend(self, items: Iterable[Any]) -> None:
        """Add items behind all others; on resume they have to be added again, or be among `items`.

        Raises
        ------
        ItemsInvalid
            Where one has no key or that of another, or the items come from `SWEEP_ITEMS`.
        """
        self._owned().extend(items)

    def checkpoint(self) -> None:
        """Bring all records to disk, and write the manifest and the progress file that speak of them.

        Entering and leaving the sweep do so by themselves.
        """
        self._owned().checkpoint()

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
        self._owned().barrier(timeout)

    def seed_of(self, item: Any) -> SeedSequence:
        """Return the item's own seed: always the same, wherever and however often it runs, and next to no other's."""
        return self._entered().seed_of(item)

    def results(self) -> Iterator[tuple[Any, Any]]:
        """Yield item and result of each item that is done by now, in the order of the items."""
        return self._owned().results()

    def find_failed(self) -> list[FailedItem]:
        """Return the items whose last try went wrong, in order."""
        return found_failed(self._owned().opened)

    def find_skipped(self) -> list[SkippedItem]:
        """Return the items that the program left out, in order."""
        return found_skipped(self._owned().opened)

    def find_in_progress(self) -> list[Any]:
        """Return the items that were handed out and never ended, by this process or an earlier one, in order."""
        return found_items(self._owned().opened, State.IN_PROGRESS)

    def find_missing(self) -> list[Any]:
        """Return the items that were never handed out, in order."""
        return found_items(self._owned().opened, State.MISSING)

    def stats(self) -> Stats:
        """Return the sweep in numbers, as of now."""
        return self._owned().stats()

    def _stop_signals(self) -> StopSignals:
        return StopSignals(grace=self._settings.grace, notice_file=self._settings.notice_file)

    def _entered(self) -> Session:
        if self._session is None:
            raise RuntimeError("this sweep is not open: use it inside of its `with` block")
        return self._session

    def _owned(self) -> Session:
        session = self._entered()
        if not session.is_owner:
            raise RuntimeError("this process was forked from the one that opened the sweep: here it can only record")
        return session

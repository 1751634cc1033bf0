"""A whole sweep in one call: a function for an item, one item after the other or several at once."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

from resumable_sweep._invalid import SettingsInvalid
from resumable_sweep._item_ending import ending_of
from resumable_sweep._sweep import ResumableSweep
from resumable_sweep._threads import Threads

Mode = Literal["threads", "processes"]
_Work = Callable[[Any], Any]


def run(
    fn: Callable[..., Any],
    items: Iterable[Any] | None = None,
    *,
    workers: int = 1,
    mode: Mode | None = None,
    pass_seed: bool = False,
    **parameters: Any,
) -> list[Any]:
    """Call `fn` with each item that is not done yet, and return the results of all that are, in the order of the items.

    An exception is a failure of its item, with what `on_error` makes of that; `SkipItem` leaves the item out for good.

    Parameters
    ----------
    fn:
        Function from an item to its result; a coroutine function, too.
    items:
        As for `ResumableSweep`, as are all `parameters`.
    workers:
        So many items at once; no more than that are taken from a generator ahead of time.
    mode:
        `"threads"`, or `"processes"`, for which `fn`, items and results must be such as pickle can send; a coroutine
        function runs in one event loop instead. Default: threads where there are several workers, else neither.
    pass_seed:
        Call `fn(item, seed=...)` with a whole number of 64 bits, the item's own: the same one in every run, whatever
        the number of workers, the mode and the shards.

    Raises
    ------
    SettingsInvalid
        Where parameters are wrong or do not go together.
    ItemsFailed, SystemExit
        As at the end of a sweep's block. Once a stop is asked for no item is begun, and those at hand are waited for
        within `grace`; worker processes still busy then are killed, and their items run again.
    WorkersCannotStart
        Where no worker process comes to the point of taking an item.
    """
    _check(fn, workers=workers, mode=mode, pass_seed=pass_seed, parameters=parameters)
    if _is_async(fn):
        work = _in_tasks(fn, workers=workers, pass_seed=pass_seed)
    elif mode == "processes":
        work = _in_processes(fn, workers=workers, pass_seed=pass_seed)
    elif workers > 1 or mode == "threads":
        work = _in_threads(fn, workers=workers, pass_seed=pass_seed)
    else:
        work = _one_by_one(fn, pass_seed=pass_seed)
    with ResumableSweep(items, **parameters) as sweep:
        try:
            work(sweep)
        except Exception:
            # The items' own errors do not come here. A new pass takes back those at hand: else the last one left would
            # be blamed for this.
            iter(sweep.pending)
            raise
        return [result for _, result in sweep.results()]


def _one_by_one(fn: Callable[..., Any], *, pass_seed: bool) -> Callable[[ResumableSweep], None]:
    def work(sweep: ResumableSweep) -> None:
        on_item = _on_item(sweep, fn, pass_seed=pass_seed)
        for item in sweep.pending:
            ending_of(sweep, item, on_item)()

    return work


def _in_threads(fn: Callable[..., Any], *, workers: int, pass_seed: bool) -> Callable[[ResumableSweep], None]:
    def work(sweep: ResumableSweep) -> None:
        Threads(sweep, [_on_item(sweep, fn, pass_seed=pass_seed)] * workers, stop=sweep._stop).run()

    return work


def _in_tasks(fn: Callable[..., Any], *, workers: int, pass_seed: bool) -> Callable[[ResumableSweep], None]:
    # Here, and not above: this takes as long to import as all the rest of the package.
    import asyncio

    from resumable_sweep._tasks import Tasks

    def work(sweep: ResumableSweep) -> None:
        on_item = _on_item(sweep, fn, pass_seed=pass_seed)
        asyncio.run(Tasks(sweep, on_item, workers=workers, stop=sweep._stop).run())

    return work


def _in_processes(fn: Callable[..., Any], *, workers: int, pass_seed: bool) -> Callable[[ResumableSweep], None]:
    from resumable_sweep._worker_process import WorkerProcesses, check_is_main_program, pickled_function

    check_is_main_program()
    function = pickled_function(fn)

    def work(sweep: ResumableSweep) -> None:
        with WorkerProcesses(function, count=workers) as processes:
            works = [_on_item(sweep, process, pass_seed=pass_seed) for process in processes.each]
            Threads(sweep, works, stop=sweep._stop, abandon=processes.kill).run()

    return work


def _on_item(sweep: ResumableSweep, fn: Callable[..., Any], *, pass_seed: bool) -> _Work:
    return (lambda item: fn(item, seed=sweep.seed_of(item).integer())) if pass_seed else fn


def _is_async(fn: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)


def _check(
    fn: Callable[..., Any], *, workers: int, mode: Mode | None, pass_seed: bool, parameters: dict[str, Any]
) -> None:
    if not callable(fn):
        raise SettingsInvalid(f"fn={fn!r} must be a function that is called with an item")
    if type(workers) is not int or workers < 1:
        raise SettingsInvalid(f"workers={workers!r} must be a whole number of 1 or more")
    if mode is not None and mode not in get_args(Mode):
        raise SettingsInvalid(f"mode={mode!r} must be one of {', '.join(get_args(Mode))}, or left out")
    _check_call(fn, pass_seed=pass_seed)
    if parameters.get("random_state") and (workers > 1 or mode is not None):
        raise SettingsInvalid(
            "random_state=True saves the one state of this process, which several workers would share in no order: use "
            "pass_seed=True, or workers=1 without a mode"
        )
    if _is_async(fn):
        _check_async(mode)


def _check_call(fn: Callable[..., Any], *, pass_seed: bool) -> None:
    # Else every item would fail, each costing one of its tries.
    try:
        inspect.signature(fn).bind(None, **({"seed": 0} if pass_seed else {}))
    except TypeError as error:
        wanted = "fn(item, seed=...), as pass_seed=True has it" if pass_seed else "fn(item)"
        raise SettingsInvalid(f"fn={fn!r} cannot be called as {wanted}: {error}") from error
    except ValueError:
        pass  # of some built-in functions nobody can tell


def _check_async(mode: Mode | None) -> None:
    if mode is not None:
        raise SettingsInvalid(f"mode={mode!r} does not go with a coroutine function: leave it out")
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:
        raise SettingsInvalid(
            "fn is a coroutine function, which needs an event loop of its own, but run() was called in one that runs "
            "already: use `await asyncio.to_thread(run, ...)`"
        )

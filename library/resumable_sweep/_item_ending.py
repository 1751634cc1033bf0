"""How a try of an item ends where a function does the work: with a result, a failure, or left out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from resumable_sweep._outcome import ResultInvalid, SkipItem, WorkersCannotStart
from resumable_sweep._sweep import ResumableSweep

Ending = Callable[[], Any]
"""Writes down how an item's try ended; raises what the sweep makes of it (the disk's errors, `on_error="raise"`)."""


def ending_of(sweep: ResumableSweep, item: Any, work: Callable[[Any], Any]) -> Ending:
    """Do `work` on `item`, and return what writes down how that ended.

    The two are apart so that the one who waits for the work decides whether it still counts.

    Raises
    ------
    WorkersCannotStart
    """
    try:
        return with_result(sweep, item, work(item))
    except WorkersCannotStart:
        raise  # no work was done
    except Exception as error:
        return with_error(sweep, item, error)


def with_result(sweep: ResumableSweep, item: Any, result: Any) -> Ending:
    """Return what records `result`; one that cannot be kept is a failure of its item."""

    def end() -> None:
        try:
            sweep.record(item, result)
        except ResultInvalid as error:
            sweep.fail(item, error)

    return end


def with_error(sweep: ResumableSweep, item: Any, error: Exception) -> Ending:
    """Return what writes down that the work raised `error`."""
    if isinstance(error, SkipItem):
        return partial(sweep.skip, item, str(error))
    return partial(sweep.fail, item, error)

"""How items ended, as a program is told of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resumable_sweep._ledger import State
from resumable_sweep._opening import Opened
from resumable_sweep.contract.log_format import FAILED, SKIPPED

_NAMED_AT_MOST = 5


class ResultInvalid(ValueError):
    """A result cannot be kept: there is no form for what it holds; the message says where and what to do."""


class SkipItem(Exception):
    """Raised by the work on an item to leave that item out for good; its text says why."""


class ItemsFailed(RuntimeError):
    """A sweep has come to its end with items that failed; `items` tells of each."""

    def __init__(self, message: str, items: list[FailedItem]) -> None:
        super().__init__(message)
        self.items = items


class WorkerDied(RuntimeError):
    """The process that worked on an item ended in the middle of it."""


class WorkersCannotStart(RuntimeError):
    """No worker process comes to the point of taking an item: the program is to be mended, no item is to blame."""


@dataclass(frozen=True)
class FailedItem:
    """An item whose last try went wrong: `error` is class and message, `attempts` counts the tries that failed."""

    item: Any
    key: Any
    error: str
    traceback: str
    attempts: int


@dataclass(frozen=True)
class SkippedItem:
    """An item that the program will not do."""

    item: Any
    key: Any
    why: str


def found_items(opened: Opened, state: State) -> list[Any]:
    """Return the items that stand like that, in order."""
    return [opened.ledger.values[place] for place in opened.ledger.places(state)]


def found_failed(opened: Opened) -> list[FailedItem]:
    """Return the items whose last try went wrong, in order."""
    ledger, found = opened.ledger, []
    for place in ledger.places(State.FAILED):
        entry = json.loads(opened.log.read(*ledger.where(place)))
        if entry["kind"] != FAILED:  # another thread has ended it well in the meantime
            continue
        value, attempts = ledger.values[place], ledger.failures(place)
        found.append(FailedItem(value, entry["key"], entry["error"], entry.get("traceback") or "", attempts))
    return found


def found_skipped(opened: Opened) -> list[SkippedItem]:
    """Return the items that the program left out, in order."""
    ledger, found = opened.ledger, []
    for place in ledger.places(State.SKIPPED):
        entry = json.loads(opened.log.read(*ledger.where(place)))
        if entry["kind"] != SKIPPED:  # as above
            continue
        found.append(SkippedItem(ledger.values[place], entry["key"], entry["why"]))
    return found


def failures_of(failed: list[FailedItem], *, total: int, max_attempts: int, error_log: Path) -> ItemsFailed:
    """Return the error that tells of all `failed` items of `total`."""
    named = "; ".join(f"{one.key!r:.80}: {_last_line(one.error):.200}" for one in failed[:_NAMED_AT_MOST])
    more = f"; and {len(failed) - _NAMED_AT_MOST} more" if len(failed) > _NAMED_AT_MOST else ""
    left = sum(1 for one in failed if one.attempts < max_attempts)
    fate = f"{left} of them run again on the next resume" if left else "none of them has a try left (max_attempts=)"
    return ItemsFailed(f"{len(failed)} of {total} items have failed, {fate}: {named}{more}. See {error_log}", failed)


def _last_line(text: str) -> str:
    return text.rstrip().rpartition("\n")[2]

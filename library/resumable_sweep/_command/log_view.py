"""A log as a reader finds it: without its lock, while somebody may be writing it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from resumable_sweep._command.ending import CommandError, Ending
from resumable_sweep._foreign import foreign_entries, head_of
from resumable_sweep._identity import LOG_NAME
from resumable_sweep._ledger import Ledger, State
from resumable_sweep._preserved import Preserved, PreservedInvalid, known_of, parsed_preserved, preserved_path
from resumable_sweep._saved_time import seconds_saved
from resumable_sweep._scan import scan
from resumable_sweep._statistics import Stats
from resumable_sweep.contract.canonical import identity, sha256_of_identities
from resumable_sweep.contract.items import Item
from resumable_sweep.contract.log_format import FALLBACK, REOPENED, RESUMED, LogInvalid, entry_of

STATE_NAMES = {
    State.DONE: "done",
    State.FAILED: "failed",
    State.SKIPPED: "skipped",
    State.IN_PROGRESS: "in progress",
    State.MISSING: "missing",
}
_HEADER_START = b'{"kind":"header"'
_TAIL_BYTES = 512
_HISTORY = (RESUMED, REOPENED, FALLBACK)


@dataclass(frozen=True, slots=True)
class Standing:
    """How an item stands: `name` is its key's identity, `offset` and `size` (bytes) where the entry lies that says so
    (-1: there is none), `failures` how often it has failed."""

    name: str
    state: State
    offset: int
    size: int
    failures: int

    @property
    def key(self) -> Any:
        """The item's key."""
        return json.loads(self.name)


class LogView:
    """The log at `path` as it is at this moment; leave its `with` block to close it.

    Parameters
    ----------
    items:
        The items of the sweep in order, where they are known: then they are first, and missing ones are told.

    Raises
    ------
    CommandError
        Where there is no log at `path`.
    LogInvalid
        Where it is of a newer schema.
    """

    def __init__(self, path: Path, items: Sequence[Item] = ()) -> None:
        self.path = path
        self._ledger = Ledger()
        self.given = len(items)
        for item in items:
            self._ledger.add(identity(item.key), None)
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise CommandError(
                Ending.NO_INPUT,
                f"there is no log {path}: `resumable-sweep list {path.parent}` shows those that are there",
            ) from None
        try:
            self.scan = scan(self._file, self._ledger.note)
            status = os.fstat(self._file)
            self._refuse_others()
        except LogInvalid as error:
            os.close(self._file)
            raise LogInvalid(f"{path}: {error}") from error
        except IsADirectoryError:
            os.close(self._file)
            raise CommandError(Ending.INVALID, f"{path} is a folder: name the log in it") from None
        except BaseException:
            os.close(self._file)
            raise
        self.modified = status.st_mtime
        self.size_bytes = self.scan.size

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    @property
    def header(self) -> dict[str, Any]:
        """The last header, {} where it is lost."""
        return self.scan.header

    def standings(self) -> Iterator[Standing]:
        """Yield how each item stands: those given in their order, then others in the order in which they ended."""
        ledger = self._ledger
        for place, name in enumerate(ledger.names):
            yield Standing(name, ledger.state(place), *ledger.where(place), ledger.failures(place))
        # Those without an entry that decides anything were begun and never ended: they come last.
        for name, stray in sorted(ledger.strays.items(), key=lambda one: (one[1].offset < 0, one[1].offset)):
            yield Standing(name, stray.state, stray.offset, stray.size, stray.failures)

    def of_items(self) -> Iterator[Standing]:
        """Yield how each of the items given stands; where none are given, all that the log speaks of."""
        standings = self.standings()
        return (one for one, _ in zip(standings, range(self.given), strict=False)) if self.given else standings

    def entry(self, standing: Standing) -> dict[str, Any]:
        """Return the entry that decides how an item stands, {} where there is none."""
        return {} if standing.offset < 0 else self.entry_at(standing.offset, standing.size)

    def entry_at(self, offset: int, size: int) -> dict[str, Any]:
        """Return the entry in the line at `offset` of `size` bytes.

        Raises
        ------
        CommandError
            Where it is not there any more.
        """
        try:
            found = json.loads(self.read(offset, size))
        except ValueError:
            raise CommandError(
                Ending.CORRUPT, f"{self.path} has changed under the reader at byte {offset}: try again"
            ) from None
        return found if isinstance(found, dict) else {}

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes of the log from `offset`."""
        data = os.pread(self._file, size, offset)
        while len(data) < size and (piece := os.pread(self._file, size - len(data), offset + len(data))):
            data += piece
        return data

    def preserved(self) -> Preserved:
        """Return what the results were made from, as far as log and file say; a damaged file counts as none."""
        try:
            found = parsed_preserved(preserved_path(self.path).read_bytes())
        except PreservedInvalid as error:
            raise PreservedInvalid(f"{preserved_path(self.path)} {error}") from error
        except (FileNotFoundError, ValueError):
            found = None
        return known_of(self.header, found)

    def history(self) -> list[dict[str, Any]]:
        """Return the entries that tell of resumes and of what was set aside, in order."""
        starts = tuple(f'{{"kind":"{kind}"'.encode() for kind in _HISTORY)
        found = []
        with self.path.open("rb") as file:
            left = self.scan.end
            for line in file:
                left -= len(line)
                if left < 0:
                    break
                if line.startswith(starts):
                    try:
                        found.append(entry_of(line.rstrip(b"\n"), 1))
                    except LogInvalid:
                        continue  # it is among the damaged lines
        return found

    def total(self) -> int | None:
        """Return how many items there are, None where nobody has said."""
        if self.given:
            return self.given
        said = (self.scan.completion or {}).get("total")
        return said if type(said) is int else self.preserved().items_total

    def counts(self) -> dict[State, int]:
        """Return how many items stand how; missing ones as far as their number is known."""
        found = Counter(one.state for one in self.of_items())
        total = self.total()
        if total is not None and not self.given:
            found[State.MISSING] += max(0, total - sum(found.values()))
        return {state: found[state] for state in STATE_NAMES}

    def why_not_complete(self) -> str | None:
        """Return what is wrong with the `complete` entry, None where it says what the log holds.

        Keys that are items no longer stay in a log: of one that has more settled keys than its `complete` counts,
        nobody can tell which they are, and it is believed.
        """
        said = self.scan.completion
        if said is None:
            return "it does not end in a complete entry"
        settled = self._settled()
        total = said.get("total")
        if type(total) is not int or len(settled) < total:
            return f"its complete entry counts {total} items, {len(settled)} are done or skipped"
        if len(settled) == total:
            if sha256_of_identities([one.name for one in settled]) != said.get("keys_sha256"):
                return "its complete entry speaks of other keys than are done or skipped"
            skipped = sum(1 for one in settled if one.state is State.SKIPPED)
            if said.get("skipped", 0) != skipped:
                return f"its complete entry counts {said.get('skipped', 0)} skipped items, there are {skipped}"
        return None

    @property
    def removed(self) -> int:
        """How many keys are done or skipped of which the `complete` entry says that they are items no longer."""
        total = (self.scan.completion or {}).get("total")
        return max(0, len(self._settled()) - total) if type(total) is int else 0

    def stats(self) -> Stats:
        """Return the sweep in numbers, such as a resume would find it: what is done counts as replayed."""
        counts = self.counts()
        done = [(one.offset, one.size) for one in self.of_items() if one.state is State.DONE]
        known = sum(1 for _ in self.of_items())
        total = self.total()
        return Stats(
            total=total,
            completed=counts[State.DONE],
            failed=counts[State.FAILED],
            skipped=counts[State.SKIPPED],
            in_progress=counts[State.IN_PROGRESS],
            missing=counts[State.MISSING],
            replayed=len(done),
            recorded=0,
            removed=0 if total is None else max(0, known - total),
            resumes=self.scan.resumes,
            fall_backs=self.scan.fall_backs,
            seconds=0.0,
            seconds_saved=seconds_saved(self._end_of_line(*where) for where in done),
        )

    def _end_of_line(self, offset: int, size: int) -> bytes:
        # A result may be long, and its times stand at the end.
        tail = min(size, _TAIL_BYTES)
        return self.read(offset + size - tail, tail)

    def _settled(self) -> list[Standing]:
        return [one for one in self.standings() if one.state in (State.DONE, State.SKIPPED)]

    def _refuse_others(self) -> None:
        start = self.scan.first_bytes
        is_beginning = start[: len(_HEADER_START)] == _HEADER_START[: len(start)] or not start.strip(b"\0")
        if self.scan.is_log or (self.scan.is_log is None and is_beginning):
            return
        if foreign_entries(self.path) is not None:
            raise CommandError(
                Ending.INVALID,
                f"{self.path} is a checkpoint of another package: `resumable-sweep run --resume-from {self.path}` "
                "takes its results over, `resumable-sweep verify` checks it",
            )
        raise CommandError(
            Ending.INVALID,
            f"{self.path} is not a sweep's log of results: it begins with {head_of(self.path)[:60]!r}. "
            f"`resumable-sweep list {self.path.parent}` shows the logs that are there",
        )


def log_named(name: str) -> Path:
    """Return the log that `name` names: the file itself, or the one in a run's folder."""
    path = Path(name)
    return path / LOG_NAME if (path / LOG_NAME).is_file() else path


def is_log(path: Path) -> bool:
    """Return whether the file at `path` begins as a log does."""
    try:
        return path.is_file() and head_of(path).startswith(_HEADER_START)
    except OSError:
        return False

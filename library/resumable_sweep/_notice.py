"""The notice file: somebody writes down that this machine will be taken away, why, and when."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

NO_REASON = "no reason given"
_LOOK_SECONDS = 0.1
_MOST_BYTES = 1 << 16
_REASON_CHARACTERS = 200
# Later than any deadline in seconds: a number beyond it is in milliseconds.
_LATEST_UNIX_SECONDS = 1e11


@dataclass(frozen=True)
class Notice:
    """What a notice file says: `deadline` in Unix seconds, None where there is none that can be understood.

    `problem` says what could not be understood, "" where all could. A file that is damaged is a notice all the same:
    that it is there is the message.
    """

    reason: str = NO_REASON
    deadline: float | None = None
    problem: str = ""


def parsed_notice(data: bytes) -> Notice:
    """Return what the bytes of a notice file say; an empty one is a notice without reason and deadline."""
    if not data.strip():
        return Notice()
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return Notice(problem="it is not JSON")
    if not isinstance(found, dict):
        return Notice(problem="it is not a JSON object")
    reason, deadline = found.get("reason"), found.get("deadline")
    moment = None if deadline is None else _unix_seconds(deadline)
    problem = ""
    if deadline is not None and moment is None:
        problem = f"its deadline is neither Unix seconds nor an RFC 3339 time with its offset: {deadline!r:.80}"
    return Notice(reason=_in_one_line(reason), deadline=moment, problem=problem)


def read_notice(path: Path) -> Notice | None:
    """Return the notice at `path`, None where there is no such file.

    Raises
    ------
    OSError
        Where it cannot be told whether there is one.
    """
    try:
        with path.open("rb") as file:
            return parsed_notice(file.read(_MOST_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        # Raises in its turn where not even the folder may be looked into.
        path.stat()
        return Notice(problem=f"it cannot be read: {error.strerror}")


class NoticeFile:
    """The file at `path`, and what it said when it was last looked at.

    Parameters
    ----------
    changed:
        Called with what the file says now, None where it is gone, whenever that is something else than before.
    report:
        Called with a sentence for people, once for each thing that keeps the file from being looked at.
    clock:
        Monotonic seconds.

    Raises
    ------
    ValueError
        Where `path` is a folder.
    """

    def __init__(
        self,
        path: Path,
        *,
        changed: Callable[[Notice | None], None],
        report: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if path.is_dir():
            raise ValueError(f"notice_file={str(path)!r} is a folder: name the file that will appear in it")
        self._path = path
        self._changed = changed
        self._report = report
        self._clock = clock
        self._found: Notice | None = None
        self._trouble = ""
        self._looked_at = -math.inf
        self._looking = threading.Lock()

    def look_if_time(self) -> None:
        """Look at the file, but only if a tenth of a second has passed since the last time."""
        now = self._clock()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            self.look()

    def look(self) -> None:
        """Look at the file now, unless another thread is doing so, or what a signal's handler has interrupted."""
        if not self._looking.acquire(blocking=False):
            return
        try:
            found = read_notice(self._path)
            self._trouble = ""
            if found != self._found:
                # In this order: whatever is raised in between, what is new is told at the next look.
                self._changed(found)
                self._found = found
        except OSError as error:
            # A folder that is away for a moment neither asks nor withdraws.
            if self._trouble != str(error):
                self._trouble = str(error)
                self._report(f"cannot look for the notice file: {error}")
        finally:
            self._looking.release()


def _in_one_line(reason: Any) -> str:
    """Return a reason as it may be shown on a terminal: somebody else wrote it."""
    if not isinstance(reason, str):
        return NO_REASON
    shown = "".join(character if character.isprintable() else " " for character in reason[:_REASON_CHARACTERS])
    return " ".join(shown.split()) or NO_REASON


def _unix_seconds(deadline: Any) -> float | None:
    moment = deadline
    if isinstance(deadline, str):
        try:
            parsed = datetime.fromisoformat(deadline.strip().upper())
        except ValueError:
            return None
        moment = None if parsed.tzinfo is None else parsed.timestamp()
    if isinstance(moment, bool) or not isinstance(moment, int | float):
        return None
    # Neither the zero by which other languages say that there is none, nor NaN.
    return float(moment) if 0 < moment < _LATEST_UNIX_SECONDS else None

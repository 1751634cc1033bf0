"""What processes that were killed left half written beside a log: each kill may cost as much room as a result."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

_COMPANIONS = r"(?:\.(?:manifest|sweep|stats)\.json|\.corrupt-[0-9]+|\.resume)?"
_SIDE_FILE = re.compile(r"\.[0-9a-f]{64}\.[a-z]+\.tmp\.[0-9.]+")


def remove_leavings(log_path: Path) -> None:
    """Remove the temporaries of the log at `log_path`, of what belongs to it, and of its side files.

    Only for who holds the log's lock: nobody else is writing any of these then.
    """
    # By their full names: another log's may begin like this one's.
    beside = re.compile(rf"\.{re.escape(log_path.name)}{_COMPANIONS}\.tmp\.[0-9]+(?:\..+)?")
    _remove(log_path.parent, beside)
    _remove(log_path.with_name(f"{log_path.name}.files"), _SIDE_FILE)


def _remove(folder: Path, pattern: re.Pattern[str]) -> None:
    # What cannot be removed costs room, and that is no reason to keep a sweep from going on.
    with suppress(OSError), os.scandir(folder) as entries:
        for name in [entry.name for entry in entries if pattern.fullmatch(entry.name)]:
            os.unlink(folder / name)  # noqa: PTH108 (files are changed through `os` alone, see _disk)

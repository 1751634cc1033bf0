"""What went wrong, for a person to read: `<log>.errors.txt`, appended to at every failure and read by no program."""

from __future__ import annotations

import os
import warnings
from datetime import UTC, datetime
from pathlib import Path

SUFFIX = ".errors.txt"
TRACEBACK_LIMIT_BYTES = 32 << 10
"""Of a longer traceback (in UTF-8) head and tail are written: where it came from, and what it was."""
FILE_LIMIT_BYTES = 64 << 20
"""No more than that, so that a sweep all of whose items fail does not fill the disk that its results go to."""
_FIELD_LIMIT_BYTES = 2 << 10
_RULE = "-" * 80


class ErrorLogWarning(UserWarning):
    """The error log could not be written; the results are not touched by that."""


class ErrorLog:
    """The error log beside the log at `log_path`; may be used from any thread.

    Entries are whole, each written with one call, but may be lost with the machine: what a resume needs of a failure
    is in the log itself.
    """

    def __init__(self, log_path: Path, *, max_attempts: int, host: str) -> None:
        self.path = error_log_path(log_path)
        self._max_attempts = max_attempts
        self._host = host
        self._warned = False

    def append(self, *, key: str, attempt: int, error: str, traceback: str, at: float) -> None:
        """Append one failure.

        `key` is the item's identity, `attempt` its how many-th try this was (from 1), `error` class and message,
        `traceback` the text that Python prints ("" for none), `at` Unix seconds. Where it cannot be written, one
        `ErrorLogWarning` is given for all.
        """
        data = entry_text(
            key=key,
            attempt=attempt,
            max_attempts=self._max_attempts,
            error=error,
            traceback=traceback,
            host=self._host,
            at=at,
        ).encode("utf-8", "backslashreplace")
        try:
            _append(self.path, data)
        except OSError as problem:
            if not self._warned:
                self._warned = True
                warnings.warn(
                    f"{self.path} cannot be written ({problem.strerror}); failures are in the log of results all the "
                    "same, and this is said once",
                    ErrorLogWarning,
                    stacklevel=2,
                )


def error_log_path(log_path: Path) -> Path:
    """Return where the error log of a log lies: beside it."""
    return log_path.with_name(log_path.name + SUFFIX)


def entry_text(*, key: str, attempt: int, max_attempts: int, error: str, traceback: str, host: str, at: float) -> str:
    """Return the entry of one failure; it starts with an empty line, also where the one before it was cut short."""
    time = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    lines = [
        "",
        _RULE,
        f"{time}  item {_cut(key, _FIELD_LIMIT_BYTES)}  attempt {attempt} of {max_attempts}  on {host}",
        _cut(error, _FIELD_LIMIT_BYTES),
    ]
    if traceback.strip():
        lines += ["", _cut(traceback.strip("\n"), TRACEBACK_LIMIT_BYTES)]
    return "\n".join(lines) + "\n"


def _cut(text: str, limit: int) -> str:
    """Return `text`, of more than `limit` bytes its first and last halves of that."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= limit:
        return text
    head, tail = data[: limit // 2], data[-(limit // 2) :]
    left_out = len(data) - len(head) - len(tail)
    # A character cut in two at either edge is dropped.
    return f"{head.decode(errors='ignore')}\n... {left_out} bytes left out ...\n{tail.decode(errors='ignore')}"


def _append(path: Path, data: bytes) -> None:
    # Appending as one call keeps the entries of several processes apart.
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        size = os.fstat(file).st_size
        if size >= FILE_LIMIT_BYTES:
            return
        if size + len(data) >= FILE_LIMIT_BYTES:
            data += b"\nThis file has reached its limit; further failures are in the log of results only.\n"
        while data:
            data = data[os.write(file, data) :]
    finally:
        os.close(file)

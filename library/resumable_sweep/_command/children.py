"""A command run for each item, in a process group of its own that the sweep's stop reaches."""

from __future__ import annotations

import io
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, BinaryIO

from resumable_sweep._command.ending import CommandError, Ending
from resumable_sweep.contract.canonical import canonical_json

ITEM_VARIABLE = "SWEEP_ITEM"
OUTPUT_TAIL_BYTES = 64 << 10
"""So much of an output that is no JSON is kept as the result."""
ERROR_TAIL_BYTES = 8 << 10
"""So much of standard error is kept with a failure."""
_LOOK_SECONDS = 0.1
_CHUNK_BYTES = 64 << 10
_PLACEHOLDER = re.compile(r"\{(key|item|seed)((?:\.[\w-]+)*)\}")


class CommandFailed(RuntimeError):
    """The command ended with another status than 0; the message ends with that, and what it said last."""


class Children:
    """Runs the command `words` for items, several at once.

    Parameters
    ----------
    key_of, seed_of:
        Functions from an item to its key and its seed, for the placeholders.
    stop:
        Returns the signal that asks for a stop, None while none does: the command's process group gets it at once.
    """

    def __init__(
        self,
        words: Sequence[str],
        *,
        key_of: Callable[[Any], Any],
        seed_of: Callable[[Any], int],
        stop: Callable[[], signal.Signals | None],
    ) -> None:
        self._words = words
        self._key_of = key_of
        self._seed_of = seed_of
        self._stop = stop
        self._lock = threading.Lock()
        self._groups: set[int] = set()
        self._is_killed = False

    def run(self, item: Any) -> Any:
        """Run the command for `item` and return its result: the last line that it writes, where that is JSON.

        Raises
        ------
        CommandFailed
            Where it ends with another status than 0.
        SystemExit
            Where it does so because a stop was asked for: the item is to run again.
        OSError
            Where it cannot be started.
        """
        words = filled(self._words, item, key=self._key_of(item), seed=lambda: self._seed_of(item))
        environment = {**os.environ, ITEM_VARIABLE: canonical_json(item)}
        with tempfile.TemporaryFile() as output:
            process = self._start(words, environment, output)
            try:
                errors, told = self._watch(process)
            finally:
                self._forget(process)
            if process.returncode == 0:
                return result_of(output)
            if told is not None:
                raise SystemExit(128 + told)
            raise CommandFailed(_ended_text(process.returncode, errors))

    def kill(self) -> None:
        """Kill what runs, and start nothing any more."""
        with self._lock:
            self._is_killed = True
            groups = tuple(self._groups)
        for group in groups:
            _signal_group(group, signal.SIGKILL)

    def _start(self, words: list[str], environment: dict[str, str], output: BinaryIO) -> subprocess.Popen[bytes]:
        # Within the lock, so that `kill` misses none.
        with self._lock:
            if self._is_killed:
                raise SystemExit(1)
            process = subprocess.Popen(
                words,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.PIPE,
                process_group=0,
            )
            self._groups.add(process.pid)
            return process

    def _forget(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._groups.discard(process.pid)
        if process.poll() is None:
            _signal_group(process.pid, signal.SIGKILL)
            process.wait()
        if process.stderr is not None:
            process.stderr.close()

    def _watch(self, process: subprocess.Popen[bytes]) -> tuple[bytes, signal.Signals | None]:
        """Pass on what it writes to standard error, and a stop to it; return the end of that, and what was passed."""
        assert process.stderr is not None
        file = process.stderr.fileno()
        tail, told, is_open = b"", None, True
        while True:
            has_ended = process.poll() is not None
            if is_open and select.select([file], [], [], 0 if has_ended else _LOOK_SECONDS)[0]:
                piece = os.read(file, _CHUNK_BYTES)
                is_open = bool(piece)
                tail = (tail + piece)[-ERROR_TAIL_BYTES:]
                _pass_on(piece)
            elif has_ended:
                # Whoever else holds its standard error open is not waited for.
                return tail, told
            elif not is_open:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK_SECONDS)
            if told is None and not has_ended and (told := self._stop()) is not None:
                _signal_group(process.pid, told)


def filled(words: Sequence[str], item: Any, *, key: Any, seed: Callable[[], int]) -> list[str]:
    """Return the words with what `{key}`, `{item}`, `{item.field}` and `{seed}` stand for; other braces stay.

    Text stands as it is, all else as JSON.

    Raises
    ------
    CommandError
        Where the item has no such field.
    """

    def text_of(found: re.Match[str]) -> str:
        name, path = found[1], found[2].split(".")[1:]
        if name == "seed" and not path:
            return str(seed())
        value = {"key": key, "item": item}.get(name)
        for part in path:
            if not isinstance(value, dict) or part not in value:
                fields = ", ".join(value) if isinstance(value, dict) and value else "none"
                raise CommandError(
                    Ending.USAGE,
                    f"{found[0]} stands for nothing in item {canonical_json(item):.200}: there the fields are {fields}",
                )
            value = value[part]
        return value if isinstance(value, str) else canonical_json(value)

    return [_PLACEHOLDER.sub(text_of, word) for word in words]


def result_of(output: BinaryIO) -> Any:
    """Return what a command's output says: its last line where that is JSON, else the end of it as text."""
    line = _last_line(output)
    try:
        return json.loads(line)
    except ValueError:
        size = output.seek(0, io.SEEK_END)
        output.seek(max(0, size - OUTPUT_TAIL_BYTES))
        return {"stdout": output.read().decode("utf-8", "replace"), "exit_code": 0}


def _last_line(output: BinaryIO) -> bytes:
    """Return the last line that is not empty; it may be long, the rest of the output is not read."""
    end = output.seek(0, io.SEEK_END)
    data = b""
    while end > 0:
        start = max(0, end - _CHUNK_BYTES - len(data))
        output.seek(start)
        data = output.read(end - start) + data
        end = start
        text = data.rstrip()
        if b"\n" in text:
            return text.rpartition(b"\n")[2]
    return data.strip()


def _ended_text(status: int, errors: bytes) -> str:
    if status < 0:
        try:
            how = f"killed by {signal.Signals(-status).name}"
        except ValueError:
            how = f"killed by signal {-status}"
    else:
        how = f"exit status {status}"
    *before, last = errors.decode("utf-8", "replace").strip().split("\n")
    # In one line with what it said last: lists of failures show but the last line.
    return "\n".join([*before, f"{how}: {last}" if last else how])


def _pass_on(piece: bytes) -> None:
    with suppress(OSError, ValueError):  # ours may be closed; what counts is kept
        sys.stderr.write(piece.decode("utf-8", "replace"))
        sys.stderr.flush()


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)

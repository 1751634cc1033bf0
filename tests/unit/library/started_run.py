"""Starts `run_program.py`, and reads what it says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from resumable_sweep.contract.log_format import entries_of

PROGRAM = Path(__file__).with_name("run_program.py")


class StartedRun:
    """`run_program.py` in a process group of its own, which is killed at the end of the block.

    `wait_for` is a file without which no item ends, and `import_waits_for` one without which no worker process imports
    the program; `hang` is the item that never ends.
    """

    def __init__(
        self,
        log: Path,
        items: int,
        *,
        workers: int = 1,
        mode: str | None = None,
        wait_for: Path | None = None,
        hang: int | None = None,
        import_waits_for: Path | None = None,
        **parameters: Any,
    ) -> None:
        given = {
            "items": items,
            "workers": workers,
            "mode": mode,
            "wait_for": "" if wait_for is None else str(wait_for),
            "hang": hang,
            "import_waits_for": "" if import_waits_for is None else str(import_waits_for),
            "parameters": {"checkpoint_path": str(log), **parameters},
        }
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), json.dumps(given)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self.errors = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.process.stdout.close()
        self.process.stderr.close()

    def read(self) -> str:
        """Return the next line, "" once it and all of its worker processes have ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if line:
            self.lines.append(line)
        return line

    def read_until_ran(self, count: int) -> None:
        while len(self.ran()) < count:
            assert self.read(), f"too little ran: {self.lines}, {self.end()}, {self.errors}"

    def read_errors_until(self, wanted: str) -> None:
        assert self.process.stderr is not None
        while wanted not in self.errors:
            line = self.process.stderr.readline()
            assert line, f"{wanted!r} never came: {self.errors}"
            self.errors += line

    def end(self) -> int:
        """Read what is left, wait for the end and return the exit status."""
        while self.read():
            pass
        assert self.process.stderr is not None
        self.errors += self.process.stderr.read()
        return self.process.wait(timeout=60)

    def ran(self) -> list[int]:
        """Return the keys of the items that have begun, as far as it was read."""
        return [int(line.split()[1]) for line in self.lines if line.startswith("ran ")]

    def pids(self) -> set[int]:
        """Return the processes that items ran in."""
        return {int(line.split()[2]) for line in self.lines if line.startswith("ran ")}

    def returned(self) -> Any:
        (line,) = [line for line in self.lines if line.startswith("returned ")]
        return json.loads(line.removeprefix("returned "))


def recorded(log: Path) -> dict[str, Any]:
    """Return the results in a log by their keys, having checked that none is there twice."""
    if not log.exists():
        return {}
    done = [entry for entry in entries_of(log.read_bytes()) if entry["kind"] == "done"]
    found = {json.dumps(entry["key"]): entry["result"] for entry in done}
    assert len(found) == len(done), f"{log} has an item twice"
    return found

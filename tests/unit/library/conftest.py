from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("program.py")


class Program:
    """`program.py` in a process of its own; its standard output is read line by line."""

    def __init__(self, log: Path, *, items: int, what: str, prefix: tuple[str, ...] = ()) -> None:
        self.process = subprocess.Popen(
            [*prefix, sys.executable, str(PROGRAM), str(log), str(items), what],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that what it leaves behind can be ended with it
        )
        self.lines: list[str] = []

    def read(self) -> str:
        """Return the next line, "" at the end."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if line:
            self.lines.append(line)
        return line

    def read_until(self, wanted: str) -> None:
        while (line := self.read()) != wanted:
            assert line, f"{wanted!r} never came: {self.lines}, {self.errors()}"

    def errors(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def end(self) -> int:
        """Read what is left, wait for the end and return the exit status."""
        while self.read():
            pass
        return self.process.wait(timeout=60)

    def keys(self, word: str) -> list[int]:
        return [int(line.split()[1]) for line in self.lines if line.startswith(word + " ")]


@pytest.fixture(autouse=True)
def no_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the environment of a pod (or of whoever runs the tests) would say."""
    for name in list(os.environ):
        if name.startswith("SWEEP_"):
            monkeypatch.delenv(name)


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    """A list for the programs that a test starts, ended when the test is."""
    started: list[Program] = []
    yield started
    for program in started:
        with suppress(ProcessLookupError):
            os.killpg(program.process.pid, signal.SIGKILL)
        program.process.wait()
        for pipe in (program.process.stdout, program.process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def start(programs: list[Program], tmp_path: Path) -> Callable[..., Program]:
    """Function that starts `program.py` on this test's log."""

    def start_program(items: int, what: str = "run", prefix: tuple[str, ...] = ()) -> Program:
        program = Program(tmp_path / "out" / "results.jsonl", items=items, what=what, prefix=prefix)
        programs.append(program)
        return program

    return start_program

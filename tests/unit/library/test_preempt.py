"""The last checkpoint before the machine goes, in real processes and with a clock of the test's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resumable_sweep._preempt import PreemptGuard
from resumable_sweep._state import load_state
from unit.library.striking import strike

PROGRAM = Path(__file__).with_name("long_run.py")
Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Function that starts `long_run.py` on this test's checkpoint."""
    started = []

    def start_program(what: str) -> subprocess.Popen[str]:
        program = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(tmp_path / "state"), what],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(program)
        return program

    yield start_program
    for program in started:
        program.kill()
        program.communicate()


def read_until(program: subprocess.Popen[str], wanted: str) -> list[str]:
    assert program.stdout is not None
    lines = []
    while wanted not in lines:
        line = program.stdout.readline()
        assert line, f"{wanted!r} never came: {lines}"
        lines.append(line.strip())
    return lines


def saved_step(tmp_path: Path) -> int | None:
    loaded = load_state(tmp_path / "state")
    if loaded is None:
        return None
    assert loaded.read_bytes() == f"state {loaded.extra['step']}".encode()
    return int(loaded.extra["step"])


def said_on_stderr(program: subprocess.Popen[str]) -> str:
    assert program.stderr is not None
    return program.stderr.readline()


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("what", ["check", "leave"])
def test_the_step_at_hand_ends_and_its_state_is_saved(
    start: Start, tmp_path: Path, what: str, signum: int, status: int
) -> None:
    program = start(what)
    read_until(program, "step 2")
    strike(program, signum)
    assert "finishing" in said_on_stderr(program)
    out, _ = program.communicate("\n", timeout=30)
    assert program.returncode == status
    assert out.split("\n") == ["saving", ""]
    assert saved_step(tmp_path) == 3

    out, _ = start("run").communicate(timeout=30)
    assert out.splitlines() == ["from 3", "step 3", "step 4", "step 5", "after the block"]


def test_a_second_interrupt_does_not_tear_the_save(start: Start, tmp_path: Path) -> None:
    program = start("long-save")
    read_until(program, "step 2")
    strike(program, signal.SIGINT)
    assert "finishing" in said_on_stderr(program)
    assert program.stdin is not None
    print(file=program.stdin, flush=True)
    read_until(program, "saving")
    strike(program, signal.SIGINT)
    _, errors = program.communicate("\n", timeout=30)
    assert program.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in errors
    assert saved_step(tmp_path) == 3


def test_a_step_that_outlasts_its_grace_is_abandoned_and_nothing_is_saved(start: Start, tmp_path: Path) -> None:
    program = start("grace")
    read_until(program, "step 2")
    strike(program, signal.SIGTERM)
    out, _ = program.communicate("\n", timeout=30)
    assert program.returncode == 143
    assert out == ""
    assert saved_step(tmp_path) is None


def test_an_exception_is_not_followed_by_a_save(start: Start, tmp_path: Path) -> None:
    program = start("raise")
    read_until(program, "step 2")
    strike(program, signal.SIGTERM)
    assert "finishing" in said_on_stderr(program)
    _, errors = program.communicate("\n", timeout=30)
    assert program.returncode == 1
    assert "ValueError: in the middle of a step" in errors
    assert saved_step(tmp_path) is None


def test_a_notice_asks_as_well(start: Start, tmp_path: Path) -> None:
    program = start("notice")
    read_until(program, "step 2")
    (tmp_path / "notice.json").write_text(json.dumps({"reason": "spot", "deadline": time.time() + 60}))
    assert "notice: spot: finishing" in said_on_stderr(program)
    out, _ = program.communicate("\n", timeout=30)
    assert program.returncode == 143
    assert out.splitlines() == ["saving"]
    assert saved_step(tmp_path) == 3


class Run:
    """A guard with a clock of its own, in a thread, where no signal is trapped: only the notice asks."""

    def __init__(self, folder: Path, *, took: float | None) -> None:
        self.now = 1000.0
        self.saves = 0
        self.reports: list[str] = []
        self.notice = folder / "notice.json"
        self.guard = PreemptGuard(
            self.save,
            notice_file=self.notice,
            save_seconds=lambda: took,
            clock=lambda: self.now,
            unix_time=lambda: self.now,
            report=self.reports.append,
        )

    def save(self) -> None:
        self.saves += 1

    def checked(self, *, seconds_left: float | None) -> object:
        """Return the exit status of a check so many seconds before the notice's deadline, None where it goes on."""
        deadline = {} if seconds_left is None else {"deadline": self.now + seconds_left}
        self.notice.write_text(json.dumps({"reason": "spot", **deadline}))
        result: list[object] = []

        def work() -> None:
            try:
                with self.guard:
                    self.guard.check()
            except SystemExit as error:
                result.append(error.code)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return result[0] if result else None


@pytest.mark.parametrize(
    ("took", "seconds_left", "saves"),
    [
        (None, None, 1),
        (1000.0, None, 1),  # nothing is known of a deadline
        (None, 3.0, 1),  # nothing is known of a save
        (10.0, 17.5, 1),
        (10.0, 16.5, 0),  # 2 s before the deadline all has to be done; 14.5 s are less than 1.5 times 10 s
        (None, 1.5, 0),
    ],
)
def test_a_save_that_would_not_end_in_time_is_not_begun(
    tmp_path: Path, took: float | None, seconds_left: float | None, saves: int
) -> None:
    run = Run(tmp_path, took=took)
    assert run.checked(seconds_left=seconds_left) == 143
    assert run.saves == saves
    said = [text for text in run.reports if text.startswith("no last checkpoint")]
    assert len(said) == 1 - saves
    assert all("The one before stands" in text for text in said)


def test_nothing_is_saved_where_nobody_asks(tmp_path: Path) -> None:
    saves: list[int] = []
    with PreemptGuard(lambda: saves.append(1), notice_file=tmp_path / "notice.json") as guard:
        guard.check()
        assert not guard.stopping
        assert (guard.reason, guard.deadline) == (None, None)
    assert saves == []


def test_a_save_that_fails_is_told(tmp_path: Path) -> None:
    def fail() -> None:
        raise OSError("the disk is full")

    (tmp_path / "notice.json").write_text('{"reason": "spot"}')
    with pytest.raises(OSError, match="full"):
        with PreemptGuard(fail, notice_file=tmp_path / "notice.json", report=lambda _: None) as guard:
            guard.check()


def test_the_environment_names_the_notice_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notice.json").write_text('{"reason": "spot"}')
    monkeypatch.setenv("SWEEP_NOTICE_FILE", os.fspath(tmp_path / "notice.json"))
    saves: list[int] = []
    with pytest.raises(SystemExit) as left:
        with PreemptGuard(lambda: saves.append(1), report=lambda _: None) as guard:
            assert guard.reason == "notice: spot"
    assert left.value.code == 143
    assert saves == [1]

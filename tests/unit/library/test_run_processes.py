"""`run` with worker processes: what is sent between them, and what becomes of an item whose process dies.

The functions are the standard library's, which every process can import.
"""

from __future__ import annotations

import math
import operator
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep import FailedItem, ItemsFailed, ResumableSweep, WorkerDied, WorkersCannotStart, run
from resumable_sweep._worker_process import WorkerProcess, pickled_function
from unit.library.started_run import StartedRun, recorded


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def failures(fn: Any, items: Any, path: Path, **parameters: Any) -> list[FailedItem]:
    with pytest.raises(ItemsFailed) as caught:
        run(fn, items, checkpoint_path=path, mode="processes", **parameters)
    return caught.value.items


def test_results_are_those_of_one_process(path: Path) -> None:
    items = [4, 2, 9, 1]
    assert run(math.sqrt, items, checkpoint_path=path, mode="processes", workers=2) == [math.sqrt(x) for x in items]
    assert recorded(path) == {f'"{item}"': math.sqrt(item) for item in items}


def test_one_process_works_on_one_item_after_the_other_with_the_state_it_has(path: Path) -> None:
    parents = run(eval, ["__import__('os').getppid()", " __import__('os').getppid()"], checkpoint_path=path,
                  mode="processes")  # fmt: skip
    assert parents == [os.getpid()] * 2
    log = path.with_name("pids.jsonl")
    pids = run(eval, ["__import__('os').getpid()", " __import__('os').getpid()"], checkpoint_path=log, mode="processes")
    assert len(set(pids)) == 1
    assert pids[0] != os.getpid()


def test_an_error_comes_back_as_what_it_was_with_where_it_was_raised(path: Path) -> None:
    (failed,) = failures(math.sqrt, [4, -1], path)
    assert failed.item == -1
    assert failed.error == "ValueError: math domain error"
    assert "_answer" in failed.traceback
    with pytest.raises(ValueError, match="math domain error"):
        run(math.sqrt, [4, -1], checkpoint_path=path, mode="processes", on_error="raise")


def test_each_process_that_dies_costs_one_item_which_says_how(path: Path) -> None:
    found = failures(os._exit, [7, 0], path)
    assert [one.error.partition(": ")[2] for one in found] == [
        "the worker process ended with status 7",
        "the worker process ended with status 0",
    ]
    (killed,) = failures(signal.raise_signal, [int(signal.SIGKILL), 0], path.with_name("b"))
    assert killed.error.endswith("WorkerDied: the worker process was killed by SIGKILL (perhaps for want of memory)")
    (faulty,) = failures(signal.raise_signal, [int(signal.SIGSEGV), 0], path.with_name("c"))
    assert faulty.error.endswith("the worker process was killed by SIGSEGV")


def test_a_process_that_dies_between_two_items_costs_none() -> None:
    worker = WorkerProcess(pickled_function(eval), name="worker")
    try:
        pid = worker("__import__('os').getpid()")
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert worker("__import__('os').getpid()") != pid
    finally:
        worker.kill()
        worker.join()


def test_a_process_that_is_ended_in_the_middle_of_an_item_is_not_replaced() -> None:
    worker = WorkerProcess(pickled_function(time.sleep), name="worker")
    found: list[BaseException] = []

    def call() -> None:
        try:
            worker(600)
        except WorkerDied as error:
            found.append(error)

    worker(0)
    thread = threading.Thread(target=call)
    thread.start()
    worker.kill()
    thread.join()
    assert len(found) == 1
    with pytest.raises(WorkerDied, match="the sweep has ended"):
        worker(0)
    worker.join()


def test_stop_signals_do_nothing_in_a_worker_but_in_the_programs_it_starts(path: Path) -> None:
    program = "import signal; raise SystemExit(signal.getsignal(signal.SIGTERM) != signal.SIG_DFL)"
    assert run(
        eval,
        [
            "[__import__('os').kill(__import__('os').getpid(), n) for n in (2, 15)]",
            f"__import__('subprocess').call([{sys.executable!r}, '-c', {program!r}])",
        ],
        checkpoint_path=path,
        mode="processes",
    ) == [[None, None], 0]


def test_an_interrupt_from_the_terminal_ends_no_worker_that_is_starting(path: Path, tmp_path: Path) -> None:
    go = tmp_path / "go"
    with StartedRun(path, 3, workers=1, mode="processes", import_waits_for=go) as program:
        assert program.read().startswith("imported")
        os.killpg(program.process.pid, signal.SIGINT)
        program.read_errors_until("finishing the item at hand")
        go.touch()
        assert program.end() == 130
        assert "Traceback" not in program.errors
        assert program.ran() == [0]
        assert set(recorded(path)) == {"0"}


def test_items_and_results_that_cannot_be_sent_are_failures_of_the_items(path: Path) -> None:
    items: list[Any] = [{"key": "good"}, {"key": "bad", "lock": threading.Lock()}]
    (failed,) = failures(len, items, path, key=operator.itemgetter("key"))
    assert failed.key == "bad"
    assert "the item cannot be sent to a worker process" in failed.error
    (failed,) = failures(eval, ["1", "lambda: 0"], path.with_name("b"))
    assert "ResultInvalid: the result cannot be sent from the worker process" in failed.error


def test_an_error_that_cannot_be_sent_is_told_in_words(path: Path) -> None:
    raising = "(_ for _ in ()).throw(type('Odd', (Exception,), {})('very odd'))"
    (failed,) = failures(eval, [raising], path)
    assert "Odd: very odd" in failed.error


def test_a_function_that_exits_ends_the_program(path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        run(sys.exit, [3], checkpoint_path=path, mode="processes")
    assert caught.value.code == 3


UNGUARDED = """
from math import sqrt
from resumable_sweep import run
run(sqrt, [4], checkpoint_path="results.jsonl", mode="processes")
"""
NOT_THERE = """
import sys
from resumable_sweep import run
def fn(item):
    return item
if __name__ == "__main__":
    run(fn, [4], checkpoint_path="results.jsonl", mode="processes")
"""


@pytest.mark.parametrize(
    ("program", "as_file", "message"),
    [
        (UNGUARDED, True, 'have the program call run(...) under `if __name__ == "__main__":`'),
        (NOT_THERE, False, "the function cannot be loaded in a worker process (AttributeError("),
    ],
)
def test_a_program_that_workers_cannot_import_is_told_so_and_no_item_is_blamed(
    tmp_path: Path, program: str, as_file: bool, message: str
) -> None:
    script = tmp_path / "program.py"
    script.write_text(program)
    how = [str(script)] if as_file else ["-c", program]
    ended = subprocess.run([sys.executable, *how], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 1
    assert message in ended.stderr
    assert ended.stderr.rstrip().splitlines()[-1].startswith(f"{WorkersCannotStart.__module__}.WorkersCannotStart: ")
    with ResumableSweep([4], checkpoint_path=tmp_path / "results.jsonl", script=False, allow_drift=True) as sweep:
        assert sweep.find_failed() == []
        assert list(sweep.pending) == [4]

"""Signals, in real processes."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep import _stopping
from resumable_sweep._stopping import StopSignals
from resumable_sweep.contract.log_format import entries_of, results_of
from unit.library.striking import strike

Start = Callable[..., Any]
"""The fixture that starts `program.py` (conftest.py)."""


def recorded(log: Path) -> set[str]:
    return set(results_of(entries_of(log.read_bytes())))


def quiet(text: str) -> None:
    pass


def signal_self(signum: int) -> None:
    os.kill(os.getpid(), signum)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "out" / "results.jsonl"


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_item_at_hand_is_finished_and_nothing_after_the_loop_runs(
    start: Start, log: Path, signum: int, status: int
) -> None:
    program = start(5, "wait")
    program.read_until("ran 1")
    strike(program.process, signum)
    assert program.end() == status
    assert program.keys("recorded") == [0, 1]
    assert not [line for line in program.lines if line.startswith("after")]
    assert "finishing the item at hand" in program.errors()
    assert recorded(log) == {"0", "1"}
    assert b'"complete"' not in log.read_bytes()

    again = start(5)
    assert again.end() == 0
    assert again.keys("replayed") == [2]
    assert again.keys("ran") == [2, 3, 4]


def test_leaving_the_loop_by_break_ends_the_block_with_the_same_status(start: Start, log: Path) -> None:
    program = start(5, "break")
    program.read_until("recorded 1")
    strike(program.process, signal.SIGTERM)
    assert program.end() == 143
    assert program.lines[-1] == "after the loop"
    assert recorded(log) == {"0", "1"}


def test_a_stop_after_the_last_item_still_writes_the_complete_record(start: Start, log: Path) -> None:
    program = start(3, "last")
    program.read_until("the last one")
    strike(program.process, signal.SIGTERM)
    assert program.end() == 143
    assert list(entries_of(log.read_bytes()))[-1]["kind"] == "complete"
    assert "after the block" not in program.lines


def test_a_second_interrupt_ends_at_once(start: Start, log: Path) -> None:
    program = start(5, "hang")
    program.read_until("ran 1")
    strike(program.process, signal.SIGINT)
    assert program.process.stderr.readline().startswith("resumable_sweep: SIGINT: finishing")
    strike(program.process, signal.SIGINT)
    assert program.end() == -signal.SIGINT
    assert recorded(log) == {"0"}


def test_a_second_sigterm_changes_nothing(start: Start) -> None:
    program = start(5, "hang")
    program.read_until("ran 1")
    strike(program.process, signal.SIGTERM)
    assert program.process.stderr.readline().startswith("resumable_sweep: SIGTERM: finishing")
    strike(program.process, signal.SIGTERM)
    strike(program.process, signal.SIGINT)  # an interrupt at last does end it
    assert program.end() == -signal.SIGINT


def test_a_forked_worker_can_still_be_terminated(start: Start) -> None:
    program = start(2, "pool")
    assert program.end() == 0
    assert "signals in a worker: 0 default_int_handler" in program.lines  # 0 is SIG_DFL
    assert "the pool has ended" in program.lines


def test_a_signal_that_beats_a_forked_child_to_its_handlers_ends_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with StopSignals() as stop:
        monkeypatch.setattr(stop, "_owner", os.getpid() + 1)
        sent: list[tuple[int, int]] = []
        monkeypatch.setattr(os, "kill", lambda *given: sent.append(given))
        signal.raise_signal(signal.SIGTERM)
        assert sent == [(os.getpid(), signal.SIGTERM)]
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        assert stop.signum is None


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare")
def test_it_stops_as_the_first_process_of_a_container(start: Start, log: Path) -> None:
    program = start(5, "wait", prefix=("unshare", "--pid", "--fork", "--kill-child"))
    program.read_until("ran 1")
    parent = program.process.pid
    (child,) = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    assert Path(f"/proc/{child}/status").read_text().split("NSpid:")[1].split("\n")[0].split()[-1] == "1"
    os.kill(int(child), signal.SIGTERM)
    assert program.end() == 143
    assert recorded(log) == {"0", "1"}


def test_the_handlers_before_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with StopSignals() as stop:
        assert signal.getsignal(signal.SIGTERM) not in before
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.exit_status == 143
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_an_ignored_interrupt_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopSignals() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.exit_status is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_off_the_main_thread_nothing_is_trapped() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work() -> None:
        with StopSignals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_second_interrupt_too_waits_for_what_is_shielded() -> None:
    done = []

    def write() -> None:
        with StopSignals(report=quiet) as stop, stop.shielded():
            signal_self(signal.SIGINT)
            signal_self(signal.SIGINT)
            done.append("written")

    with pytest.raises(KeyboardInterrupt):
        write()
    assert done == ["written"]
    assert not _stopping._shield.holds_off


def test_sweeps_in_one_another_stop_together() -> None:
    said: list[str] = []
    with StopSignals(report=said.append) as outer:
        with StopSignals(report=said.append) as inner:
            signal_self(signal.SIGINT)
            assert (outer.exit_status, inner.exit_status) == (130, 130)
        with StopSignals(report=said.append) as later:
            assert later.stopping
            with pytest.raises(KeyboardInterrupt):
                signal_self(signal.SIGINT)
    assert len(said) == 1
    with StopSignals() as other:
        assert not other.stopping


def test_they_may_be_left_in_any_order() -> None:
    before = [signal.getsignal(number) for number in _stopping.STOP_SIGNALS]
    stops = [StopSignals(report=quiet) for _ in range(3)]
    for stop in stops:
        stop.__enter__()
    for stop in (stops[1], stops[0]):
        stop.__exit__(None, None, None)
    signal_self(signal.SIGTERM)
    assert [stop.stopping for stop in stops] == [False, False, True]
    stops[2].__exit__(None, None, None)
    assert [signal.getsignal(number) for number in _stopping.STOP_SIGNALS] == before

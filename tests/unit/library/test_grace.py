"""How long the item at hand may go on after a stop was asked for, with real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import pytest

from resumable_sweep import _stopping
from resumable_sweep._stopping import StopSignals

Signalled = Callable[..., tuple[int, list[str], str]]
"""The fixture that runs a program and signals it."""

IMPORTS = """
import asyncio, os, signal, subprocess, threading, time
from pathlib import Path
from resumable_sweep._stopping import StopSignals
"""


def quiet(text: str) -> None:
    pass


def signal_self(signum: int) -> None:
    os.kill(os.getpid(), signum)


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


@contextmanager
def leaving_with(status: int) -> Iterator[None]:
    with pytest.raises(SystemExit) as leaving:
        yield
    assert leaving.value.code == status


@pytest.fixture
def signalled() -> Iterator[Signalled]:
    """Function that runs a program, signals it when it says `ready`, and returns status, further lines and errors."""
    started = []

    def run(text: str, *signals: int) -> tuple[int, list[str], str]:
        program = subprocess.Popen(
            [sys.executable, "-c", IMPORTS + dedent(text)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(program)
        assert program.stdout is not None
        assert program.stderr is not None
        first = program.stdout.readline()
        assert first == "ready\n", program.stderr.read()
        said = ""
        for signum in signals:
            program.send_signal(signum)
            said += program.stderr.readline()
        # Not communicate: it would miss what these two have buffered.
        lines, errors = program.stdout.read().splitlines(), said + program.stderr.read()
        return program.wait(timeout=30), lines, errors

    yield run
    for program in started:
        program.kill()
        program.communicate()


BLOCKING = {
    "sleep": "time.sleep(60)",
    "read": "os.read(os.pipe()[0], 1)",
    "lock": "threading.Semaphore(0).acquire()",
    "child": "subprocess.run(['sleep', '60'])",
    "loop": "[time.monotonic() for _ in iter(int, 1)]",
}
ITEM = """
with StopSignals(grace=0.3) as stop:
    print("ready", flush=True)
    try:
        BLOCKING
    except Exception:
        print("an item that failed")
    finally:
        print("late" if time.monotonic() >= stop.deadline else "early")
print("never")
"""


@pytest.mark.parametrize("what", BLOCKING)
def test_what_goes_on_longer_than_the_grace_is_abandoned(signalled: Signalled, what: str) -> None:
    status, lines, errors = signalled(ITEM.replace("BLOCKING", BLOCKING[what]), signal.SIGTERM)
    assert status == 143
    assert lines == ["late"]
    assert errors.splitlines() == [
        "resumable_sweep: SIGTERM: finishing the item at hand within 0.3 s, then leaving with status 143",
        "resumable_sweep: SIGTERM: no time is left: abandoning the item at hand, leaving with status 143",
    ]


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_without_grace_the_item_is_abandoned_at_once(signum: int, status: int) -> None:
    said: list[str] = []
    with leaving_with(status):
        with StopSignals(grace=0, report=said.append) as stop:
            signal_self(signum)
            pytest.fail("it went on")
    assert stop.exit_status == status
    assert len(said) == 1
    assert said[0].startswith(f"{signal.Signals(signum).name}: no time is left")


def test_what_is_shielded_is_done_first(signalled: Signalled) -> None:
    status, lines, _ = signalled(
        """
        with StopSignals(grace=0.1) as stop:
            with stop.shielded():
                with stop.shielded():
                    print("ready", flush=True)
                    while not stop.stopping or time.monotonic() < stop.deadline:
                        time.sleep(0.01)
                print("written")
            print("never")
        """,
        signal.SIGTERM,
    )
    assert status == 143
    assert lines == ["written"]


def test_nothing_is_raised_once_what_goes_on_longer_has_ended() -> None:
    with StopSignals(grace=0.05, report=quiet) as stop:
        with stop.shielded():
            signal_self(signal.SIGTERM)
    # In the handlers before, SIGTERM would end this process.
    assert stop.deadline is not None
    eventually(lambda: time.monotonic() > stop.deadline + 0.1)
    assert stop.exit_status == 143


def test_it_is_told_again_until_it_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    really = signal.pthread_kill

    def send(thread: int, signum: int) -> None:
        sent.append(signum)
        if len(sent) == 3:
            really(thread, signum)

    monkeypatch.setattr(signal, "pthread_kill", send)
    with leaving_with(143):
        with StopSignals(grace=0.01, report=quiet):
            signal_self(signal.SIGTERM)
            threading.Event().wait(20)
    assert sent == [signal.SIGTERM] * 3


def test_a_program_that_handles_sigterm_itself_is_told_by_the_other_signal() -> None:
    handled: list[int] = []
    with leaving_with(130):
        with StopSignals(grace=0.05, report=quiet):
            signal.signal(signal.SIGTERM, lambda signum, frame: handled.append(signum))
            signal_self(signal.SIGINT)
            threading.Event().wait(20)
    assert handled == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_once_it_is_leaving_it_is_not_cut_off_again() -> None:
    with leaving_with(143):
        with StopSignals(grace=0.05, report=quiet) as outer, StopSignals(grace=0, report=quiet):
            try:
                signal_self(signal.SIGTERM)
            finally:
                assert outer.deadline is not None
                eventually(lambda: time.monotonic() > outer.deadline + 0.1)
                signal_self(signal.SIGTERM)
                cleaned_up = True
    assert cleaned_up


def test_worker_threads_are_asked_and_the_main_one_is_torn_from_waiting_for_them(signalled: Signalled) -> None:
    status, lines, _ = signalled(
        """
        def work():
            with StopSignals(grace=0) as inner:
                print("ready", flush=True)
                while not inner.stopping:
                    time.sleep(0.01)
                print(inner.reason)
                threading.Event().wait(60)

        thread = threading.Thread(target=work, daemon=True)
        with StopSignals(grace=0.3):
            thread.start()
            thread.join()
        """,
        signal.SIGTERM,
    )
    assert status == 143
    assert lines == ["SIGTERM"]


ASYNCIO = """
import asyncio

async def item(last):
    try:
        if last:
            print("ready", flush=True)
            ITEM
        await asyncio.sleep(60)
    finally:
        print("let go")

async def main():
    with StopSignals(grace=GRACE):
        await asyncio.gather(item(False), item(True))

try:
    asyncio.run(main())
finally:
    print(signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
"""


@pytest.mark.parametrize("item", ["await asyncio.sleep(60)", "time.sleep(60)"])
def test_in_an_event_loop_the_tasks_are_let_go(signalled: Signalled, item: str) -> None:
    status, lines, _ = signalled(ASYNCIO.replace("GRACE", "0.1").replace("ITEM", item), signal.SIGTERM)
    assert (status, lines) == (143, ["let go", "let go", "True"])


def test_an_event_loop_ends_at_a_second_interrupt(signalled: Signalled) -> None:
    status, lines, errors = signalled(
        ASYNCIO.replace("GRACE", "None").replace("ITEM", "pass"), signal.SIGINT, signal.SIGINT
    )
    assert (status, lines) == (-signal.SIGINT, ["let go", "let go", "True"])
    assert errors.splitlines()[-1] == "KeyboardInterrupt"


def test_an_inner_grace_counts_from_the_notice_of_the_outer_one(tmp_path: Path) -> None:
    notice = tmp_path / "notice.json"
    with leaving_with(143):
        with StopSignals(notice_file=notice, report=quiet) as outer, StopSignals(grace=0.05, report=quiet):
            notice.touch()
            threading.Event().wait(20)
    assert outer.exit_status == 143


def test_a_sweep_that_begins_when_its_time_is_over_does_not_begin() -> None:
    with StopSignals(report=quiet) as outer:
        mine = signal.getsignal(signal.SIGTERM)
        signal_self(signal.SIGTERM)
        with leaving_with(143):
            with StopSignals(grace=0, report=quiet):
                threading.Event().wait(20)
        assert signal.getsignal(signal.SIGTERM) == mine
        assert outer.stopping


def test_a_signal_while_it_is_entered_leaves_no_handlers_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [signal.getsignal(number) for number in _stopping.STOP_SIGNALS]
    stop = StopSignals(grace=0, report=quiet)
    really = stop._trap

    def trap() -> None:
        really()
        signal_self(signal.SIGTERM)

    monkeypatch.setattr(stop, "_trap", trap)
    with leaving_with(143), stop:
        pytest.fail("it went on")
    assert [signal.getsignal(number) for number in _stopping.STOP_SIGNALS] == before
    assert _stopping._entered == _stopping._trapping == []


def test_threads_run_only_where_they_are_needed_and_end(signalled: Signalled, tmp_path: Path) -> None:
    status, _, errors = signalled(
        """
        def wait_for_threads(count):
            deadline = time.monotonic() + 20
            while len(os.listdir("/proc/self/task")) != count:
                assert time.monotonic() < deadline

        with StopSignals():
            signal.raise_signal(signal.SIGTERM)
            wait_for_threads(1)
        with StopSignals(grace=60):
            wait_for_threads(1)
            signal.raise_signal(signal.SIGTERM)
            wait_for_threads(2)
        wait_for_threads(1)
        with StopSignals(notice_file=Path("FOLDER/notice.json")):
            wait_for_threads(2)
        wait_for_threads(1)
        print("ready", flush=True)
        """.replace("FOLDER", str(tmp_path))
    )
    assert status == 0, errors


def test_a_forked_child_has_nothing_of_the_grace(signalled: Signalled) -> None:
    status, lines, errors = signalled(
        """
        with StopSignals(grace=0.05) as stop:
            with stop.shielded():
                signal.raise_signal(signal.SIGTERM)
                while time.monotonic() < stop.deadline:
                    time.sleep(0.01)
                child = os.fork()
                if child:
                    print("ready", flush=True)
                    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            stop.__exit__(None, None, None)
            os.kill(os.getpid(), signal.SIGTERM)
        """
    )
    assert (status, lines) == (143, [str(-signal.SIGTERM)])
    assert errors.count("no time is left") == 1


@pytest.mark.parametrize("grace", [-1, float("nan"), float("inf")])
def test_a_grace_is_seconds(grace: float) -> None:
    with pytest.raises(ValueError, match=rf"grace={grace} must be seconds, 0 or more: leave it out for no limit"):
        StopSignals(grace=grace)


def test_one_who_waits_off_the_main_thread_can_ask_whether_the_time_is_over(tmp_path: Path) -> None:
    said: list[str] = []
    left: list[object] = []
    now = 0.0

    def wait() -> None:
        nonlocal now
        with StopSignals(grace=5, notice_file=tmp_path / "notice", clock=lambda: now, report=said.append) as stop:
            stop.leave_if_overdue()
            now = 1.0
            (tmp_path / "notice").touch()
            eventually(lambda: stop.stopping)
            now = 5.9
            stop.leave_if_overdue()
            with pytest.raises(SystemExit):
                stop.leave_if_asked()
            now = 6.1
            with leaving_with(143):
                stop.leave_if_overdue()
            left.append(True)

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join()
    assert left
    assert [text for text in said if "no time is left" in text] == [said[-1]]

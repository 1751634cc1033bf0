"""`run` under a notice file, on and off the main thread, where no handler raises anything."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep import ResumableSweep, run
from resumable_sweep._stopping import StopSignals
from resumable_sweep._threads import RecordingGate
from unit.library.started_run import recorded


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


@pytest.fixture
def notice(tmp_path: Path) -> Path:
    return tmp_path / "notice"


@pytest.fixture
def wait_until_told(capfd: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Function that waits until standard error has a text."""
    seen = ""

    def wait(wanted: str) -> None:
        nonlocal seen
        deadline = time.monotonic() + 30
        while wanted not in seen:
            assert time.monotonic() < deadline, seen
            time.sleep(0.01)
            seen += capfd.readouterr().err

    return wait


@pytest.mark.parametrize("mode", ["threads", "tasks"])
def test_off_the_main_thread_the_grace_ends_too_and_what_comes_late_is_not_recorded(
    path: Path, notice: Path, mode: str, capfd: pytest.CaptureFixture[str]
) -> None:
    late = threading.Event()
    statuses: list[Any] = []
    workers: list[threading.Thread] = []

    def fn(item: int) -> int:
        workers.append(threading.current_thread())
        if item == 1:
            notice.touch()
            late.wait(60)
        return item

    async def as_task(item: int) -> int:
        if item == 1:
            await asyncio.to_thread(notice.touch)
            await asyncio.Event().wait()
        return item

    def sweep() -> None:
        try:
            run(
                fn if mode == "threads" else as_task,
                range(40),
                workers=2,
                checkpoint_path=path,
                grace=0.2,
                notice_file=notice,
            )
        except SystemExit as error:
            statuses.append(error.code)

    thread = threading.Thread(target=sweep)
    thread.start()
    thread.join(30)
    assert statuses == [143]
    assert capfd.readouterr().err.count("no time is left") == 1
    before = path.read_bytes()
    late.set()
    for worker in workers:
        worker.join()
    assert path.read_bytes() == before
    assert '"0"' in recorded(path)
    assert '"1"' not in recorded(path)


def test_a_notice_that_is_withdrawn_while_items_are_at_hand_leaves_none_out(
    path: Path, notice: Path, wait_until_told: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    is_heeded = threading.Event()
    stopping = ResumableSweep.stopping.fget
    assert stopping is not None

    def noting(sweep: ResumableSweep) -> bool:
        found = stopping(sweep)
        if found:
            is_heeded.set()
        return found

    def fn(item: int) -> int:
        if item == 0:
            notice.touch()
            wait_until_told("finishing the item at hand")
        if item == 1:
            assert is_heeded.wait(30)
            notice.unlink()
            wait_until_told("the notice is withdrawn")
        return item

    monkeypatch.setattr(ResumableSweep, "stopping", property(noting))
    items = list(range(10))
    assert run(fn, items, workers=2, checkpoint_path=path, notice_file=notice) == items
    assert b'"complete"' in path.read_bytes()


def test_a_stop_that_comes_just_as_the_next_item_is_asked_for_leaves_those_at_hand_their_time(
    path: Path, notice: Path, wait_until_told: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    is_leaving = threading.Event()
    leave_if_asked = StopSignals.leave_if_asked

    def noting(stop: StopSignals) -> None:
        try:
            leave_if_asked(stop)
        except SystemExit:
            is_leaving.set()
            raise

    def fn(item: int) -> int:
        if item == 0:
            notice.touch()
            wait_until_told("finishing the item at hand")
        else:
            assert is_leaving.wait(30)
        return item

    monkeypatch.setattr(StopSignals, "leave_if_asked", noting)
    monkeypatch.setattr(ResumableSweep, "stopping", False)  # so it looked a moment before
    with pytest.raises(SystemExit) as caught:
        run(fn, range(10), workers=2, checkpoint_path=path, notice_file=notice)
    assert caught.value.code == 143
    assert set(recorded(path)) == {'"0"', '"1"'}


def test_a_gate_that_is_shut_waits_for_those_inside_and_lets_nobody_in() -> None:
    gate, inside, may_leave, passed = RecordingGate(), threading.Event(), threading.Event(), []

    def record() -> None:
        inside.set()
        may_leave.wait(30)
        passed.append("inside")

    def shut() -> None:
        gate.shut()
        passed.append("shut")

    recording = threading.Thread(target=gate.pass_through, args=(record,))
    shutting = threading.Thread(target=shut)
    recording.start()
    inside.wait(30)
    shutting.start()
    shutting.join(0.05)
    may_leave.set()
    shutting.join()
    recording.join()
    gate.pass_through(lambda: passed.append("late"))
    assert passed == ["inside", "shut"]

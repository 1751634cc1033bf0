"""Groups of records on their way to the disk: by number, by time, and what becomes of them when the disk refuses."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from resumable_sweep import ResumableSweep
from resumable_sweep._group_commit import GroupCommit
from resumable_sweep.contract.log_format import entries_of


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Disk:
    """Counts what is recorded and what of that a commit has brought to disk."""

    def __init__(self) -> None:
        self.recorded = 0
        self.committed = 0
        self.error: OSError | None = None
        self.calls = 0
        self.called = threading.Condition()
        self.before: Callable[[], None] = lambda: None

    def commit(self) -> None:
        seen = self.recorded
        self.before()
        with self.called:
            self.calls += 1
            self.called.notify_all()
            if self.error is not None:
                raise self.error
            self.committed = max(self.committed, seen)

    def wait_for_call(self, number: int) -> None:
        with self.called:
            assert self.called.wait_for(lambda: self.calls >= number, timeout=30)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def grouped(disk: Disk) -> Iterator[Callable[..., GroupCommit]]:
    made: list[GroupCommit] = []

    def make(*, every: int | None = None, seconds: float | None = None, **parameters: Clock) -> GroupCommit:
        made.append(GroupCommit(disk.commit, every=every, seconds=seconds, **parameters))
        return made[-1]

    yield make
    for group in made:
        group.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "group commit"]


def until_it_raises(call: Callable[[], None]) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        call()


def record(group: GroupCommit, disk: Disk) -> None:
    disk.recorded += 1
    group.recorded()


def test_a_full_group_goes_to_disk_before_its_last_record_returns(
    grouped: Callable[..., GroupCommit], disk: Disk
) -> None:
    group = grouped(every=3)
    for number in range(1, 11):
        record(group, disk)
        assert disk.committed == number // 3 * 3
    assert disk.calls == 3


def test_no_more_than_a_group_is_ever_at_risk_however_many_threads_record(
    grouped: Callable[..., GroupCommit], disk: Disk
) -> None:
    group, threads, each = grouped(every=4), 6, 50
    at_risk: list[int] = []
    books = threading.Lock()

    def work() -> None:
        for _ in range(each):
            with books:
                disk.recorded += 1
            group.recorded()
            at_risk.append(disk.recorded - disk.committed)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    # Each thread may have one more on its way.
    assert max(at_risk) < 4 + threads


def test_two_flushes_at_once_do_not_count_a_record_twice(grouped: Callable[..., GroupCommit], disk: Disk) -> None:
    group = grouped(every=5)
    for _ in range(4):
        record(group, disk)
    inside, go_on = threading.Event(), threading.Event()

    def pause() -> None:
        inside.set()
        assert go_on.wait(30)

    disk.before = pause
    flushers = [threading.Thread(target=group.flush) for _ in range(2)]
    for flusher in flushers:
        flusher.start()
    assert inside.wait(30)
    go_on.set()
    for flusher in flushers:
        flusher.join(30)
    disk.before = lambda: None
    calls = disk.calls
    for _ in range(5):
        record(group, disk)
    assert (disk.calls, disk.committed) == (calls + 1, 9)


def test_a_record_waits_no_longer_than_the_time(grouped: Callable[..., GroupCommit], disk: Disk) -> None:
    clock = Clock()
    group = grouped(seconds=0.05, clock=clock)
    record(group, disk)
    record(group, disk)
    assert disk.calls == 0  # by this clock no time has passed
    clock.now = 0.06
    disk.wait_for_call(1)
    assert disk.committed == 2
    clock.now = 50.0
    record(group, disk)
    clock.now = 50.06
    disk.wait_for_call(2)
    assert disk.committed == 3


def test_what_was_recorded_during_a_commit_does_not_wait_longer_for_it(
    grouped: Callable[..., GroupCommit], disk: Disk
) -> None:
    clock = Clock()
    group = grouped(seconds=0.05, clock=clock)

    def meanwhile() -> None:
        disk.before = lambda: None
        record(group, disk)
        clock.now = 0.04

    disk.before = meanwhile
    for _ in range(2):
        record(group, disk)
    group.flush()
    clock.now = 0.06  # more than the time since it was recorded, less since the commit ended
    disk.wait_for_call(2)
    assert disk.committed == 3


def test_an_error_in_the_thread_is_raised_by_the_next_record_and_the_group_tried_again(
    grouped: Callable[..., GroupCommit], disk: Disk
) -> None:
    clock = Clock()
    group = grouped(seconds=0.05, clock=clock)
    disk.error = OSError(errno.EIO, "broken")
    record(group, disk)
    clock.now = 1.0
    disk.wait_for_call(1)
    disk.recorded += 1
    with pytest.raises(OSError, match="broken"):
        until_it_raises(group.recorded)  # the thread notes it a moment after its call
    disk.error = None
    clock.now = 2.0
    disk.wait_for_call(2)
    group.flush()
    assert disk.committed == 2
    record(group, disk)
    clock.now = 3.0
    disk.wait_for_call(4)
    assert disk.committed == 3


def test_an_error_leaves_the_group_as_full_as_it_was(grouped: Callable[..., GroupCommit], disk: Disk) -> None:
    group = grouped(every=3)
    disk.error = OSError(errno.ENOSPC, "full")
    for _ in range(2):
        record(group, disk)
    for _ in range(2):
        with pytest.raises(OSError, match="full"):
            record(group, disk)
    disk.error = None
    record(group, disk)
    assert disk.committed == 5
    for _ in range(2):
        record(group, disk)
    assert disk.committed == 5


def test_the_thread_ends_without_waiting_for_its_time(disk: Disk) -> None:
    group = GroupCommit(disk.commit, every=None, seconds=3600.0)
    record(group, disk)
    before = time.monotonic()
    group.close()
    assert time.monotonic() - before < 60
    assert disk.calls == 0
    assert not [thread for thread in threading.enumerate() if thread.name == "group commit"]


@pytest.mark.parametrize("every", [1, 3, 7])
def test_a_power_loss_costs_less_than_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    path, on_disk = tmp_path / "results.jsonl", [0]
    fsync = os.fsync

    def noted(file: int) -> None:
        fsync(file)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), path.stat()):
                on_disk[0] = os.fstat(file).st_size

    monkeypatch.setattr(os, "fsync", noted)
    with ResumableSweep(range(20), checkpoint_path=path, checkpoint_every=every) as sweep:
        for done, item in enumerate(sweep.pending, start=1):
            sweep.record(item, item)
            kept = entries_of(path.read_bytes()[: on_disk[0]])
            assert done - sum(entry["kind"] == "done" for entry in kept) < every
    assert on_disk[0] == path.stat().st_size


def test_a_group_that_never_got_full_is_on_disk_when_the_block_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.jsonl"
    with ResumableSweep(range(3), checkpoint_path=path, checkpoint_every=100, checkpoint_seconds=3600) as sweep:
        for item in sweep.pending:
            sweep.record(item, item)
        monkeypatch.setattr(os, "fsync", _refuse)
        with pytest.raises(OSError, match="may not be on disk"):
            sweep.checkpoint()
        monkeypatch.undo()
    assert [entry["kind"] for entry in entries_of(path.read_bytes())][-1] == "complete"


def _refuse(file: int) -> None:
    raise OSError(errno.EIO, "broken")

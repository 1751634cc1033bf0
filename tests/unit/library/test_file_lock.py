"""One writer of a file at a time, whoever it is and however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from resumable_sweep import LogLocked, _file_lock
from resumable_sweep._file_lock import FileLock, file_system_of, locked


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_second_one_is_refused_until_the_first_lets_go(path: Path) -> None:
    file = locked(path, timeout_s=0)
    before = open_files()
    for _ in range(5):
        with pytest.raises(LogLocked, match="lock_timeout="):
            locked(path, timeout_s=0)
    assert open_files() == before
    os.close(file)
    os.close(locked(path, timeout_s=0))


def test_who_waits_gets_it_when_the_first_lets_go(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = locked(path, timeout_s=0)
    monkeypatch.setattr(_file_lock.time, "sleep", lambda seconds: os.close(file))
    os.close(locked(path, timeout_s=30))


def test_a_file_that_was_put_in_its_place_meanwhile_is_what_is_locked(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock, others = fcntl.flock, [path.with_name("second"), path.with_name("third")]

    def replaced_first(file: int, how: int) -> None:
        flock(file, how)
        if others:
            others[0].write_text(others[0].name)
            others.pop(0).replace(path)

    monkeypatch.setattr(fcntl, "flock", replaced_first)
    before = open_files()
    file = locked(path, timeout_s=0)
    assert os.pread(file, 99, 0) == b"third"
    assert open_files() == before + 1
    os.close(file)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOLCK, "No locks available")], ids=repr)
def test_what_ends_the_attempt_leaves_nothing_open(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(fcntl, "flock", fail)
    before = open_files()
    with pytest.raises(type(error), match="no locks, choose another" if isinstance(error, OSError) else None):
        locked(path, timeout_s=0)
    assert open_files() == before


def test_an_interrupt_while_waiting_leaves_nothing_open(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    file = locked(path, timeout_s=0)
    monkeypatch.setattr(_file_lock.time, "sleep", interrupt)
    before = open_files()
    with pytest.raises(KeyboardInterrupt):
        locked(path, timeout_s=30)
    assert open_files() == before
    os.close(file)


@pytest.mark.parametrize("kind", ["fuse.gcsfuse", "fuse.s3fs", "fuse.rclone"])
def test_object_storage_mounted_as_files_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(_file_lock, "file_system_of", lambda folder: kind)
    with pytest.raises(OSError, match=f"object storage mounted as files .{kind}.") as caught:
        locked(path, timeout_s=0)
    assert caught.value.errno == errno.ENOTSUP
    assert not path.exists()


def test_the_file_system_is_told_by_the_kernel(tmp_path: Path) -> None:
    assert file_system_of(Path("/proc")) == "proc"
    assert file_system_of(tmp_path) != ""
    assert file_system_of(tmp_path / "missing") == ""


def test_a_lock_for_moments_keeps_a_forked_child_out(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / ".lock")
    with lock.held():
        pass
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        with lock.held():
            os.write(ready[1], b".")
            os.read(done[0], 1)
        os._exit(0)
    assert os.read(ready[0], 1) == b"."
    got = threading.Event()

    def hold() -> None:
        with lock.held():
            got.set()

    thread = threading.Thread(target=hold)
    thread.start()
    other = os.open(tmp_path / ".lock", os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert not got.is_set()
    os.write(done[1], b".")
    thread.join(30)
    assert got.is_set()
    assert os.waitpid(child, 0)[1] == 0
    lock.close()
    for number in (*ready, *done, other):
        os.close(number)
